"""The values of the core: what every one of them is, and the numbers that the pages tell."""

import importlib
import inspect
import pkgutil
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pytest

from target_sync import core
from target_sync.core import convergence, model, planning

ARCHITECTURE = Path(__file__).parents[2] / "docs/architecture.md"
#: Up to here a reader can tell the arguments apart by their places.
MOST_BY_PLACE = 4


def values_of_the_core() -> list[type]:
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")
    ]
    return [
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if is_dataclass(value) and value.__module__ == module.__name__
    ]


VALUES = values_of_the_core()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_a_value_never_changes_and_has_no_field_but_its_own(value: type) -> None:
    assert vars(value)["__dataclass_params__"].frozen
    assert "__slots__" in vars(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_a_value_of_many_fields_or_of_none_that_is_required_is_made_by_keywords(
    value: type,
) -> None:
    parts = fields(value)
    optional = all(
        part.default is not MISSING or part.default_factory is not MISSING for part in parts
    )

    if optional or len(parts) > MOST_BY_PLACE:
        assert all(part.kw_only for part in parts)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (model.SyncPolicy(port=5432, allowed_networks=()).confirm_seconds,
         "The window is {} seconds, or the longest TTL"),
        (planning.TTL_MARGIN_SECONDS, "and {} second more if that is"),
        (planning.CONTEST_SECONDS, "otherwise for {} seconds (it may be the next writer"),
        (planning.STANDBY_GRACE_SECONDS, "If it does for {} seconds, two servers are"),
        (convergence.DESCRIBE_SECONDS, "when the description is {} s old"),
        (convergence.HEALTHY_WITHIN_SECONDS / 60, "until {} minutes after its last registration"),
        (convergence.SETTLE_SECONDS, "has been right and healthy for {} s: `Done`"),
        (convergence.LONGEST_PAUSE_SECONDS, "are 1, 2 and then {} seconds apart"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)  # fmt: skip
def test_a_time_is_as_long_as_the_page_tells(seconds: float, told: str) -> None:
    assert told.format(f"{seconds:g}") in ARCHITECTURE.read_text()
