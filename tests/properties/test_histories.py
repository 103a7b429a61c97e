"""Ten thousand histories, each with other answers, faults and runs; what holds in all of them.

What holds at every call is stated in ``referee`` and ``world``; what has to come about in the
end, in ``calm``. ``make histories`` plays a million.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from target_sync.model import IPAddress
from tests.properties.calm import comes_right
from tests.properties.history import History, Timeline, Truth
from tests.properties.strategies import anything_goes, changes_behind_caches
from tests.properties.world import World

#: Other tests cover every line and say so sooner; to count them here would take as long as to play.
pytestmark = pytest.mark.no_cover

Property = Callable[[History], None]

#: Every property by its name: how many histories the tests play of it, which, and what holds.
PROPERTIES: dict[str, tuple[int, st.SearchStrategy[History], Property]] = {}


_SETTINGS = settings(
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)


def every(number: int, histories: st.SearchStrategy[History]) -> Callable[[Property], Property]:
    """Play so many histories, the same ones each time."""

    def decorate(holds: Property) -> Property:
        PROPERTIES[holds.__name__] = (number, histories, holds)
        return settings(_SETTINGS, max_examples=number, derandomize=True)(given(histories)(holds))

    return decorate


def play(name: str, seed: str) -> int:
    """Play as many other histories of a property. Answers how many."""
    number, histories, holds = PROPERTIES[name]
    played = settings(_SETTINGS, max_examples=number)(given(histories)(holds))
    hypothesis.seed(seed)(played)()
    return number


@contextmanager
def playing(history: History) -> Iterator[World]:
    """A world that tells its story if something is wrong."""
    world = World(history)
    try:
        yield world
    except AssertionError:
        for line in world.story():
            note(line)
        raise


@every(3_000, anything_goes())
def test_whatever_happens_no_rule_is_broken_and_in_the_end_the_group_is_right(
    history: History,
) -> None:
    with playing(history) as world:
        comes_right(world)


@every(3_000, changes_behind_caches())
def test_runs_with_stale_caches_follow_a_change_once_and_never_undo_it(history: History) -> None:
    with playing(history) as world:
        comes_right(world)
        assert_followed_once(world)


@every(1_500, changes_behind_caches(fails_back=True))
def test_runs_with_stale_caches_follow_a_failover_and_the_way_back_once_each(
    history: History,
) -> None:
    with playing(history) as world:
        comes_right(world)
        assert_followed_once(world)


@every(2_500, changes_behind_caches(of_two=True))
def test_a_second_source_that_lags_or_is_silent_never_undoes_a_change(history: History) -> None:
    with playing(history) as world:
        comes_right(world)
        assert_the_new_writer_stays(world)


def assert_followed_once(world: World) -> None:
    """Every address comes and goes as often as in the name itself, and one is always there."""
    came, went = Counter[IPAddress](), Counter[IPAddress]()
    before = _name(world).first
    for _, after in _name(world).changes:
        came.update(after - before)
        went.update(before - after)
        before = after
    registrations = Counter({t.address: n for t, n in world.registrations.items()})
    removals = Counter({t.address: n for t, n in world.removals.items()})
    assert registrations <= came, "registered more often than it came"
    assert removals <= went, "removed more often than it went"
    assert not world.emptied


def assert_the_new_writer_stays(world: World) -> None:
    """The old one may come back for a window, once for each run that never saw it registered.

    Two sources that agree remove it at once, and such a run may still get it from a cache.
    """
    (flip, new), old = _name(world).changes[0], _name(world).first
    late = sum(r.first_look_at is not None and r.first_look_at >= flip for r in world.runs)
    for target, times in world.registrations.items():
        assert times <= (1 if target.address in new else late), "registered again and again"
    for target, times in world.removals.items():
        assert target.address in old, "the new writer was removed"
        assert times <= 1 + late, "removed again and again"
    assert not world.emptied


def _name(world: World) -> Timeline[frozenset[IPAddress]]:
    assert isinstance(world.history.sources, Truth)
    return world.history.sources.name
