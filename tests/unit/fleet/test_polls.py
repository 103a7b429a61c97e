"""When each endpoint is observed."""

from math import inf

from target_sync.fleet.model import EndpointKey
from target_sync.fleet.polls import LONGEST_PAUSE_SECONDS, PollSchedule
from target_sync.model import DatabaseKind


def key(number: int) -> EndpointKey:
    return DatabaseKind.HOSTNAME, f"db-{number:04}"


def schedule(count: int, *, per_second: float = 100.0, most_at_once: int = 50) -> PollSchedule:
    made = PollSchedule(interval=1.0, per_second=per_second, most_at_once=most_at_once)
    made.update(map(key, range(count)), 0.0)
    return made


def test_an_endpoint_is_due_at_once_and_then_an_interval_after_the_end_of_its_poll() -> None:
    polls = schedule(1)
    assert list(polls.take(0.0)) == [key(0)]
    assert polls.next_at() == inf
    polls.end(key(0), 0.3, failed=False)
    assert polls.next_at() == 1.3
    assert not list(polls.take(1.29))
    assert list(polls.take(1.3)) == [key(0)]


def test_all_endpoints_together_keep_to_the_rate() -> None:
    polls = schedule(1_000)
    counts = list[int]()
    for tick in range(100):
        taken = list(polls.take(tick / 10))
        counts.append(len(taken))
        for it in taken:
            polls.end(it, tick / 10, failed=False)
    # A burst of a tenth of a second at the start.
    assert counts[0] <= 11
    assert set(counts[1:]) <= {9, 10, 11}
    assert sum(counts) <= 100 * 10 + 11


def test_every_endpoint_gets_its_turn_when_the_rate_is_too_low_for_the_interval() -> None:
    polls, seen = schedule(20, per_second=10.0), list[EndpointKey]()
    for tick in range(40):
        for it in polls.take(tick / 10):
            seen.append(it)
            polls.end(it, tick / 10, failed=False)
    assert seen[:40] == [key(number) for number in range(20)] * 2


def test_polls_that_do_not_end_stop_only_those_beyond_the_most_at_once() -> None:
    polls = schedule(3, most_at_once=2)
    assert list(polls.take(0.0)) == [key(0), key(1)]
    assert polls.next_at() == inf
    polls.end(key(1), 0.5, failed=False)
    assert list(polls.take(0.5)) == [key(2)]


def test_the_pause_doubles_with_each_failure_up_to_a_limit() -> None:
    polls, pauses, now = schedule(1), list[float](), 0.0
    for failed in (True,) * 2_000 + (False,):
        list(polls.take(now))
        polls.end(key(0), now, failed=failed)
        pauses.append(polls.next_at() - now)
        now = polls.next_at()
    assert pauses[:6] == [2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert pauses[-1] == 1.0


def test_a_long_interval_is_not_shortened_by_a_failure() -> None:
    polls = PollSchedule(interval=60.0, per_second=1.0, most_at_once=1)
    polls.update([key(0)], 0.0)
    list(polls.take(0.0))
    polls.end(key(0), 0.0, failed=True)
    assert polls.next_at() == 60.0


def test_an_update_adds_and_removes_endpoints_and_keeps_the_times_of_the_others() -> None:
    polls = schedule(2)
    list(polls.take(0.0))
    polls.end(key(0), 0.0, failed=False)
    polls.update([key(0), key(2)], 0.5)
    # The poll of a removed endpoint may end later.
    polls.end(key(1), 0.6, failed=False)
    assert list(polls.take(0.6)) == [key(2)]
    polls.end(key(2), 0.6, failed=False)
    assert list(polls.take(5.0)) == [key(0), key(2)]


def test_an_endpoint_that_returns_during_its_poll_is_polled_once_at_a_time() -> None:
    polls = schedule(1)
    list(polls.take(0.0))
    polls.update([], 0.1)
    polls.update([key(0)], 0.2)
    assert polls.next_at() == inf
    polls.end(key(0), 0.3, failed=False)
    assert list(polls.take(1.3)) == [key(0)]
