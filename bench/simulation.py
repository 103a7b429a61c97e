"""Plays one failover, or one month without any, with all runs taking turns on one clock."""

from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from math import inf

from bench.scene import NEW_TARGET, OLD_TARGET, Scene
from bench.strategies import Course, Events, MakeRun, Strategy
from bench.world import Failover, Kind, World, draw

#: A failover that is not followed by then counts as missed, and its times as so long.
MISSED_SECONDS = 900.0
#: For so long after everything is right scheduled runs still begin, where costs are counted: no
#: run of ours lasts longer, but one that never sees its targets healthy.
_AFTERMATH_SECONDS = 300.0
MONTH_RUNS = 30 * 24 * 60
#: Beyond every month.
_NEVER = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What runs cost.

    Attributes:
        scheduled: How many scheduled runs there were.
        aws_calls: Calls to AWS APIs.
        dns_queries: DNS queries.
        waiting: Seconds that they waited, all together. Their calls take no time here.
    """

    scheduled: int
    aws_calls: int
    dns_queries: int
    waiting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one failover came to. Seconds; ``MISSED_SECONDS`` stands for never.

    Attributes:
        announced: Whether an event preceded the flip.
        stale: From the flip until the new primary is a target for good.
        flowing: From when the new primary listens until the load balancer has it healthy.
        wrong: After the flip, while new connections could reach the old writer.
        wrong_since_promotion: The same after the new writer became one.
        wrong_since_seen: The same after a run was first answered the new address.
        missed: Whether the group was not right in time.
        costs: What all runs cost, quiet ones too; None if not played to the end.
        changed_later: Whether the group changed after it was right and everybody knew.
    """

    announced: bool
    stale: float
    flowing: float
    wrong: float
    wrong_since_promotion: float
    wrong_since_seen: float
    missed: bool
    costs: Costs | None
    changed_later: bool


@dataclass(slots=True)
class _Stage:
    """The runs of a scene, in the order of the moments at which they go on.

    Attributes:
        scene: The scene.
        end: When the last scheduled run is due.
        most_runs: How many scheduled runs there are at most.
    """

    scene: Scene
    end: float = inf
    most_runs: float = inf
    scheduled: int = 0
    waited: float = 0.0
    _waiting: list[tuple[float, int, float, Course]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    def add(self, at: float, run: Course) -> None:
        """Have a run begin at a moment."""
        self._push(at, at, run)

    def begin_schedule(self, make_run: MakeRun) -> None:
        """Have a run begin every minute, a little late each time."""
        first = self.scene.failover.schedule
        self._push(first, inf, self._schedule(first, make_run))

    def _schedule(self, due: float, make_run: MakeRun) -> Course:
        world, lateness = self.scene.world, self.scene.random("schedule")
        while due < self.end and self.scheduled < self.most_runs:
            self.add(due + world.start.draw(lateness), make_run(None))
            self.scheduled += 1
            due += world.schedule
            yield due

    def _push(self, at: float, began_at: float, course: Course) -> None:
        heappush(self._waiting, (at, next(self._numbers), began_at, course))

    @property
    def next_at(self) -> float:
        """When somebody goes on; never if all is over."""
        return self._waiting[0][0] if self._waiting else inf

    def go_on(self) -> None:
        """Let the one whose turn it is go on to its next wait, or until another one is due."""
        at, _, began_at, course = heappop(self._waiting)
        self.scene.clock.moment = at
        for next_at in course:
            if next_at > at or self.next_at <= at:
                self._push(max(at, next_at), began_at, course)
                return
        self.waited += max(0.0, at - began_at)

    @property
    def costs(self) -> Costs:
        """What it has all cost so far."""
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
    """Play a failover.

    Args:
        world: What it was drawn from.
        failover: The failover.
        strategy: Who follows it.
        to_the_end: Whether to play every run to its end, so that its costs are known. Else it
            is over once the group is right and everybody gives the new answer.
    """
    stage = _stage(world, failover, strategy)
    stage.end = failover.flip + MISSED_SECONDS
    right_at = inf
    while (at := stage.next_at) < inf:
        if at >= failover.settled and right_at == inf and stage.scene.right:
            right_at = at
            if not to_the_end:
                break
            stage.end = min(stage.end, at + _AFTERMATH_SECONDS)
        stage.go_on()
    return _outcome(
        stage.scene,
        costs=stage.costs if to_the_end else None,
        changed_later=stage.scene.group.changed_at > right_at,
    )


def play_month(world: World, kind: Kind, strategy: Strategy, runs: int = MONTH_RUNS) -> Costs:
    """Play a month in which nothing happens, every run of it."""
    never = replace(
        draw(world, kind, 0, 0),
        dies=_NEVER,
        listens=_NEVER,
        flip=_NEVER,
        api=_NEVER,
        events=(),
        caches=(_NEVER,),
    )
    stage = _stage(world, never, strategy)
    stage.most_runs = runs
    while stage.next_at < inf:
        stage.go_on()
    return stage.costs


def _stage(world: World, failover: Failover, strategy: Strategy) -> _Stage:
    """Everything in its place, and nothing begun."""
    scene = Scene(
        world=world,
        failover=failover,
        authoritative=strategy.authoritative,
        both_registered=strategy.keeps_standby,
    )
    stage, make_run = _Stage(scene), strategy.runs(scene)
    if strategy.scheduled:
        stage.begin_schedule(make_run)
    for event in failover.events[: _MOST_EVENTS[strategy.events]]:
        stage.add(event.arrives, make_run(event))
    return stage


_MOST_EVENTS = {Events.NONE: 0, Events.FIRST: 1, Events.ALL: None}


def _outcome(scene: Scene, *, costs: Costs | None, changed_later: bool) -> Outcome:
    failover, stay = scene.failover, scene.group.stay(NEW_TARGET)
    listens, flip = failover.listens, failover.flip
    healthy_at = None if stay is None else stay.healthy_from(listens)
    return Outcome(
        announced=failover.announced,
        stale=_seconds(flip, None if stay is None else stay.since),
        flowing=_seconds(listens, healthy_at),
        wrong=_wrong(scene, flip),
        wrong_since_promotion=_wrong(scene, listens),
        wrong_since_seen=_wrong(scene, max(flip, scene.names.moved_at)),
        missed=not scene.right or scene.group.changed_at > flip + MISSED_SECONDS,
        costs=costs,
        changed_later=changed_later,
    )


def _seconds(since: float, at: float | None) -> float:
    return MISSED_SECONDS if at is None else min(MISSED_SECONDS, max(0.0, at - since))


def _wrong(scene: Scene, since: float) -> float:
    """Seconds in which new connections could reach the old writer.

    The old primary of an instance accepts none any more: its port is closed.
    """
    if scene.failover.kind is Kind.INSTANCE:
        return 0.0
    end = scene.failover.flip + MISSED_SECONDS
    spans = [
        span
        for stay in scene.group.stays
        if stay.target == OLD_TARGET
        for span in stay.healthy_spans()
    ]
    seconds = sum(max(0.0, min(end, until) - max(since, at)) for at, until in spans)
    return min(MISSED_SECONDS, seconds)
