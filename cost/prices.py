"""The table of prices: read, checked, and overridden by a table of the user's."""

import datetime as dt
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "prices.toml"
_TEXTS = ("unit", "region", "source", "note")
_KEYS = ("usd", "per", "date", *_TEXTS)


class TableError(Exception):
    """A table or a number that cannot be used. The text says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price.

    Attributes:
        usd: In US dollars, for so many units as ``per`` says.
        unit: What it is the price of.
        per: How many things a unit has, for example a million.
        region: Where it holds.
        date: When it was collected.
        source: Where from.
        note: What is uncertain about it; empty if nothing is.
    """

    usd: float
    unit: str
    per: int = 1
    region: str
    date: dt.date
    source: str
    note: str = ""

    def of(self, quantity: float) -> float:
        """What so many things cost, in US dollars."""
        return quantity / self.per * self.usd


def load_prices(table: Path = TABLE) -> Mapping[str, Price]:
    """The project's own prices.

    Raises:
        TableError: A price is missing something, or is wrong.
    """
    return {name: _price(table, name, entry) for name, entry in _read(table).items()}


def override(prices: Mapping[str, Price], table: Path) -> Mapping[str, Price]:
    """The prices with those of another table in their place.

    What that table does not say of a price stays, but its source is the table.

    Raises:
        TableError: The table cannot be read, has a name that is none of a price, or is wrong.
    """
    changed = dict(prices)
    for name, entry in _read(table).items():
        if name not in prices:
            raise TableError(f"{table}: there is no price {name!r}: {', '.join(prices)}")
        fields = {"source": str(table), "note": "", **_checked(table, name, entry)}
        if "unit" in entry and entry["unit"] != prices[name].unit:
            raise TableError(f"{table}: [{name}] unit must be {prices[name].unit!r}, or left out")
        changed[name] = replace(prices[name], **fields)
    return changed


def _read(table: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(table.read_text())
    except OSError as error:
        raise TableError(f"{table}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"{table}: is no TOML: {error}") from error


def _price(table: Path, name: str, entry: Any) -> Price:
    fields = _checked(table, name, entry)
    missing = {"usd", "unit", "region", "date", "source"} - fields.keys()
    if missing:
        raise TableError(f"{table}: [{name}] has no {', '.join(sorted(missing))}")
    return Price(**fields)


def _checked(table: Path, name: str, entry: Any) -> dict[str, Any]:
    """The entry, if everything in it is of the right kind."""

    def refuse(text: str) -> TableError:
        return TableError(f"{table}: [{name}] {text}")

    if not isinstance(entry, dict):
        raise TableError(f"{table}: {name} must be a table: [{name}] with usd = … below it")
    for key in entry:
        if key not in _KEYS:
            raise refuse(f"has an unknown key {key!r}: {', '.join(_KEYS)}")
    if "usd" in entry and not _is_amount(entry["usd"]):
        raise refuse(f"usd must be a number, 0 or more, not {entry['usd']!r}")
    if "per" in entry and not (type(entry["per"]) is int and entry["per"] > 0):
        raise refuse(f"per must be a whole number above 0, not {entry['per']!r}")
    if "date" in entry and type(entry["date"]) is not dt.date:
        raise refuse(f"date must be a day such as 2026-11-22, not {entry['date']!r}")
    for key in _TEXTS:
        if not isinstance(entry.get(key, ""), str):
            raise refuse(f"{key} must be a text, not {entry[key]!r}")
    return dict(entry)


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value < math.inf
