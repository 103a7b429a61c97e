"""A thousand fixed histories, and what must hold in each.

``rules`` and ``waits`` check each step of each run, ``recovery`` the end. ``make histories``
replays a million random ones.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from target_sync.model import IPAddress
from tests.properties.history import CachedSources, History, Timeline
from tests.properties.recovery import assert_recovers
from tests.properties.strategies import (
    arbitrary_histories,
    changes_behind_caches,
    failovers_to_a_dead_server,
    returns_of_a_lost_target,
)
from tests.properties.world import World

#: Measuring coverage would double the time, and other tests cover every line.
pytestmark = pytest.mark.no_cover

Property = Callable[[History], None]

#: By the name of each property: the number of histories, their strategy, and the check.
PROPERTIES: dict[str, tuple[int, st.SearchStrategy[History], Property]] = {}


_SETTINGS = settings(
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)


def replays(number: int, histories: st.SearchStrategy[History]) -> Callable[[Property], Property]:
    """Decorate a property: its test replays a number of fixed histories."""

    def decorate(check: Property) -> Property:
        PROPERTIES[check.__name__] = (number, histories, check)
        return settings(_SETTINGS, max_examples=number, derandomize=True)(given(histories)(check))

    return decorate


def replay(name: str, seed: str, *, shrinks: bool) -> int:
    """Replay random histories of a property, and return their number."""
    number, histories, check = PROPERTIES[name]
    phases = (Phase.generate, Phase.shrink) if shrinks else (Phase.generate,)
    test = settings(_SETTINGS, max_examples=number, phases=phases)(given(histories)(check))
    hypothesis.seed(seed)(test)()
    return number


@contextmanager
def world_of(history: History) -> Iterator[World]:
    """Return the world of a history. A failure shows its journal."""
    world = World(history)
    try:
        yield world
    except AssertionError:
        for line in world.journal_lines():
            note(line)
        raise


@replays(300, arbitrary_histories())
def test_no_fault_breaks_a_rule_and_the_group_ends_in_sync(history: History) -> None:
    with world_of(history) as world:
        assert_recovers(world)


@replays(300, changes_behind_caches())
def test_stale_caches_never_undo_or_repeat_a_change(history: History) -> None:
    with world_of(history) as world:
        assert_recovers(world)
        assert_followed_once(world)


@replays(150, changes_behind_caches(fails_back=True))
def test_stale_caches_never_undo_or_repeat_a_failover_and_a_failback(history: History) -> None:
    with world_of(history) as world:
        assert_recovers(world)
        assert_followed_once(world)


@replays(250, changes_behind_caches(two_sources=True))
def test_a_lagging_or_failing_second_source_never_undoes_a_change(history: History) -> None:
    with world_of(history) as world:
        assert_recovers(world)
        assert_the_new_writer_stays(world)


@replays(50, returns_of_a_lost_target())
def test_the_last_target_stays_until_its_successor_is_registered(history: History) -> None:
    with world_of(history) as world:
        assert_recovers(world)
        assert not world.emptied


@replays(5, failovers_to_a_dead_server())
def test_a_run_waits_for_health_for_five_minutes(history: History) -> None:
    with world_of(history) as world:
        world.play_until(history.faults_end_at + 600.0)
        (run,) = world.runs
        assert run.is_over


def assert_followed_once(world: World) -> None:
    """Targets change as often as the name does, and one is always registered."""
    added, removed = Counter[IPAddress](), Counter[IPAddress]()
    before = _name(world).first
    for _, after in _name(world).changes:
        added.update(after - before)
        removed.update(before - after)
        before = after
    registrations = Counter({t.address: n for t, n in world.registrations.items()})
    removals = Counter({t.address: n for t, n in world.removals.items()})
    assert registrations <= added, "registered too often"
    assert removals <= removed, "removed too often"
    assert not world.emptied


def assert_the_new_writer_stays(world: World) -> None:
    """The new writer stays registered, and the old one is not registered again and again.

    A run that started after the failover may register the old one once, from a stale cache: it
    did not see that both sources agreed on its removal.
    """
    (changed_at, new), old = _name(world).changes[0], _name(world).first
    late = sum(
        r.first_described_at is not None and r.first_described_at >= changed_at for r in world.runs
    )
    for target, times in world.registrations.items():
        assert times <= (1 if target.address in new else late), "registered again and again"
    for target, times in world.removals.items():
        assert target.address in old, "the new writer was removed"
        assert times <= 1 + late, "removed again and again"
    assert not world.emptied


def _name(world: World) -> Timeline[frozenset[IPAddress]]:
    assert isinstance(world.history.sources, CachedSources)
    return world.history.sources.name
