"""Hypothesis strategies for histories.

Drawing a value takes longer than replaying it, so related values are drawn as one number (see
``pick_each``).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, TypeVar

from hypothesis import strategies as st

from target_sync.model import Alias, IPAddress, LookupFailure, SwitchState
from tests.properties.history import (
    LOOPBACK,
    NONE_OWNED,
    OTHER_FAMILY,
    PUBLIC,
    TRIGGERS,
    WRONG_PORT,
    Answer,
    ArbitrarySources,
    CachedAlias,
    CachedSources,
    Drift,
    Fault,
    FaultKind,
    History,
    Owned,
    Pause,
    Start,
    Switch,
    Timeline,
    lasting,
    targets,
)
from tests.support.scenario import ON_PREM, A, B, C

Value = TypeVar("Value")
Addresses = frozenset[IPAddress]

#: Valid addresses of a name; one address is the usual case.
VALID: Sequence[Addresses] = [frozenset(s) for s in ([A], [B], [C], [A, B], [B, C], [A, B, C])]
INVALID: Sequence[Addresses] = [
    frozenset(s)
    for s in ([], [PUBLIC], [LOOPBACK], [ON_PREM], [OTHER_FAMILY], [A, PUBLIC], [B, OTHER_FAMILY])
]
ANY_ANSWER: Sequence[Answer] = [*VALID, *VALID, *INVALID, *LookupFailure]
ANY_SECOND = [*VALID, *VALID, *INVALID, None]
OWNED = [Owned(confirmed) for confirmed in [*VALID, frozenset[IPAddress](), None]]
ANY_TARGET = [*targets(A, B, C), *targets(A, B, port=WRONG_PORT), *targets(ON_PREM, OTHER_FAMILY)]
#: The database moves, or a reader is added or removed.
CHANGES: Sequence[tuple[Addresses, Addresses]] = [
    (VALID[0], VALID[1]),
    (VALID[0], VALID[3]),
    (VALID[3], VALID[1]),
    (VALID[3], VALID[4]),
]
#: Shorter and longer than the confirm window and the TTL.
SPANS = (1.0, 0.5, 3.0, 5.0, 6.0, 8.0, 15.0)
TENTHS = tuple(n / 10 for n in range(400))
#: Most runs start because of an event or the schedule.
TRIGGER_NAMES = [*TRIGGERS, "event", "completed", "schedule"]
MAX_RUNS = 4
#: The name may be an alias, the other name too, and both may move.
CHAINS: Sequence[tuple[Alias, ...]] = [
    (),
    (Alias("db.", "blue.", 10),),
    (Alias("db.", "green.", 8),),
    (Alias("db.", "green.", 5), Alias("green.", "writer.", 9)),
]
ALIASES = [CachedAlias(ttl=12, moves=False), CachedAlias(ttl=12, moves=True)]


def pick_each(*choices: Sequence[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw one of each choice, as one number. The first of each is the simplest."""

    def unpack(number: int) -> tuple[Any, ...]:
        chosen = []
        for choice in choices:
            number, index = divmod(number, len(choice))
            chosen.append(choice[index])
        return tuple(chosen)

    return st.integers(0, prod(map(len, choices)) - 1).map(unpack)


def some(
    make: Callable[..., Value], *choices: Sequence[Any], least: int = 0, most: int
) -> st.SearchStrategy[tuple[Value, ...]]:
    """Draw values, each made from one of each choice."""
    drawn = st.lists(pick_each(*choices), min_size=least, max_size=most)
    return drawn.map(lambda chosen: tuple(make(*p) for p in chosen))


def timelines(values: Sequence[Value], *, changes: int = 4) -> st.SearchStrategy[Timeline[Value]]:
    spans = st.lists(pick_each(SPANS, values), min_size=1, max_size=changes + 1)
    return spans.map(lambda s: lasting(*s))


def starts(times: Sequence[float], *, least: int = 1) -> st.SearchStrategy[tuple[Start, ...]]:
    resolvers = ((0,), (1,), (0, 1), (2,), (1, 2), (0, 0, 1))
    seconds = (75.0, 45.0, 30.0, 20.0, 16.0)
    return some(Start, times, TRIGGER_NAMES, seconds, resolvers, least=least, most=MAX_RUNS)


def until(last: float) -> Sequence[float]:
    """Return times in tenths of a second, so that runs do not coincide."""
    return TENTHS[: int(last * 10) + 1]


#: Only the first calls and steps of a run: there everything is new to it.
faults = some(Fault, range(MAX_RUNS), range(1, 24), list(FaultKind), most=4)
pauses = some(Pause, range(MAX_RUNS), range(1, 40), (0.1, 0.3, 1.0, 4.0, 20.0, None), most=4)
silences = some(lambda at, span: (at, at + span), TENTHS, SPANS, most=2)

#: The values of ``DURATION_FIELDS``, in seconds.
durations = pick_each(
    (60.0, 20.0, 5.0),
    (0.0, 5.0),
    (0.0, 3.0, 12.0),
    (0.0, 5.0, 60.0),
    (0.02, 0.0, 0.3),
    (1.0, 7.3, 30.6, 59.9),
)
DURATION_FIELDS = (
    "watch_seconds",
    "dns_poll_seconds",
    "registration_seconds",
    "draining_seconds",
    "call_seconds",
    "schedule_phase",
)


#: What the database may move to. No API lists the candidates of some kinds.
CANDIDATES = [*OWNED, Owned(frozenset([A, B, C, ON_PREM, PUBLIC])), Owned(None)]


