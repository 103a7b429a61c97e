"""The fleet's benchmark plays the shipped decisions, and its files are those of its figures."""

import json
import re
from collections import deque
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from bench.fleet import FOLDER, Task, bound, calls_of_one_run, measure, tasks
from bench.fleet_page import draw_figure, to_markdown
from bench.fleet_rows import FLEET, NAIVE, SIZES, STORM, WITHOUT_EVENTS, Row, claims
from bench.fleet_world import Client, Elb, arn_of
from lab.simulation.clock import ActorClock
from lab.simulation.queues import BATCH, MOST_RECEPTIONS, EventQueue, WorkQueue
from target_sync.fleet.rate_limits import Call
from target_sync.fleet.work_items import CursorWorkItem, write_work_item


def committed() -> list[Row]:
    return [Row(**row) for row in json.loads((FOLDER / "fleet.json").read_text())]


def test_the_committed_figures_have_every_strategy_and_scenario() -> None:
    rows = [(r.strategy, r.scenario, r.groups) for r in committed()]
    assert rows == [(t.strategy, t.scenario, t.groups) for t in tasks(SIZES, STORM)]


def test_every_claim_holds_in_the_committed_figures() -> None:
    made = list(claims(committed()))
    assert len(made) == 2 * len(SIZES) + 5
    assert [claim.text for claim in made if not claim.holds] == []


def test_the_page_and_the_figure_are_those_of_the_committed_figures() -> None:
    rows, page = committed(), (FOLDER / "fleet.md").read_text()
    made = re.search(r"Made by `make bench-fleet` on\s+(\S+)\.", page)
    assert made is not None
    assert to_markdown(rows, calls_of_one_run(), made[1]) == page
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
    assert now.unverified_s is not None
    assert now.unverified_s <= 901.0


@pytest.mark.parametrize("strategy", [FLEET, WITHOUT_EVENTS])
def test_a_storm_ends_with_every_group_right_and_nothing_wrong_on_the_way(strategy: str) -> None:
    row = measure(Task(strategy, "storm", 60, 20))
    assert (row.not_right, row.wrong, row.failed, row.throttled) == (0, 0, 0, 0)
    assert row.registration_calls == 2 * 20
    # A tag for each new state, and one a minute for the audit. What waits is made again by the
    # next sweep, and the worker that gets it then writes the tag once more.
    assert 20 + 40 <= row.tag_calls <= 2 * 20 + 40
    wait = 60 if strategy == WITHOUT_EVENTS else 0
    assert row.last_s is not None
    assert row.last_s <= bound(20) + 30 + wait


def test_describing_each_of_many_groups_is_throttled() -> None:
    row = measure(Task(NAIVE, "steady", 200))
    assert row.throttled > 0
    assert row.failed > 0
    assert row.listing_calls == 0


def test_the_bound_is_the_slowest_bucket_of_all_calls_together() -> None:
    calls = calls_of_one_run()
    assert calls[Call.REGISTRATION] == 2
    assert calls[Call.MUTATING] == 1
    assert bound(200) == (200 * sum(calls.values()) - 20) / 5
    assert bound(1) == 0


def test_elb_refuses_what_finds_no_token_and_refills() -> None:
    elb = Elb(ActorClock())
    went = [elb.admits(Call.REGISTRATION) for _ in range(30)]
    # 20 tokens, and 4 a second while each of the calls takes 20 ms.
    assert went[:21] == [True] * 21
    assert elb.throttled == went.count(False) > 0
    elb.clock.sleep_until(elb.clock.now() + 1.0)
    assert elb.admits(Call.REGISTRATION)


class NoChance:
    """A back-off that always takes its longest."""

    def random(self) -> float:
        return 1.0


def test_a_client_tries_three_times_as_botocore_does() -> None:
    elb = Elb(ActorClock())
    while elb.admits(Call.REGISTRATION):
        pass
    began, before = elb.clock.now(), elb.calls[Call.REGISTRATION]
    client = Client(elb, NoChance())  # type: ignore[arg-type]
    client.call(Call.REGISTRATION, list)
    # Refused once, then a second of back-off, in which four tokens came.
    assert elb.calls[Call.REGISTRATION] - before == 2
    assert elb.clock.now() - began == pytest.approx(1.04)


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
