"""Histories that the properties found, each made as small as it gets and told as a story."""

from collections import Counter

from tests.properties.history import Anything, Held, History, Pause, Start, Timeline, Truth, targets
from tests.properties.world import World
from tests.support.scenario import A, B

OLD, NEW = frozenset([A]), frozenset([B])
OLD_TARGET, NEW_TARGET = targets(A, B)
FLIP = 20.0
FAILOVER = Timeline(OLD, ((FLIP, NEW),))
#: Two caches: the one is 0.5 s old at the flip, the other just before its refresh.
FRESH, STALE = 0, 1
PHASES = (0.1, 4.5)
#: After everything that a story tells of.
CALM = 90.0


def a_failover(*runs: Start, **changed: object) -> World:
    """Watches around a failover of A to B; the caches answer as long as a TTL of 5 s allows."""
    settings: dict[str, object] = {
        "sources": Truth(name=FAILOVER, ttl=5, phases=PHASES),
        "registered": (OLD_TARGET,),
        "runs": runs,
        "calm_at": CALM,
        "right": NEW,
        "listening": FAILOVER,
        "watch_seconds": 60.0,
        "registration_seconds": 90.0,
        "call_seconds": 0.02,
    }
    return World(History(**{**settings, **changed}))  # type: ignore[arg-type]


def test_a_watch_with_a_stale_cache_leaves_alone_what_another_run_has_just_registered() -> None:
    world = a_failover(
        Start(12.0, "event", 75.0, (STALE,)), Start(10.3, "completed", 75.0, (FRESH,))
    )

    world.plays_until(CALM)

    assert world.registrations == Counter([NEW_TARGET])
    assert world.removals == Counter([OLD_TARGET])


def test_a_watch_goes_on_when_a_cache_takes_back_the_change_that_it_has_just_seen() -> None:
    world = a_failover(Start(12.5, "event", 75.0, (FRESH, STALE)), registration_seconds=0.0)

    world.plays_until(FLIP + 20.0)

    assert world.group.registered == {NEW_TARGET}


def test_a_silent_second_source_does_not_speak_against_the_new_writer() -> None:
    silent = ((FLIP, FLIP + 2.0),)
    sources = Truth(name=FAILOVER, ttl=5, phases=PHASES, lag=6.0, silences=silent)
    world = a_failover(Start(12.0, "event", 75.0, (FRESH, FRESH, STALE)), sources=sources)

    world.plays_until(CALM)

    assert world.removals[NEW_TARGET] == 0


def test_a_second_source_that_is_ahead_of_a_stale_name_keeps_what_it_announced() -> None:
    sources = Truth(name=FAILOVER, ttl=5, phases=PHASES, lag=-5.0)
    world = a_failover(Start(10.0, "event", 75.0, (STALE,)), sources=sources)

    world.plays_until(CALM)

    assert world.removals == Counter([OLD_TARGET])


def test_an_old_writer_that_was_removed_does_not_come_back_by_a_cache() -> None:
    sources = Truth(name=FAILOVER, ttl=5, phases=PHASES, lag=0.0)
    world = a_failover(
        Start(10.0, "event", 75.0, (STALE,)), Start(10.3, "event", 75.0, (FRESH,)), sources=sources
    )

    world.plays_until(CALM)

    assert world.registrations == Counter([NEW_TARGET])


def test_two_runs_whose_resolvers_never_agree_do_not_fight_every_second() -> None:
    sources = Anything(resolvers=(Timeline(OLD), Timeline(NEW)), ttl=5)
    world = a_failover(
        Start(0.0, "event", 75.0, (0,)),
        Start(0.5, "event", 75.0, (1,)),
        sources=sources,
        registered=(OLD_TARGET, NEW_TARGET),
    )

    world.plays_until(60.0)

    assert world.removals.total() <= 60.0 / 6.0


def test_a_standby_that_the_name_has_just_named_is_not_removed_for_answering() -> None:
    """It has answered beside the right target for almost 20 s when a cache names it in a poll."""
    back_for_a_moment = Timeline(NEW, ((19.09, OLD), (19.11, NEW)))
    world = a_failover(
        Start(0.0, "event", 75.0),
        sources=Anything(resolvers=(back_for_a_moment,), ttl=5),
        registered=(OLD_TARGET, NEW_TARGET),
        listening=Timeline(OLD | NEW),
        held=Timeline(Held(OLD)),
        serving_standby=True,
    )

    world.plays_until(24.0)

    assert not world.removals


def test_a_run_that_was_frozen_between_two_calls_does_not_act_on_what_it_saw_before() -> None:
    fails_back = Timeline(OLD, ((FLIP, NEW), (FLIP + 13.0, OLD)))
    for step in range(1, 40):
        world = a_failover(
            Start(18.0, "event", 75.0, (0,)),
            sources=Truth(name=fails_back, ttl=0, phases=(0.0,)),
            pauses=(Pause(0, step, 20.0),),
            right=OLD,
        )
        world.plays_until(FLIP + 13.0)
        before = world.removals[OLD_TARGET]
        world.plays_until(CALM)
        assert world.removals[OLD_TARGET] == before, f"frozen at step {step}"