@st.composite
def switches(draw: st.DrawFn, *, most: int | None = None, is_wide: bool = False) -> Switch:
    """Draw outbound rules. With ``is_wide`` they may become ineffective."""
    state, warm_targets, propagation_seconds, has_list, wide_from = draw(
        pick_each(
            list(SwitchState)[:2] if not is_wide else list(SwitchState),
            (5, 1, 2, 0),
            (1.0, 0.0, 5.0),
            (True, True, False),
            (None, None, 0.0, 15.0) if is_wide else (None,),
        )
    )
    return Switch(
        state=state,
        warm_targets=warm_targets if most is None else most,
        propagation_seconds=propagation_seconds,
        candidates=draw(timelines(CANDIDATES)) if has_list else None,
        wide_from=wide_from,
    )


@st.composite
def arbitrary_histories(draw: st.DrawFn) -> History:
    """Draw arbitrary answers, failures, faults and outside changes."""
    kind, has_switch, has_aliases, faults_end_at, max_targets, ttl, final = draw(
        pick_each(
            ("one source", "two sources", "standby"),
            (False, False, True),
            (False, True),
            (12.0, 25.0, 40.0),
            (15, 3, 2),
            (5, 0, None, 40),
            [*VALID, frozenset([B, OTHER_FAMILY])],
        )
    )
    return History(
        sources=ArbitrarySources(
            resolvers=draw(st.lists(timelines(ANY_ANSWER), min_size=1, max_size=3).map(tuple)),
            ttl=5 if kind == "standby" else ttl,
            second=draw(timelines(ANY_SECOND)) if kind == "two sources" else None,
            aliases=draw(timelines(CHAINS)) if has_aliases else Timeline(()),
        ),
        registered=draw(some(lambda t: t, ANY_TARGET, most=4)),
        runs=draw(starts(until(faults_end_at))),
        faults_end_at=faults_end_at,
        final_addresses=final if len(final) <= max_targets else VALID[0],
        listening=draw(timelines(VALID, changes=2)),
        owned=draw(timelines(OWNED)) if kind == "standby" else NONE_OWNED,
        faults=draw(faults),
        pauses=draw(pauses),
        drifts=draw(some(Drift, until(faults_end_at), ANY_TARGET, (True, False), most=3)),
        serving_standby=kind == "standby",
        switch=draw(switches(most=0 if kind == "standby" else None, is_wide=True))
        if has_switch
        else None,
        max_targets=max_targets,
        **dict(zip(DURATION_FIELDS, draw(durations), strict=True)),
    )


@st.composite
def changes_behind_caches(
    draw: st.DrawFn, *, fails_back: bool = False, two_sources: bool = False
) -> History:
    """Draw a name that changes behind caches, and a group that was in sync before.

    With ``fails_back`` the name changes back, after more than the confirm window and the TTL. With
    ``two_sources`` a second source changes too: up to 10 s later, or earlier by less than the
    difference between the confirm window and the TTL.
    """
    (before, after), at, ttl, back_in, has_switch, alias = draw(
        pick_each(
            CHANGES[:1] if two_sources else CHANGES,
            TENTHS[200:250],
            (5, 5, 1),
            TENTHS[120:240],
            (False, False, True),
            (None,) if two_sources else (None, *ALIASES),
        )
    )
    moves = alias is not None and alias.moves
    back_in += ALIASES[0].ttl if moves else 0
    around = [at + n / 10 for n in range(-200, 80)]
    lag = draw(st.integers(-9, 100)) / 10 if two_sources else None
    back = ((at + back_in, before),) if fails_back else ()
    name = Timeline(before, ((at, after), *back))
    last_at, final = name.changes[-1]
    faults_end_at = last_at + max(ttl, lag or 0.0, alias.ttl if moves else 0) + 8.0
    return History(
        sources=CachedSources(
            name=name,
            ttl=ttl,
            phases=draw(pick_each(*[until(12.0) if moves else until(5.0)] * 3)),
            lag=lag,
            silences=draw(silences) if two_sources else (),
            alias=alias,
        ),
        registered=targets(*before),
        runs=draw(starts(around, least=2)),
        faults_end_at=faults_end_at,
        final_addresses=final,
        listening=name,
        faults=draw(faults),
        pauses=draw(pauses) if not fails_back else (),
        switch=draw(switches()) if has_switch else None,
        **dict(zip(DURATION_FIELDS, draw(durations), strict=True)),
    )


@st.composite
def failovers_to_a_dead_server(draw: st.DrawFn) -> History:
    """Draw a failover after which no server accepts connections, and a run with much time."""
    history = draw(changes_behind_caches())
    trigger, at = draw(pick_each(("event", "schedule", "manual, waits"), until(5.0)))
    return replace(
        history,
        runs=(Start(history.faults_end_at + at, trigger, 600.0),),
        listening=Timeline(frozenset()),
    )


@st.composite
def returns_of_a_lost_target(draw: st.DrawFn) -> History:
    """Draw a name with invalid answers, and then one whose target was just deregistered.

    The calls take no time: nothing can stop a removal if another program deregisters the last
    desired target between the description and the removal.
    """
    invalid, seconds, at, lost_at = draw(
        pick_each(INVALID[:4], TENTHS[60:160], until(5.0), TENTHS[10:160])
    )
    name: Timeline[Answer] = lasting((seconds, invalid), (1.0, VALID[1]))
    return History(
        sources=ArbitrarySources(resolvers=(name,), ttl=draw(st.sampled_from([5, 0, None]))),
        registered=targets(A, B),
        runs=(Start(at, "event", 75.0),),
        faults_end_at=30.0,
        final_addresses=VALID[1],
        listening=Timeline(VALID[3]),
        drifts=(Drift(lost_at, targets(B)[0], registers=False),),
        **{**dict(zip(DURATION_FIELDS, draw(durations), strict=True)), "call_seconds": 0.0},
    )
