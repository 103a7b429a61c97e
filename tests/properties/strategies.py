"""Which histories there are.

Drawing costs Hypothesis more than playing costs us, so what belongs together is drawn as one
number: see ``picks``.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeVar

from hypothesis import strategies as st

from target_sync.model import IPAddress, LookupFailure
from tests.properties.history import (
    LOOPBACK,
    NOBODY,
    OTHER_FAMILY,
    PUBLIC,
    TRIGGERS,
    WRONG_PORT,
    Answer,
    Anything,
    Drift,
    Fault,
    FaultKind,
    Held,
    History,
    Pause,
    Start,
    Timeline,
    Truth,
    lasting,
    targets,
)
from tests.support.scenario import ON_PREM, A, B, C

Value = TypeVar("Value")
Addresses = frozenset[IPAddress]

#: What a name may rightly have; one address is the usual case.
RIGHT: Sequence[Addresses] = [frozenset(s) for s in ([A], [B], [C], [A, B], [B, C], [A, B, C])]
WRONG: Sequence[Addresses] = [
    frozenset(s)
    for s in ([], [PUBLIC], [LOOPBACK], [ON_PREM], [OTHER_FAMILY], [A, PUBLIC], [B, OTHER_FAMILY])
]
ANY_ANSWER: Sequence[Answer] = [*RIGHT, *RIGHT, *WRONG, *LookupFailure]
HELD = [Held(confirmed) for confirmed in [*RIGHT, frozenset[IPAddress](), None]]
ANY_TARGET = [*targets(A, B, C), *targets(A, B, port=WRONG_PORT), *targets(ON_PREM, OTHER_FAMILY)]
#: The database moves, or a reader comes or goes.
CHANGES: Sequence[tuple[Addresses, Addresses]] = [
    (RIGHT[0], RIGHT[1]),
    (RIGHT[0], RIGHT[3]),
    (RIGHT[3], RIGHT[1]),
    (RIGHT[3], RIGHT[4]),
]
#: Shorter and longer than the confirm window and a cache's time.
SPANS = (1.0, 0.5, 3.0, 5.0, 6.0, 8.0, 15.0)
TENTHS = tuple(n / 10 for n in range(400))
#: Why runs start. Most of all because of events, and by the schedule.
WHY = [*TRIGGERS, "event", "completed", "schedule"]
MAX_RUNS = 4


def picks(*choices: Sequence[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """One of each, drawn as one number. The first of each is the simplest."""

    def unpack(number: int) -> tuple[Any, ...]:
        picked = []
        for choice in choices:
            number, index = divmod(number, len(choice))
            picked.append(choice[index])
        return tuple(picked)

    return st.integers(0, prod(map(len, choices)) - 1).map(unpack)


def some(
    make: Callable[..., Value], *choices: Sequence[Any], least: int = 0, most: int
) -> st.SearchStrategy[tuple[Value, ...]]:
    """Some values, each made of one of each choice."""
    drawn = st.lists(picks(*choices), min_size=least, max_size=most)
    return drawn.map(lambda picked: tuple(make(*p) for p in picked))


def timelines(values: Sequence[Value], *, changes: int = 4) -> st.SearchStrategy[Timeline[Value]]:
    spans = st.lists(picks(SPANS, values), min_size=1, max_size=changes + 1)
    return spans.map(lambda s: lasting(*s))


def starts(moments: Sequence[float], *, least: int = 1) -> st.SearchStrategy[tuple[Start, ...]]:
    resolvers = ((0,), (1,), (0, 1), (2,), (1, 2), (0, 0, 1))
    seconds = (75.0, 45.0, 30.0, 20.0, 16.0)
    return some(Start, moments, WHY, seconds, resolvers, least=least, most=MAX_RUNS)


def until(last: float) -> Sequence[float]:
    """Moments in tenths of a second, so that runs are out of step with each other."""
    return TENTHS[: int(last * 10) + 1]


#: The first calls and steps of a run matter most: there it sees and does everything new.
faults = some(Fault, range(MAX_RUNS), range(1, 24), list(FaultKind), most=4)
pauses = some(Pause, range(MAX_RUNS), range(1, 40), (0.1, 0.3, 1.0, 4.0, 20.0, None), most=4)
silences = some(lambda at, span: (at, at + span), TENTHS, SPANS, most=2)

#: Seconds: of a watch, between polls, of a registration, of draining, of a call, until the first
#: scheduled run of the calm.
paces = picks(
    (60.0, 20.0, 5.0),
    (0.0, 5.0),
    (0.0, 3.0, 12.0),
    (0.0, 5.0, 60.0),
    (0.02, 0.0, 0.3),
    (1.0, 7.3, 30.6, 59.9),
)
PACES = (
    "watch_seconds",
    "dns_poll_seconds",
    "registration_seconds",
    "draining_seconds",
    "call_seconds",
    "schedule_phase",
)


@st.composite
def anything_goes(draw: st.DrawFn) -> History:
    """Any answers, failures, faults and changes by others; a second source, a standby or none."""
    kind, calm_at, max_targets, ttl, right = draw(
        picks(
            ("one source", "two sources", "standby"),
            (12.0, 25.0, 40.0),
            (15, 3, 2),
            (5, 0, None, 20),
            [*RIGHT, frozenset([B, OTHER_FAMILY])],
        )
    )
    return History(
        sources=Anything(
            resolvers=draw(st.lists(timelines(ANY_ANSWER), min_size=1, max_size=3).map(tuple)),
            ttl=5 if kind == "standby" else ttl,
            second=draw(timelines([*RIGHT, None])) if kind == "two sources" else None,
        ),
        registered=draw(some(lambda t: t, ANY_TARGET, most=4)),
        runs=draw(starts(until(calm_at))),
        calm_at=calm_at,
        right=right if len(right) <= max_targets else RIGHT[0],
        listening=draw(timelines(RIGHT, changes=2)),
        held=draw(timelines(HELD)) if kind == "standby" else NOBODY,
        faults=draw(faults),
        pauses=draw(pauses),
        drifts=draw(some(Drift, until(calm_at), ANY_TARGET, (True, False), most=3)),
        serving_standby=kind == "standby",
        max_targets=max_targets,
        **dict(zip(PACES, draw(paces), strict=True)),
    )


@st.composite
def changes_behind_caches(
    draw: st.DrawFn, *, fails_back: bool = False, of_two: bool = False
) -> History:
    """A name that changes, behind caches that keep to its TTL, in a group that was right.

    With ``fails_back`` it changes back, after a while that is longer than the confirm window and
    the TTL together. With ``of_two`` a second source changes, too: up to 10 s later, or ahead by
    less than the confirm window is longer than the TTL.
    """
    (before, after), at, ttl, back_in = draw(
        picks(CHANGES[:1] if of_two else CHANGES, TENTHS[200:250], (5, 5, 1), TENTHS[120:240])
    )
    around = [at + n / 10 for n in range(-200, 80)]
    lag = draw(st.integers(-9, 100)) / 10 if of_two else None
    back = ((at + back_in, before),) if fails_back else ()
    name = Timeline(before, ((at, after), *back))
    last_at, right = name.changes[-1]
    calm_at = last_at + max(ttl, lag or 0.0) + 8.0
    return History(
        sources=Truth(
            name=name,
            ttl=ttl,
            phases=draw(picks(until(5.0), until(5.0), until(5.0))),
            lag=lag,
            silences=draw(silences) if of_two else (),
        ),
        registered=targets(*before),
        runs=draw(starts(around, least=2)),
        calm_at=calm_at,
        right=right,
        listening=name,
        faults=draw(faults),
        pauses=draw(pauses) if not fails_back else (),
        **dict(zip(PACES, draw(paces), strict=True)),
    )
