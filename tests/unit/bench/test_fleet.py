"""The fleet's benchmark plays the shipped decisions, and its files are those of its figures."""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from xml.etree import ElementTree as ET

import pytest

from bench.fleet import FOLDER, Task, measure, tasks
from bench.fleet_page import (
    COLD,
    FLEET,
    SIZES,
    STORM,
    Row,
    claims,
    draw_figure,
    least,
    read_rows,
    to_markdown,
)
from bench.fleet_peers import PEERS
from bench.fleet_world import (
    AdaptivePace,
    Buckets,
    Calls,
    Client,
    Elb,
    Flip,
    Pace,
    SharePace,
    least_waits,
)
from lab.simulation.clock import VirtualClock
from target_sync.errors import AwsUnavailableError
from target_sync.fleet.rate_limits import Call


def committed() -> Sequence[Row]:
    return read_rows(json.loads((FOLDER / "fleet.json").read_text()))


def test_the_committed_figures_have_every_strategy_and_scenario() -> None:
    rows = [(r.strategy, r.scenario, r.groups) for r in committed()]
    assert rows == [(t.strategy, t.scenario, t.groups) for t in tasks(SIZES, STORM)]


def test_every_claim_holds_in_the_committed_figures() -> None:
    made = list(claims(committed()))
    assert len(made) == 15
    assert [claim.text for claim in made if not claim.holds] == []


def test_the_page_and_the_figure_are_those_of_the_committed_figures() -> None:
    rows, page = committed(), (FOLDER / "fleet.md").read_text()
    made = re.search(r"Made by `make bench-fleet` on\s+(\S+)\.", page)
    assert made is not None
    assert to_markdown(rows, made[1]) == page
    figure = draw_figure(rows)
    assert figure == (FOLDER / "fleet.svg").read_text()
    assert ET.fromstring(figure).find(".//{*}script") is None  # noqa: S314 - our own


@pytest.mark.parametrize(
    "task", [Task(FLEET, "steady", 10), Task("remember, each minute", "storm", *STORM)]
)
def test_the_committed_figures_are_those_of_the_code(task: Task) -> None:
    assert measure(task) in committed()


@pytest.mark.parametrize("strategy", [FLEET, COLD, *PEERS])
def test_a_storm_ends_with_every_group_in_sync_and_nothing_wrong(strategy: str) -> None:
    row = measure(Task(strategy, "storm", 24, 12))
    assert (row.never, row.wrong, row.failed) == (0, 0, 0)
    assert row.registration_calls == 2 * 2 * 12
    assert row.in_sync_s is not None
    assert row.in_sync_s.max <= 120


@pytest.mark.parametrize(("strategy", "throttled"), [(name, "adaptive" in name) for name in PEERS])
def test_only_a_peer_without_a_share_is_throttled(strategy: str, throttled: bool) -> None:
    row = measure(Task(strategy, "storm", 200, 20))
    assert (row.throttled > 0) is throttled


def test_the_bound_is_the_time_of_the_registration_bucket() -> None:
    # Half of the bucket has 10 tokens and gets 2 a second; each failover takes two.
    times = least_waits([Flip(100.0, 101.0)] * 8, 0.5)
    assert (times.p50, times.max) == pytest.approx((1.0, 4.0))
    assert least().p99 <= 185.0


def elb() -> Elb:
    clock = VirtualClock()
    return Elb(clock, Calls(clock))


def test_elb_throttles_a_call_without_a_token_and_refills() -> None:
    aws = elb()
    admitted = [aws.admit(Call.REGISTRATION) for _ in range(30)]
    # 20 tokens, and 4 a second while each of the calls takes 20 ms.
    assert admitted[:21] == [True] * 21
    assert aws.calls.total("throttled") == admitted.count(False) > 0
    aws.clock.sleep_until(aws.clock.now() + 1.0)
    assert aws.admit(Call.REGISTRATION)


def at_once(_: VirtualClock) -> Pace:
    return Pace()


def shared(clock: VirtualClock) -> Pace:
    return SharePace(clock, Buckets(0.5))


class LongestBackoff(Random):
    def random(self) -> float:
        return 1.0


def test_a_client_tries_three_times_as_botocore_does() -> None:
    aws = elb()
    while aws.admit(Call.REGISTRATION):
        pass
    began, before = aws.clock.now(), aws.calls.total(Call.REGISTRATION)
    Client(aws, LongestBackoff()).call(Call.REGISTRATION, list)
    # Throttled once, then a second of back-off, in which four tokens came.
    assert aws.calls.total(Call.REGISTRATION) - before == 2
    assert aws.clock.now() - began == pytest.approx(1.04)


@pytest.mark.parametrize(
    ("pace", "fewest", "most"), [(at_once, 50, 500), (shared, 0, 0), (AdaptivePace, 1, 50)]
)
def test_the_pace_of_a_client_decides_how_often_it_is_throttled(
    pace: Callable[[VirtualClock], Pace], fewest: int, most: int
) -> None:
    aws = elb()
    client = Client(aws, Random(1), pace(aws.clock))  # noqa: S311 - a simulation
    for _ in range(500):
        with suppress(AwsUnavailableError):
            client.call(Call.DESCRIBE, list)
    assert fewest <= aws.calls.total("throttled") <= most
