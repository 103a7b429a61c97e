"""The page of failure scenarios has the outcome of each scenario, as its test expects it."""

from collections.abc import Iterator

from tests.functional import test_continuous_polling, test_failover_scenarios, test_serving_standby
from tests.support.scenarios import OUTCOMES, Outcome
from tests.template.pages import read, sections, tables

MODULES = (test_failover_scenarios, test_continuous_polling, test_serving_standby)
PAGE = "docs/contributing/failure-scenarios.md"


def _rows() -> Iterator[list[str]]:
    for module in MODULES:
        for name, outcome in OUTCOMES.items():
            if hasattr(module, name):
                yield [
                    outcome.description,
                    name.removeprefix("test_").replace("_", " "),
                    f"{outcome.refused:g} s",
                    f"{outcome.misrouted:g} s",
                    _metrics(outcome),
                ]


def _metrics(outcome: Outcome) -> str:
    return ", ".join(
        f"no `{name.removeprefix('no ')}`" if name.startswith("no ") else f"`{name}`"
        for name in outcome.metrics
    )


def test_the_page_lists_the_outcome_of_every_scenario() -> None:
    expected = list(_rows())
    assert len(expected) == len(OUTCOMES)
    (actual,) = tables(sections(read(PAGE), 2)["Scenarios"])
    missing = "\n".join("| " + " | ".join(row) + " |" for row in expected if row not in actual)
    assert actual == expected, f"rows for {PAGE}:\n{missing}"
