"""The files under docs/bench are what the bench makes of the code as it is."""

import json
import re

import pytest

from bench.failover import FOLDER, SAMPLE, SEED, as_json, sample
from bench.failover_claims import claims
from bench.page import Report, draw_figure, month_price, to_markdown
from bench.results import COMBINATIONS, MONTH_MINUTES, Row
from bench.strategies import DEFAULT, DNS_POLL_INTERVAL_SECONDS, NO_POLLS, PLAIN_LOOPS
from bench.world import Kind
from cost.model import Inputs

COMMITTED = [Row.from_document(it) for it in json.loads((FOLDER / "failover.json").read_text())]
INSTANCE = {row.strategy: row for row in COMMITTED if row.kind == Kind.INSTANCE}


def test_the_committed_sample_is_what_the_code_gives_to_the_digit() -> None:
    assert as_json(sample()) == SAMPLE.read_text(), "run `make bench`"


def test_the_committed_figures_have_every_strategy_and_kind() -> None:
    names = [(row.strategy, row.kind) for row in COMMITTED]
    assert names == [(c.strategy.name, c.kind) for c in COMBINATIONS]
    assert len({row.failovers for row in COMMITTED}) == 1
    assert {row.seed for row in COMMITTED} == {SEED}


def test_every_claim_holds_in_the_committed_figures() -> None:
    assert [claim.text for claim in claims(COMMITTED) if not claim.holds] == []


def test_the_page_and_the_figure_are_those_of_the_committed_figures() -> None:
    page = (FOLDER / "failover.md").read_text()
    made = re.search(r"Made by `(.+?)` on (\S+),", page)
    assert made is not None
    report = Report(
        seed=SEED, failovers=COMMITTED[0].failovers, command=made[1], date=made[2], rows=COMMITTED
    )
    assert to_markdown(report) == page
    assert draw_figure(report) == (FOLDER / "failover.svg").read_text()


def test_a_quiet_month_of_the_committed_figures_is_that_of_its_runs() -> None:
    every_5_s, every_second = (INSTANCE[loop.name] for loop in PLAIN_LOOPS)
    calls = [row.aws_calls_per_month for row in (INSTANCE[NO_POLLS.name], every_5_s, every_second)]
    assert calls == [3 * MONTH_MINUTES, 12 * MONTH_MINUTES, 60 * MONTH_MINUTES]
    for row in (INSTANCE[DEFAULT.name], every_5_s, every_second):
        assert row.waiting_s_per_month == 60 * MONTH_MINUTES


def test_the_price_of_dns_polls_is_that_of_their_waiting_seconds() -> None:
    inputs = Inputs.load()
    seconds = INSTANCE[DEFAULT.name].waiting_s_per_month * inputs.hours / (30 * 24)
    price = month_price(DNS_POLL_INTERVAL_SECONDS, 512.0)
    assert price == pytest.approx(seconds * 0.5 * 0.0000133334, rel=1e-6)
