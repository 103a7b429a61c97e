"""The fleet's benchmark plays the shipped decisions, and its files are those of its figures."""

import json
import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from xml.etree import ElementTree as ET

import pytest

from bench.fleet import FOLDER, Task, measure, tasks
from bench.fleet_page import draw_figure, to_markdown
from bench.fleet_peers import PEERS
from bench.fleet_rows import FLEET, SIZES, STORM, WITHOUT_EVENTS, Row, claims, storm_bound
from bench.fleet_world import AdaptivePace, Buckets, Calls, Client, Elb, Pace, SharePace, arn_of
from lab.simulation.clock import ActorClock
from lab.simulation.queues import BATCH, MOST_RECEPTIONS, EventQueue, WorkQueue
from target_sync.errors import AwsUnavailableError
from target_sync.fleet.rate_limits import Call
from target_sync.fleet.work_items import CursorWorkItem, write_work_item


def committed() -> list[Row]:
    return [Row(**row) for row in json.loads((FOLDER / "fleet.json").read_text())]


def test_the_committed_figures_have_every_strategy_and_scenario() -> None:
    rows = [(r.strategy, r.scenario, r.groups) for r in committed()]
    assert rows == [(t.strategy, t.scenario, t.groups) for t in tasks(SIZES, STORM)]


def test_every_claim_holds_in_the_committed_figures() -> None:
    made = list(claims(committed()))
    assert len(made) == 2 * len(SIZES) + 4
    assert [claim.text for claim in made if not claim.holds] == []


def test_the_page_and_the_figure_are_those_of_the_committed_figures() -> None:
    rows, page = committed(), (FOLDER / "fleet.md").read_text()
    made = re.search(r"Made by `make bench-fleet` on\s+(\S+)\.", page)
    assert made is not None
    assert to_markdown(rows, made[1]) == page
    figure = draw_figure(rows)
    assert figure == (FOLDER / "fleet.svg").read_text()
    assert ET.fromstring(figure).find(".//{*}script") is None  # noqa: S314 - our own


def test_the_calls_of_a_quiet_fleet_are_those_of_the_committed_figures() -> None:
    now = measure(Task(FLEET, "steady", 100))
    (then,) = (r for r in committed() if (r.strategy, r.groups) == (FLEET, 100))
    assert now.listing_calls == then.listing_calls
    assert now.describe_calls == then.describe_calls
    assert now.tag_calls == then.tag_calls
    assert (now.throttled, now.failed, now.registration_calls) == (0, 0, 0)
    assert now.unverified_s <= 901.0


@pytest.mark.parametrize("strategy", [FLEET, WITHOUT_EVENTS])
def test_a_storm_ends_with_every_group_in_sync_and_nothing_wrong(strategy: str) -> None:
    row = measure(Task(strategy, "storm", 60, 20))
    assert (row.never, row.wrong, row.failed, row.throttled) == (0, 0, 0, 0)
    assert row.registration_calls == 2 * 20
    # A tag for each new state, and one a minute for the audit. The next sweep sends waiting work
    # again, and the worker that gets it then writes the tag once more.
    assert 20 + 40 <= row.tag_calls <= 2 * 20 + 40
    wait = 60 if strategy == WITHOUT_EVENTS else 0
    assert row.last_s is not None
    assert row.last_s <= storm_bound(20) + 30 + wait


def test_the_committed_storm_of_a_peer_is_that_of_its_code() -> None:
    now = measure(Task("remember, each minute", "storm", *STORM))
    assert now == next(
        r for r in committed() if (r.strategy, r.scenario) == (now.strategy, "storm")
    )
    assert (now.registration_calls, now.never, now.failed) == (2 * STORM[1], 0, 0)


@pytest.mark.parametrize(("strategy", "throttled"), [(name, "adaptive" in name) for name in PEERS])
def test_only_a_peer_without_a_share_is_throttled(strategy: str, throttled: bool) -> None:
    row = measure(Task(strategy, "storm", 200, 20))
    assert (row.throttled > 0) is throttled
    assert (row.never, row.wrong) == (0, 0)


