"""Read and check the table of prices, and override it with a table of the user."""

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
    """A table or a number is not valid. The message gives the place and the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price.

    Attributes:
        usd: The price of one unit in US dollars.
        unit: The name of the unit.
        per: The items in a unit, for example a million.
        region: The AWS Region.
        date: The day on which it was collected.
        source: The source.
        note: The uncertainty; empty if there is none.
    """

    usd: float
    unit: str
    per: int = 1
    region: str
    date: dt.date
    source: str
    note: str = ""

    def of(self, quantity: float) -> float:
        """Return the price of ``quantity`` items in US dollars."""
        return quantity / self.per * self.usd


def load_prices(table: Path = TABLE) -> Mapping[str, Price]:
    """Return the project's own prices.

    Raises:
        TableError: A price is incomplete or not valid.
    """
    return {name: _price(table, name, entry) for name, entry in _read(table).items()}


def override(prices: Mapping[str, Price], table: Path) -> Mapping[str, Price]:
    """Return the prices with the values of another table.

    A changed price keeps the fields that the table leaves out, but its source is the table.

    Raises:
        TableError: The table cannot be read, names an unknown price, or is not valid.
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
        raise TableError(f"{table}: is not valid TOML: {error}") from error


def _price(table: Path, name: str, entry: Any) -> Price:
    fields = _checked(table, name, entry)
    missing = {"usd", "unit", "region", "date", "source"} - fields.keys()
    if missing:
        raise TableError(f"{table}: [{name}] has no {', '.join(sorted(missing))}")
    return Price(**fields)


def _checked(table: Path, name: str, entry: Any) -> dict[str, Any]:
    """Return the entry if each of its fields is valid."""

    def error(text: str) -> TableError:
        return TableError(f"{table}: [{name}] {text}")

    if not isinstance(entry, dict):
        raise TableError(f"{table}: {name} must be a table: [{name}] with usd = … below it")
    for key in entry:
        if key not in _KEYS:
            raise error(f"has an unknown key {key!r}: {', '.join(_KEYS)}")
    if "usd" in entry and not _is_amount(entry["usd"]):
        raise error(f"usd must be a number, 0 or more, not {entry['usd']!r}")
    if "per" in entry and not (type(entry["per"]) is int and entry["per"] > 0):
        raise error(f"per must be a whole number above 0, not {entry['per']!r}")
    if "date" in entry and type(entry["date"]) is not dt.date:
        raise error(f"date must be a day such as 2026-11-22, not {entry['date']!r}")
    for key in _TEXTS:
        if not isinstance(entry.get(key, ""), str):
            raise error(f"{key} must be a text, not {entry[key]!r}")
    return dict(entry)


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value < math.inf
