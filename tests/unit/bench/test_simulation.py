"""Single failovers of the benchmark with figures computed by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.results import COMBINATIONS, Combination
from bench.simulation import MISSED_SECONDS, Outcome, play, play_quietly
from bench.strategies import (
    AUTHORITATIVE,
    DEFAULT,
    EACH_EVENT,
    FIRST_EVENT,
    MINUTE_SCHEDULE,
    NO_POLLS,
    NO_STANDBY,
    PLAIN_LOOPS,
    SCHEDULE_AND_EVENTS,
    SERVING_STANDBY,
    SLOW_RULES,
    Strategy,
)
from bench.world import Event, Failover, Kind, Span, World, draw

#: Nothing here is left to chance: runs begin when due, a registration takes two minutes, a rule a
#: second, and a deregistered target gets no new connection.
WORLD = World(
    start=Span(0.0, 0.0),
    registration=Span(120.0, 120.0),
    deregistration=Span(0.0, 0.0),
    rule=Span(1.0, 1.0),
)
#: With the second health check.
HEALTHY_AFTER = 125.0

EVERY_5_S, EVERY_SECOND = PLAIN_LOOPS

STARTED = Event(occurs=1000.0, arrives=1001.0, completes=False)
COMPLETED = Event(occurs=1030.0, arrives=1031.0, completes=True)


def failover(kind: Kind = Kind.INSTANCE, **changes: object) -> Failover:
    """The name moves 10 s after the first event; the one cache learns of it 2.5 s later."""
    usual = Failover(
        kind=kind,
        dies=970.0,
        listens=1007.0,
        flip=1010.0,
        api=1010.0,
        events=(STARTED, COMPLETED),
        caches=(1012.5,),
        schedule=880.0,
        old_checks_from=800.0,
        new_checks_from=800.0,
        chances=1,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def followed(strategy: Strategy, it: Failover) -> Outcome:
    outcome = play(WORLD, it, strategy)
    assert not outcome.missed
    return outcome


def test_the_minute_schedule_follows_at_its_next_run() -> None:
    outcome = followed(MINUTE_SCHEDULE, failover())  # due at 1000 and 1060
    assert outcome.stale == 50.0
    assert outcome.flowing == 1060.0 + HEALTHY_AFTER - 1007.0


def test_a_single_run_before_the_change_never_follows() -> None:
    outcome = play(WORLD, failover(Kind.CLUSTER), FIRST_EVENT)
    assert outcome.missed
    assert (outcome.stale, outcome.flowing, outcome.wrong) == (MISSED_SECONDS,) * 3


def test_a_single_run_after_the_change_follows_at_once() -> None:
    outcome = followed(FIRST_EVENT, failover(listens=985.0, flip=990.0, caches=(992.0,)))
    assert outcome.stale == 11.0
    assert outcome.flowing == 1001.0 + HEALTHY_AFTER - 985.0


def test_a_run_at_the_last_event_follows() -> None:
    assert followed(EACH_EVENT, failover()).stale == 21.0
    assert followed(SCHEDULE_AND_EVENTS, failover(schedule=899.0)).stale == 9.0


def test_others_fall_back_to_the_old_address_when_the_next_cache_is_stale() -> None:
    caches = (1010.0, 1014.0)
    stale = {
        followed(
            SCHEDULE_AND_EVENTS,
            failover(caches=caches, chances=chances, schedule=892.0, events=(at_1011,)),
        ).stale
        for chances in range(20)
        for at_1011 in [Event(occurs=1010.0, arrives=1011.0, completes=True)]
    }
    # The run of the event at 1011 and the scheduled run at 1012 see the new or the old address.
    assert stale == {1.0, 2.0, 62.0}


def test_a_plain_loop_follows_at_its_next_iteration_without_an_event() -> None:
    # Iterations at 880, 885, …: the cache gives the new address at 1012.5.
    assert followed(EVERY_5_S, failover(events=())).stale == 5.0
    assert followed(EVERY_SECOND, failover(events=())).stale == 3.0


def test_a_plain_loop_removes_the_new_primary_where_two_caches_alternate() -> None:
    two_caches = failover(caches=(1010.0, 1014.9))
    outcomes = [
        followed(EVERY_SECOND, replace(two_caches, chances=chances)) for chances in range(20)
    ]
    # Of the iterations from 1010 to 1014 each meets one of the caches; from 1015 on both are new.
    assert {outcome.removals for outcome in outcomes} == {0, 1, 2}
    for outcome in outcomes:
        assert outcome.flaps == 2 * outcome.removals
        # A removal starts the registration again, and each takes two iterations.
        assert outcome.stale >= 2.0 * outcome.removals


def test_the_confirm_window_removes_no_desired_target_where_two_caches_alternate() -> None:
    for kind in Kind:
        for chances in range(20):
            it = failover(kind, caches=(1010.0, 1014.9), chances=chances, events=(STARTED,))
            outcome = followed(DEFAULT, it)
            assert (outcome.removals, outcome.flaps) == (0, 0)


def test_the_watch_sees_the_flip_a_second_after_the_cache_at_most() -> None:
    outcome = followed(NO_POLLS, failover())  # iterations at 1001, 1002, …
    assert outcome.announced
    assert outcome.stale == 3.0
    assert outcome.flowing == 1020.0 - 1007.0  # open at 1014; checks at 1015 and 1020
    assert outcome.wrong == 0.0


def test_without_warm_targets_the_load_balancer_has_to_register_the_new_primary() -> None:
    outcome = followed(replace(NO_STANDBY, dns_poll_seconds=0.0), failover())
    assert outcome.stale == 3.0
    assert outcome.flowing == 1013.0 + HEALTHY_AFTER - 1007.0


def test_a_slow_rule_delays_the_traffic() -> None:
    ten, _ = SLOW_RULES
    outcome = followed(replace(ten, dns_poll_seconds=0.0), failover())
    assert outcome.stale == 3.0
    assert outcome.flowing == 1030.0 - 1007.0  # open at 1023; checks at 1025 and 1030


def test_without_an_event_the_watch_begins_with_the_schedule() -> None:
    outcome = followed(NO_POLLS, failover(events=()))
    assert not outcome.announced
    assert outcome.stale == 50.0


def test_past_the_caches_the_watch_sees_the_flip_within_a_second() -> None:
    assert followed(AUTHORITATIVE, failover(flip=1010.5)).stale == 0.5


def test_continuous_polling_needs_no_event() -> None:
    # It polls at 1008 and 1013.
    assert followed(DEFAULT, failover(events=(), schedule=853.0)).stale == 3.0


def test_a_serving_standby_needs_two_health_checks() -> None:
    outcome = followed(SERVING_STANDBY, failover())  # checks at 1010 and 1015
    assert outcome.stale == 0.0
    assert outcome.flowing == 8.0


def test_the_old_writer_leaves_when_both_sources_name_the_new_one() -> None:
    outcome = followed(NO_POLLS, failover(Kind.CLUSTER, api=1015.0))
    assert outcome.stale == 3.0
    # Each a second later than the change of the rule, which is when it takes effect.
    assert outcome.wrong == 6.0
    assert outcome.wrong_since_seen == 3.0
    assert outcome.wrong_since_promotion == 9.0


def test_while_they_disagree_the_old_writer_leaves_after_the_confirm_window() -> None:
    outcome = followed(NO_POLLS, failover(Kind.CLUSTER, api=1030.0))
    assert outcome.wrong == 10.0
    assert outcome.wrong_since_seen == 7.0


def test_a_writer_that_the_api_names_first_is_a_target_before_the_name_moves() -> None:
    outcome = followed(NO_POLLS, failover(Kind.CLUSTER, api=1008.0))
    assert outcome.stale == 0.0
    assert outcome.wrong == 4.0


def combination_id(combination: Combination) -> str:
    return combination.title


#: A rule without effect for 30 s empties the warm pool later.
SETTLED = [it for it in COMBINATIONS if it.strategy != SLOW_RULES[-1]]


@pytest.mark.parametrize("combination", SETTLED, ids=combination_id)
def test_playing_on_after_all_is_right_changes_no_figure(combination: Combination) -> None:
    world = World()
    for index in range(5):
        it = draw(world, combination.kind, 11, index)
        short = play(world, it, combination.strategy)
        whole = play(world, it, combination.strategy, to_the_end=True)
        assert whole.costs is not None
        assert not whole.changed_later
        assert replace(whole, costs=None) == short


def test_a_quiet_run_of_the_stack_makes_three_calls_and_one_query() -> None:
    costs = play_quietly(World(), Kind.INSTANCE, NO_POLLS, minutes=100)
    assert (costs.scheduled, costs.aws_calls, costs.dns_queries) == (100, 300, 100)
    assert costs.waiting == 0.0


def test_a_loop_and_a_run_that_polls_wait_all_the_time() -> None:
    for strategy in (DEFAULT, EVERY_5_S, EVERY_SECOND):
        waiting = play_quietly(World(), Kind.INSTANCE, strategy, minutes=3).waiting
        assert waiting == pytest.approx(180.0)


#: Every five minutes the reader of a cluster is looked up: 0.2 queries a minute.
QUIET: Sequence[tuple[Strategy, Kind, int, float]] = [
    (NO_POLLS, Kind.CLUSTER, 3, 1.2),
    (AUTHORITATIVE, Kind.INSTANCE, 3, 13),
    (NO_STANDBY, Kind.INSTANCE, 2, 13),
    (SERVING_STANDBY, Kind.INSTANCE, 3, 13),
    (EVERY_5_S, Kind.INSTANCE, 12, 12),
    (EVERY_SECOND, Kind.CLUSTER, 60, 60),
    (DEFAULT, Kind.INSTANCE, 3, 13),
    (DEFAULT, Kind.CLUSTER, 15, 13.2),
    (MINUTE_SCHEDULE, Kind.CLUSTER, 1, 1),
    (FIRST_EVENT, Kind.INSTANCE, 0, 0),
]


@pytest.mark.parametrize(("strategy", "kind", "calls", "queries"), QUIET)
def test_every_run_of_a_quiet_month_costs_the_same(
    strategy: Strategy, kind: Kind, calls: int, queries: float
) -> None:
    costs = play_quietly(World(), kind, strategy, minutes=20)
    assert (costs.aws_calls, costs.dns_queries) == (20 * calls, 20 * queries)
