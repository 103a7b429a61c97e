"""The page of the cold start, and its figures."""

import json
from dataclasses import replace

import pytest

from bench.cold import FOLDER
from bench.cold_page import BARE, OURS, SYNC, Report, to_markdown

MILLION = 1_000_000
REPORT = Report(
    date="2026-11-22",
    python="3.13.0",
    versions={"botocore": "1"},
    valgrind="valgrind-3",
    authorities=127,
    starts={BARE: 1_000 * MILLION, SYNC: 1_250 * MILLION},
    parts={"botocore": 1_000 * MILLION, OURS: 1_250 * MILLION},
    without={"bytecode": 2_500 * MILLION},
    first={BARE: 1_200 * MILLION, SYNC: 1_500 * MILLION},
    calls={name: n * MILLION for name, n in [("one", 9), ("two", 11), ("apart", 20), ("own", 14)]},
)


def committed() -> Report:
    return Report(**json.loads((FOLDER / "cold.json").read_text()))


@pytest.mark.parametrize(
    "row",
    [
        "| ReconcileTargetsFunction | 1,250 | 1.25 |",
        f"| {OURS} | 250 | 0.25 |",
        "| bytecode | 1,250 | 1.00 |",
        "| ReconcileTargetsFunction | 1,500 | 1.25 |",
        "| on the open connection | 2 | 0.00 |",
        "| on a new connection | 11 | 0.01 |",
        "| of these, for the authorities | 3 | 0.00 |",
    ],
)
def test_the_page_holds_the_figures_against_the_bare_client(row: str) -> None:
    assert row in to_markdown(REPORT).splitlines()


def test_the_page_says_if_the_interpreter_could_not_use_the_shipped_bytecode() -> None:
    assert "ran without it" not in to_markdown(REPORT)
    assert "ran without it" in to_markdown(replace(REPORT, python="3.12.1"))


def test_the_page_is_that_of_the_committed_figures() -> None:
    assert to_markdown(committed()) == (FOLDER / "cold.md").read_text()


def test_the_start_takes_at_most_1_2_of_the_bare_client() -> None:
    starts = committed().starts
    assert starts[SYNC] <= 1.2 * starts[BARE]


def test_each_measure_saves_at_least_5_percent_of_the_start() -> None:
    report = committed()
    start = report.starts[SYNC]
    assert len(report.without) == 4
    assert all(count - start >= 0.05 * start for count in report.without.values())
