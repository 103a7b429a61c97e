"""The strategies that the benchmark compares: what starts a run, and what the run does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from bench.scene import NETWORK, PORT, Scene
from bench.world import Event, Kind, Span
from target_sync.config import StandbyTargets
from target_sync.model import FailedObservation, SyncPolicy, Target
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import SCHEDULE_SECONDS, Reconciler
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.targets.switched_group import SwitchedTargetGroup
from target_sync.targets.warm_pool import WarmPool
from target_sync.triggers import TriggerKind

#: Timeout of the function, and the defaults of EventWatchDurationSeconds and
#: DnsPollIntervalSeconds (template.yaml).
FUNCTION_SECONDS = 600.0
EVENT_WATCH_DURATION_SECONDS = 300.0
DNS_POLL_INTERVAL_SECONDS = 5.0
#: Enough for the one server that each database has besides the serving one.
_WARM_TARGETS = 1

SCHEDULE = SyncTrigger(kind=TriggerKind.SCHEDULE)

#: A run, as the moments until which it waits.
Run: TypeAlias = Iterator[float]
#: Starts the run of an event, or a scheduled run if there is no event.
StartRun: TypeAlias = Callable[[Event | None], Run]


class Events(Enum):
    """The events that start a run."""

    NONE = "none"
    FIRST = "the first"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A way to follow a failover.

    Attributes:
        name: Its name in the table.
        meaning: What it does, for the page.
        every: Seconds between two scheduled runs; 0 for no schedule. Below a minute it is the
            interval of a loop in a process that always runs.
        events: The events that start a run.
        ours: Whether it runs the shipped reconciler; else each run is one iteration of a
            plain loop.
        standby: Which targets stay registered, for the shipped reconciler.
        rule: Seconds until a change of a rule takes effect; None for those of the world.
        group_type: What a removal does, for the shipped reconciler.
    """

    name: str
    meaning: str
    every: float = SCHEDULE_SECONDS
    events: Events = Events.ALL
    ours: bool = True
    authoritative: bool = False
    dns_poll_seconds: float = DNS_POLL_INTERVAL_SECONDS
    standby: StandbyTargets = StandbyTargets.WARM
    rule: Span | None = None
    group_type: type[SwitchedTargetGroup] = SwitchedTargetGroup
    kinds: tuple[Kind, ...] = field(default=tuple(Kind))

    @property
    def is_loop(self) -> bool:
        """Whether it is a loop in a process that always runs."""
        return 0.0 < self.every < SCHEDULE_SECONDS

    def runs(self, scene: Scene) -> StartRun:
        """Return the function that starts a run of this strategy in a scene."""
        if not self.ours:
            return lambda _: single_iteration(scene)
        reconciler = self._reconciler(scene)

        def run(event: Event | None) -> Run:
            return reconciler.run_in_steps(
                SCHEDULE if event is None else _trigger(scene.failover.kind, event),
                remaining_seconds=FUNCTION_SECONDS,
                age_seconds=0.0 if event is None else event.arrives - event.occurs,
            )

        return run

    def _reconciler(self, scene: Scene) -> Reconciler:
        is_serving = self.standby is StandbyTargets.SERVING
        policy = SyncPolicy(
            port=PORT,
            allowed_networks=(NETWORK,),
            serving_standby=is_serving,
            warm_targets=_WARM_TARGETS if self.standby is StandbyTargets.WARM else 0,
        )
        now = scene.clock.now
        switched = self.group_type(group=scene.group, rules=scene.rules, policy=policy, now=now)
        return Reconciler(
            endpoint=scene.endpoint,
            target_group=switched,
            policy=policy,
            clock=scene.clock,
            reporter=_NoReporter(),
            watch_seconds=EVENT_WATCH_DURATION_SECONDS,
            dns_poll_seconds=self.dns_poll_seconds,
            standbys=scene.interfaces if is_serving else None,
            pool=WarmPool(switched=switched, candidates=scene.candidates, policy=policy, now=now),
        )