def elb() -> Elb:
    clock = ActorClock()
    return Elb(clock, Calls(clock))


def test_elb_throttles_a_call_without_a_token_and_refills() -> None:
    aws = elb()
    admitted = [aws.admit(Call.REGISTRATION) for _ in range(30)]
    # 20 tokens, and 4 a second while each of the calls takes 20 ms.
    assert admitted[:21] == [True] * 21
    assert aws.calls.total("throttled") == admitted.count(False) > 0
    aws.clock.sleep_until(aws.clock.now() + 1.0)
    assert aws.admit(Call.REGISTRATION)


def at_once(_: ActorClock) -> Pace:
    return Pace()


def shared(clock: ActorClock) -> Pace:
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
    pace: Callable[[ActorClock], Pace], fewest: int, most: int
) -> None:
    aws = elb()
    client = Client(aws, Random(1), pace(aws.clock))  # noqa: S311 - a simulation
    for _ in range(500):
        with suppress(AwsUnavailableError):
            client.call(Call.DESCRIBE, list)
    assert fewest <= aws.calls.total("throttled") <= most


def test_actors_take_turns_in_the_order_of_their_moments() -> None:
    clock, said = ActorClock(), list[tuple[float, str]]()

    def actor(name: str, *moments: float) -> Callable[[], None]:
        def act() -> None:
            for moment in moments:
                clock.sleep_until(moment)
                said.append((clock.now(), name))

        return act

    clock.play([actor("a", 1, 4), actor("b", 2, 3), actor("c", 1)])
    assert said == [(1, "a"), (1, "c"), (2, "b"), (3, "b"), (4, "a")]


def test_who_is_parked_goes_on_when_woken() -> None:
    clock, said = ActorClock(), list[float]()

    def waits() -> None:
        clock.park()
        said.append(clock.now())

    def wakes() -> None:
        clock.sleep_until(7.0)
        clock.wake()

    clock.play([waits, wakes])
    assert said == [7.0]


def test_an_error_of_an_actor_is_that_of_the_play() -> None:
    def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        ActorClock().play([fails])


def item(number: int) -> CursorWorkItem:
    return CursorWorkItem(arn_of(number), "1 cursor")


def test_the_work_queue_gives_batches_of_which_no_group_is_given_twice() -> None:
    queue = WorkQueue(ActorClock())
    queue.send([item(number) for number in range(BATCH + 1)], 0.0)
    queue.send([CursorWorkItem(arn_of(0), "2 cursor")], 0.0)
    first, second = queue.receive(), queue.receive()
    assert [message.group for message in first] == [arn_of(number) for number in range(BATCH)]
    assert [message.group for message in second] == [arn_of(BATCH)]
    queue.settle(first)
    assert [message.text for message in queue.receive()] == [
        write_work_item(CursorWorkItem(arn_of(0), "2 cursor"))
    ]
    assert queue.waiting() == 2


def test_equal_orders_of_a_minute_are_one() -> None:
    queue = WorkQueue(ActorClock())
    for at in (0.0, 59.9, 60.0):
        queue.send([item(1)], at)
    assert queue.waiting() == 2


def test_what_was_not_done_comes_again_twice_and_then_is_a_dead_letter() -> None:
    queue = WorkQueue(ActorClock())
    queue.send([item(1)], 0.0)
    for _ in range(MOST_RECEPTIONS):
        (message,) = queue.receive()
        assert not queue.receive()
        queue.clock.sleep_until(message.visible_at)
    assert not queue.receive()
    assert queue.is_empty
    assert queue.dead == 1


def test_events_are_gathered_for_a_second_and_awaited_for_the_given_time() -> None:
    events = EventQueue(ActorClock(), deque([(5.0, "a"), (5.5, "b"), (9.0, "c")]))
    assert [event.identifier for event in events.gathered()] == ["a", "b"]
    assert events.clock.now() == 6.0
    assert not events.receive(2)
    assert events.clock.now() == 8.0
    assert [event.identifier for event in events.receive(2)] == ["c"]
    assert events.clock.now() == 9.0
    assert not events.gathered()
