"""Simulates one failover, or some time without any, with all runs on one virtual clock."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf

from bench.scene import NEW_TARGET, OLD_TARGET, Scene
from bench.strategies import Events, Run, StartRun, Strategy
from bench.world import FIRST_EVENT, Failover, Kind, World, draw
from lab.simulation.target_group import Stay
from target_sync.model import Target
from target_sync.reconcile.reconciler import SCHEDULE_SECONDS

#: A failover that no run has followed by then counts as missed, with this many seconds.
MISSED_SECONDS = 900.0
#: Where costs are counted, scheduled runs still start this long after the group is in sync. No run
#: of ours lasts longer, except one whose targets never become healthy.
_AFTERMATH_SECONDS = 300.0
#: A moment after the end of every simulation.
_NEVER = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What runs cost.

    Attributes:
        scheduled: How many scheduled runs there were.
        aws_calls: Calls to AWS APIs.
        dns_queries: DNS queries.
        waiting: Seconds that all of them waited. Calls take no time here.
    """

    scheduled: int
    aws_calls: int
    dns_queries: int
    waiting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one failover, in seconds. ``MISSED_SECONDS`` means never.

    Attributes:
        flip: From the first event to the flip; None if all events were lost.
        stale: From the flip until the new primary stays a target.
        flowing: From the moment the new primary listens until the load balancer finds it healthy.
        wrong: After the flip, while new connections could reach the old writer.
        wrong_since_promotion: The same, after the promotion of the new writer.
        wrong_since_seen: The same, after a run first observed the new address.
        removals: How often a desired target was removed: the new primary after the flip, or the
            old one before the new one listened.
        flaps: How often a removed target was registered again.
        missed: Whether the group was not in sync in time.
        costs: The costs of all runs; None if the simulation stopped early.
        changed_later: Whether the group changed although it was in sync and all sources agreed.
    """

    flip: float | None
    stale: float
    flowing: float
    wrong: float
    wrong_since_promotion: float
    wrong_since_seen: float
    removals: int
    flaps: int
    missed: bool
    costs: Costs | None
    changed_later: bool

    @property
    def announced(self) -> bool:
        """Whether an event preceded the flip."""
        return self.flip is not None and self.flip >= 0.0


@dataclass(slots=True)
class RunQueue:
    """The runs of a scene, in the order of the moments at which they continue.

    Attributes:
        scene: The scene.
        end: When the last scheduled run is due.
        most_runs: The highest number of scheduled runs.
    """

    scene: Scene
    end: float = inf
    most_runs: float = inf
    scheduled: int = 0
    waited: float = 0.0
    _waiting: list[tuple[float, int, float, Run]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    def add(self, at: float, run: Run) -> None:
        """Start a run at a moment."""
        self._push(at, at, run)

    def begin_schedule(self, every: float, start_run: StartRun) -> None:
        """Start a run at this interval. Those of a schedule start a little late."""
        first = self.scene.failover.schedule
        self._push(first, inf, self._schedule(first, every, start_run))

    def _schedule(self, due: float, every: float, start_run: StartRun) -> Run:
        lateness, delay = self.scene.random("schedule"), self.scene.world.start
        while due < self.end and self.scheduled < self.most_runs:
            late = 0.0 if every < SCHEDULE_SECONDS else delay.draw(lateness)
            self.add(due + late, start_run(None))
            self.scheduled += 1
            due += every
            yield due

    def _push(self, at: float, began_at: float, run: Run) -> None:
        heappush(self._waiting, (at, next(self._numbers), began_at, run))

    @property
    def next_at(self) -> float:
        """The moment at which the next run continues; infinity if none waits."""
        return self._waiting[0][0] if self._waiting else inf

    def step(self) -> None:
        """Continue the next run until it waits again, or until another run is due."""
        at, _, began_at, run = heappop(self._waiting)
        self.scene.clock.moment = at
        for next_at in run:
            if next_at > at or self.next_at <= at:
                self._push(max(at, next_at), began_at, run)
                return
        self.waited += max(0.0, at - began_at)

    @property
    def costs(self) -> Costs:
        """The costs so far."""
        scene = self.scene
        return Costs(
            scheduled=self.scheduled,
            aws_calls=scene.aws_calls,
            dns_queries=scene.names.queries,
            waiting=self.waited,
        )


def play(
    world: World, failover: Failover, strategy: Strategy, *, to_the_end: bool = False
) -> Outcome:
    """Simulate a failover and return its outcome.

    Args:
        world: The world from which the failover was drawn.
        failover: The failover.
        strategy: The strategy that follows it.
        to_the_end: Whether to run every run to its end, so that its costs are known. Else the
            simulation stops when the group is in sync and every source gives the new address.
    """
    runs, in_sync_at = play_runs(world, failover, strategy, to_the_end=to_the_end)
    return _outcome(
        runs.scene,
        costs=runs.costs if to_the_end else None,
        changed_later=runs.scene.changed_at > in_sync_at,
    )


def play_runs(
    world: World, failover: Failover, strategy: Strategy, *, to_the_end: bool
) -> tuple[RunQueue, float]:
    """Simulate a failover; return its runs, and when the group was in sync (infinity if never)."""
    runs = _queue(world, failover, strategy)
    runs.end = failover.flip + MISSED_SECONDS
    in_sync_at = inf
    while (at := runs.next_at) < inf:
        if at >= failover.settled and in_sync_at == inf and runs.scene.in_sync:
            in_sync_at = at
            if not to_the_end:
                break
            runs.end = min(runs.end, at + _AFTERMATH_SECONDS)
        runs.step()
    return runs, in_sync_at


def play_quietly(world: World, kind: Kind, strategy: Strategy, minutes: int) -> Costs:
    """Simulate every run of some minutes in which nothing happens, and return the costs."""
    never = replace(
        draw(world, kind, 0, 0),
        dies=_NEVER,
        listens=_NEVER,
        flip=_NEVER,
        api=_NEVER,
        events=(),
        caches=(_NEVER,),
    )
    queue, seconds = _queue(world, never, strategy), minutes * SCHEDULE_SECONDS
    queue.most_runs = seconds / strategy.every if strategy.every else 0
    while queue.next_at < inf:
        queue.step()
    # Between its iterations a loop waits, although none of them does.
    return replace(queue.costs, waiting=seconds) if strategy.is_loop else queue.costs


def _queue(world: World, failover: Failover, strategy: Strategy) -> RunQueue:
    """Return the queue with the schedule and the events of a failover, before the first step."""
    scene = Scene(
        world=world if strategy.rule is None else replace(world, rule=strategy.rule),
        failover=failover,
        authoritative=strategy.authoritative,
        standby=strategy.standby if strategy.ours else None,
    )
    queue, start_run = RunQueue(scene), strategy.runs(scene)
    if strategy.every:
        queue.begin_schedule(strategy.every, start_run)
    for event in failover.events[: _MOST_EVENTS[strategy.events]]:
        queue.add(event.arrives, start_run(event))
    return queue


_MOST_EVENTS = {Events.NONE: 0, Events.FIRST: 1, Events.ALL: None}


def _outcome(scene: Scene, *, costs: Costs | None, changed_later: bool) -> Outcome:
    failover, stay = scene.failover, scene.group.stay(NEW_TARGET)
    listens, flip = failover.listens, failover.flip
    healthy_at = None if stay is None else stay.healthy_from(listens)
    return Outcome(
        flip=flip - FIRST_EVENT if failover.events else None,
        stale=_seconds(flip, None if stay is None else _serving_since(scene, stay)),
        flowing=_seconds(listens, healthy_at),
        wrong=wrong_seconds(scene, flip),
        wrong_since_promotion=wrong_seconds(scene, listens),
        wrong_since_seen=wrong_seconds(scene, max(flip, scene.names.moved_at)),
        removals=sum(_was_desired(scene, target, at) for target, at in _removals(scene)),
        flaps=_flaps(scene),
        missed=not scene.in_sync or scene.changed_at > flip + MISSED_SECONDS,
        costs=costs,
        changed_later=changed_later,
    )


def _serving_since(scene: Scene, stay: Stay) -> float:
    """Return when the target was registered, or opened if that was later."""
    opened = [at for at, target, opens in scene.rules.changes if opens and target == stay.target]
    return max([stay.since, *opened[-1:]])


def _removals(scene: Scene) -> Iterator[tuple[Target, float]]:
    """Yield each removal: with rules of ours a target is closed first, else deregistered."""
    if scene.standby is not None:
        yield from ((target, at) for at, target, opens in scene.rules.changes if not opens)
        return
    for stay in scene.group.stays:
        if stay.deregistered_at is not None:
            yield stay.target, stay.deregistered_at


def _flaps(scene: Scene) -> int:
    """Return how often a removed target came back."""
    if scene.standby is None:
        return len(scene.group.stays) - len({stay.target for stay in scene.group.stays})
    closed: set[Target] = set()
    flaps = 0
    for _, target, opens in scene.rules.changes:
        if not opens:
            closed.add(target)
        elif target in closed:
            flaps += 1
    return flaps


def _was_desired(scene: Scene, target: Target, removed_at: float) -> bool:
    """Whether the target was removed while it was desired."""
    failover = scene.failover
    if target == NEW_TARGET:
        return removed_at >= failover.flip
    return removed_at < failover.listens


def _connectable(stay: Stay, lasts: float) -> Stay:
    """Return the stay as new connections see it, which reach it for a while after it ended."""
    if stay.deregistered_at is None:
        return stay
    return replace(stay, deregistered_at=stay.deregistered_at + lasts)


def _seconds(since: float, at: float | None) -> float:
    return MISSED_SECONDS if at is None else min(MISSED_SECONDS, max(0.0, at - since))


def wrong_seconds(scene: Scene, since: float) -> float:
    """Seconds in which new connections could reach the old writer.

    The old primary of an instance accepts none: its port is closed.
    """
    if scene.failover.kind is Kind.INSTANCE:
        return 0.0
    end = scene.failover.flip + MISSED_SECONDS
    lasts = partial(scene.world.deregistration.draw, scene.random("deregistration"))
    spans = [
        span
        for stay in scene.group.stays
        if stay.target == OLD_TARGET
        for span in _connectable(stay, lasts()).connectable_spans()
    ]
    seconds = sum(max(0.0, min(end, until) - max(since, at)) for at, until in spans)
    return min(MISSED_SECONDS, seconds)
