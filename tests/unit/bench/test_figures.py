"""The files under docs/bench are what the bench makes of the code as it is."""

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from bench.bounds import bounds
from bench.failover import FOLDER, SAMPLE, SEED, as_json, caption, sample
from bench.figure import draw_figure
from bench.page import Report, steady_month, to_markdown
from bench.percentiles import Percentiles
from bench.prices import Prices
from bench.results import COMBINATIONS, Row
from bench.simulation import MONTH_RUNS
from bench.strategies import CONTINUOUS_POLLING, WATCH
from bench.world import Kind


def row(document: Mapping[str, Any]) -> Row:
    values: dict[str, Any] = {
        name: Percentiles(**value) if isinstance(value, dict) else value
        for name, value in document.items()
    }
    return Row(**values)


def committed() -> list[Row]:
    return [row(document) for document in json.loads((FOLDER / "failover.json").read_text())]


def test_the_committed_sample_is_what_the_code_gives_to_the_digit() -> None:
    assert as_json(sample()) == SAMPLE.read_text(), "run `make bench`"


def test_the_committed_figures_have_every_strategy_and_kind() -> None:
    rows = committed()
    assert [(r.strategy, r.kind) for r in rows] == [(c.strategy.name, c.kind) for c in COMBINATIONS]
    assert len({r.failovers for r in rows}) == 1
    assert {r.seed for r in rows} == {SEED}


def test_every_bound_that_we_claim_holds_in_the_committed_figures() -> None:
    failed = [b.figure for b in bounds(committed()) if b.claimed and not b.holds]
    assert failed == []


def test_the_page_and_the_figure_are_those_of_the_committed_figures() -> None:
    rows, page = committed(), (FOLDER / "failover.md").read_text()
    made = re.search(r"Made by `(.+?)`\s+on\s+(\S+),", page)
    assert made is not None
    report = Report(
        seed=SEED,
        failovers=rows[0].failovers,
        command=made[1],
        date=made[2],
        rows=rows,
        bounds=tuple(bounds(rows)),
        prices=Prices(),
    )
    assert to_markdown(report) == page
    figure = draw_figure(rows, caption=caption(report))
    assert figure == (FOLDER / "failover.svg").read_text()
    assert ET.fromstring(figure).find(".//{*}script") is None  # noqa: S314 - our own


def test_a_steady_month_is_43200_runs_of_one_call_and_one_query() -> None:
    (watch,) = (r for r in committed() if (r.strategy, r.kind) == (WATCH.name, Kind.INSTANCE))
    assert steady_month(watch) == (
        "Steady month of the watch (instance): 43,200 runs, 1 AWS call and 1 DNS query each."
    )
    (polling,) = (
        r for r in committed() if (r.strategy, r.kind) == (CONTINUOUS_POLLING.name, Kind.INSTANCE)
    )
    assert polling.waiting_s_per_month == MONTH_RUNS * 60
