"""The values of the pure modules, and the numbers that the pages state."""

import fnmatch
import importlib
import inspect
import pkgutil
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

import target_sync
from target_sync import model
from target_sync.reconcile import loop, planner, tracks

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
ARCHITECTURE = Path(__file__).parents[2] / "docs/contributing/architecture.md"
#: With more arguments than this a reader confuses their positions.
MOST_POSITIONAL = 4


def pure_modules() -> list[str]:
    """Return the pure modules, by the import contract in pyproject.toml."""
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    patterns = next(it["source_modules"] for it in contracts if it["name"].startswith("Pure"))
    names = [found.name for found in pkgutil.walk_packages(target_sync.__path__, "target_sync.")]
    pure = [
        name
        for name in names
        if any(fnmatch.fnmatchcase(name, pattern.replace("**.", "*.")) for pattern in patterns)
    ]
    assert "target_sync.status.checks.targets" in pure
    return pure


def pure_values() -> list[type]:
    """Return the data classes of the pure modules. One without equality is no value."""
    modules = [importlib.import_module(name) for name in pure_modules()]
    return [
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if is_dataclass(value) and value.__module__ == module.__name__
        if vars(value)["__dataclass_params__"].eq
    ]


VALUES = pure_values()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_are_frozen_and_have_slots(value: type) -> None:
    assert vars(value)["__dataclass_params__"].frozen
    assert "__slots__" in vars(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_with_many_or_only_optional_fields_need_keywords(value: type) -> None:
    parts = fields(value)
    optional = all(
        part.default is not MISSING or part.default_factory is not MISSING for part in parts
    )

    if optional or len(parts) > MOST_POSITIONAL:
        assert all(part.kw_only for part in parts)


def test_an_address_in_any_allowed_network_may_be_registered() -> None:
    networks = (ip_network("10.0.0.0/16"), ip_network("192.168.7.0/24"))
    policy = model.SyncPolicy(port=5432, allowed_networks=networks)

    allowed = ("10.0.1.11", "192.168.7.20", "192.168.8.20", "10.1.0.1")
    assert [policy.allows(ip_address(text)) for text in allowed] == [True, True, False, False]


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        (model.SyncPolicy(port=5432, allowed_networks=()).confirm_seconds,
         "The window is {} seconds."),
        (tracks.TTL_MARGIN_SECONDS, "a record that may have changed plus {} second is longer"),
        (model.LONGEST_TTL_SECONDS, "A TTL of more than {0} seconds counts as {0} seconds"),
        (planner.CONTEST_SECONDS, "Otherwise it stays for {} seconds: it may be the next writer"),
        (planner.STANDBY_GRACE_SECONDS, "If it does for {} seconds, it is no standby"),
        (loop.DESCRIBE_SECONDS, "if the description is {} s old"),
        (loop.HEALTHY_WITHIN_SECONDS / 60, "ends {} minutes after its last registration"),
        (loop.LONGEST_PAUSE_SECONDS, "are 1, 2 and then {} seconds"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)  # fmt: skip
def test_the_page_states_each_time(seconds: float, sentence: str) -> None:
    assert sentence.format(f"{seconds:g}") in " ".join(ARCHITECTURE.read_text().split())
