"""Regressions: histories in which a property once failed, each made as small as possible."""

from collections import Counter

from tests.properties.history import (
    ArbitrarySources,
    CachedSources,
    Fault,
    FaultKind,
    History,
    Owned,
    Pause,
    Start,
    Timeline,
    targets,
)
from tests.properties.world import World
from tests.support.scenario import A, B

OLD, NEW = frozenset([A]), frozenset([B])
OLD_TARGET, NEW_TARGET = targets(A, B)
FAILOVER_AT = 20.0
FAILOVER = Timeline(OLD, ((FAILOVER_AT, NEW),))
#: Two caches: at the failover one is 0.5 s old, the other is about to expire.
FRESH, STALE = 0, 1
PHASES = (0.1, 4.5)
#: After everything that a history contains.
FAULTS_END_AT = 90.0


def a_failover(*runs: Start, **changed: object) -> World:
    """Return a failover from A to B, with runs around it and caches with a TTL of 5 s."""
    settings: dict[str, object] = {
        "sources": CachedSources(name=FAILOVER, ttl=5, phases=PHASES),
        "registered": (OLD_TARGET,),
        "runs": runs,
        "faults_end_at": FAULTS_END_AT,
        "final_addresses": NEW,
        "listening": FAILOVER,
        "watch_seconds": 60.0,
        "registration_seconds": 90.0,
        "call_seconds": 0.02,
    }
    return World(History(**{**settings, **changed}))  # type: ignore[arg-type]


def test_a_run_with_a_stale_cache_keeps_what_another_run_just_registered() -> None:
    world = a_failover(
        Start(12.0, "event", 75.0, (STALE,)), Start(10.3, "completed", 75.0, (FRESH,))
    )

    world.play_until(FAULTS_END_AT)

    assert world.registrations == Counter([NEW_TARGET])
    assert world.removals == Counter([OLD_TARGET])


def test_a_run_continues_if_a_stale_cache_reverts_the_change() -> None:
    world = a_failover(Start(12.5, "event", 75.0, (FRESH, STALE)), registration_seconds=0.0)

    world.play_until(FAILOVER_AT + 20.0)

    assert world.group.registered == {NEW_TARGET}


def test_a_failing_second_source_does_not_contradict_the_new_writer() -> None:
    silences = ((FAILOVER_AT, FAILOVER_AT + 2.0),)
    sources = CachedSources(name=FAILOVER, ttl=5, phases=PHASES, lag=6.0, silences=silences)
    world = a_failover(Start(12.0, "event", 75.0, (FRESH, FRESH, STALE)), sources=sources)

    world.play_until(FAULTS_END_AT)

    assert world.removals[NEW_TARGET] == 0


def test_an_announced_target_stays_while_the_name_is_stale() -> None:
    sources = CachedSources(name=FAILOVER, ttl=5, phases=PHASES, lag=-5.0)
    world = a_failover(Start(10.0, "event", 75.0, (STALE,)), sources=sources)

    world.play_until(FAULTS_END_AT)

    assert world.removals == Counter([OLD_TARGET])


def test_a_stale_cache_does_not_register_the_removed_writer_again() -> None:
    sources = CachedSources(name=FAILOVER, ttl=5, phases=PHASES, lag=0.0)
    world = a_failover(
        Start(10.0, "event", 75.0, (STALE,)), Start(10.3, "event", 75.0, (FRESH,)), sources=sources
    )

    world.play_until(FAULTS_END_AT)

    assert world.registrations == Counter([NEW_TARGET])


def test_two_runs_with_different_resolvers_do_not_undo_each_other_every_second() -> None:
    sources = ArbitrarySources(resolvers=(Timeline(OLD), Timeline(NEW)), ttl=5)
    world = a_failover(
        Start(0.0, "event", 75.0, (0,)),
        Start(0.5, "event", 75.0, (1,)),
        sources=sources,
        registered=(OLD_TARGET, NEW_TARGET),
    )

    world.play_until(60.0)

    assert world.removals.total() <= 60.0 / 6.0


def test_a_contest_lasts_at_least_for_the_confirm_window() -> None:
    sources = ArbitrarySources(resolvers=(Timeline(OLD),), ttl=60, second=Timeline(NEW))
    world = a_failover(
        Start(0.0, "event", 75.0), sources=sources, registered=(OLD_TARGET, NEW_TARGET)
    )

    world.play_until(60.0)

    assert not world.removals


def test_a_healthy_standby_stays_if_the_name_just_had_its_address() -> None:
    """The grace period of the standby has nearly ended when a cache returns its address."""
    briefly_back = Timeline(NEW, ((19.09, OLD), (19.11, NEW)))
    world = a_failover(
        Start(0.0, "event", 75.0),
        sources=ArbitrarySources(resolvers=(briefly_back,), ttl=5),
        registered=(OLD_TARGET, NEW_TARGET),
        listening=Timeline(OLD | NEW),
        owned=Timeline(Owned(OLD)),
        serving_standby=True,
    )

    world.play_until(24.0)

    assert not world.removals


def test_a_frozen_run_does_not_apply_a_stale_plan() -> None:
    fails_back = Timeline(OLD, ((FAILOVER_AT, NEW), (FAILOVER_AT + 13.0, OLD)))
    for step in range(1, 40):
        world = a_failover(
            Start(18.0, "event", 75.0, (0,)),
            sources=CachedSources(name=fails_back, ttl=0, phases=(0.0,)),
            pauses=(Pause(0, step, 20.0),),
            final_addresses=OLD,
        )
        world.play_until(FAILOVER_AT + 13.0)
        before = world.removals[OLD_TARGET]
        world.play_until(FAULTS_END_AT)
        assert world.removals[OLD_TARGET] == before, f"frozen at step {step}"


def test_a_run_requests_a_change_without_effect_three_times() -> None:
    # More than the calls of the run. Only a change can have this fault.
    ignored = tuple(Fault(0, call, FaultKind.IGNORED) for call in range(1, 200))
    world = a_failover(Start(FAILOVER_AT + 6.0, "event", 75.0), faults=ignored)

    world.play_until(FAULTS_END_AT)

    (run,) = world.runs
    assert run.is_over
    assert run.requested == Counter({("RegisterTargets", NEW_TARGET): 3})
    assert world.group.registered == {OLD_TARGET}