MINUTE_SCHEDULE = Strategy(
    name="schedule only", meaning="one iteration every minute", events=Events.NONE, ours=False
)
FIRST_EVENT = Strategy(
    name="first event only",
    meaning="one iteration when the first event arrives, and none after it",
    every=0.0,
    events=Events.FIRST,
    ours=False,
)
EACH_EVENT = Strategy(
    name="each event",
    meaning="the same, and one iteration when the event arrives that reports the failover complete",
    every=0.0,
    ours=False,
)
SCHEDULE_AND_EVENTS = Strategy(
    name="schedule and events",
    meaning="one iteration every minute and one at each of the two events",
    ours=False,
)
PLAIN_LOOPS = tuple(
    Strategy(
        name=f"plain loop, every {seconds:g} s",
        meaning=f"one iteration every {seconds:g} s, in a process that always runs; no events",
        every=seconds,
        events=Events.NONE,
        ours=False,
    )
    for seconds in (5.0, 1.0)
)


def _with_polls(seconds: float, kinds: tuple[Kind, ...] = (Kind.INSTANCE,)) -> Strategy:
    return Strategy(
        name=f"polls every {seconds:g} s",
        meaning=f"this stack with `DnsPollIntervalSeconds={seconds:g}`",
        dns_poll_seconds=seconds,
        kinds=kinds,
    )


NO_POLLS = Strategy(
    name="no polls",
    meaning="this stack with `DnsPollIntervalSeconds=0`: each event starts a watch, each minute"
    " starts a run",
    dns_poll_seconds=0.0,
)
DEFAULT = Strategy(
    name="this stack",
    meaning="the default: also, each scheduled run polls DNS every"
    f" {DNS_POLL_INTERVAL_SECONDS:g} s until the next one starts",
)
#: Other intervals of the DNS polls.
POLLS = (_with_polls(30.0), _with_polls(10.0), _with_polls(1.0, tuple(Kind)))
AUTHORITATIVE = Strategy(
    name="authoritative DNS",
    meaning="this stack with `DnsResolution=authoritative`: no cache between a run and the zone",
    authoritative=True,
)
SERVING_STANDBY = Strategy(
    name="serving standby",
    meaning="this stack with `StandbyTargets=serving`; both addresses are already targets, as after"
    " a first failover",
    standby=StandbyTargets.SERVING,
    kinds=(Kind.INSTANCE,),
)
NO_STANDBY = Strategy(
    name="no warm targets",
    meaning="this stack with `StandbyTargets=none`: the load balancer has to register the new"
    " primary",
    standby=StandbyTargets.NONE,
)
#: Slower rules than the world's.
SLOW_RULES = tuple(
    Strategy(
        name=f"rules take {seconds:g} s",
        meaning=f"this stack, if each change of a rule takes effect after {seconds:g} s",
        rule=Span(seconds, seconds),
    )
    for seconds in (10.0, 30.0)
)

STRATEGIES = (
    MINUTE_SCHEDULE,
    FIRST_EVENT,
    EACH_EVENT,
    SCHEDULE_AND_EVENTS,
    *PLAIN_LOOPS,
    NO_POLLS,
    DEFAULT,
    *POLLS,
    AUTHORITATIVE,
    NO_STANDBY,
    SERVING_STANDBY,
    *SLOW_RULES,
)
#: The names of the strategies that run the shipped reconciler.
OURS = frozenset(strategy.name for strategy in STRATEGIES if strategy.ours)


def single_iteration(scene: Scene) -> Run:
    """One iteration of a plain loop: register new addresses, deregister all that DNS left out.

    It has no confirm window and no second source. In everything else it is fair: it registers
    before it deregisters, and makes no needless call.
    """
    yield scene.clock.now()
    observation = scene.name.observe()
    if isinstance(observation, FailedObservation):
        return
    desired = frozenset(Target(address, PORT) for address in observation.addresses)
    registered = scene.group.describe().registered
    if desired - registered:
        scene.group.register(sorted(desired - registered, key=str))
    if registered - desired:
        scene.group.deregister(sorted(registered - desired, key=str))


#: The first event and the last one, by kind (RDS and Aurora user guides, event messages).
_EVENT_IDS = {
    Kind.INSTANCE: ("RDS-EVENT-0013", "RDS-EVENT-0049"),
    Kind.CLUSTER: ("RDS-EVENT-0073", "RDS-EVENT-0071"),
}


def _trigger(kind: Kind, event: Event) -> SyncTrigger:
    return SyncTrigger(
        kind=TriggerKind.RDS_EVENT,
        event_id=_EVENT_IDS[kind][event.completes],
        occurred_at=event.occurs,
    )


class _NoReporter:
    """Implements ``target_sync.reconcile.reconciler.RunReporter``."""

    def report_iteration(self, run: RunState) -> None:
        """Do nothing."""

    def report(self, result: SyncResult) -> None:
        """Do nothing."""
