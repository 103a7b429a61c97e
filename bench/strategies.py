"""The strategies that the benchmark compares: what starts a run, and what the run does."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from bench.scene import NETWORK, PORT, Scene
from bench.world import Event, Kind
from target_sync.model import FailedObservation, SyncPolicy, Target
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.reconciler import Reconciler
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.triggers import TriggerKind

#: Timeout of the function and the default of EventWatchDurationSeconds (template.yaml).
FUNCTION_SECONDS = 600.0
EVENT_WATCH_DURATION_SECONDS = 300.0
#: DnsPollIntervalSeconds of the strategy that polls continuously.
DNS_POLL_INTERVAL_SECONDS = 5.0

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
        scheduled: Whether a run starts every minute.
        events: The events that start a run.
        ours: Whether it runs the shipped reconciler; else each run is one iteration of a
            plain loop.
    """

    name: str
    meaning: str
    scheduled: bool = True
    events: Events = Events.ALL
    ours: bool = True
    authoritative: bool = False
    dns_poll_seconds: float = 0.0
    serving_standby: bool = False
    kinds: tuple[Kind, ...] = field(default=tuple(Kind))

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
        return Reconciler(
            endpoint=scene.endpoint,
            target_group=scene.group,
            policy=SyncPolicy(
                port=PORT, allowed_networks=(NETWORK,), serving_standby=self.serving_standby
            ),
            clock=scene.clock,
            reporter=_NoReporter(),
            watch_seconds=EVENT_WATCH_DURATION_SECONDS,
            dns_poll_seconds=self.dns_poll_seconds,
            standbys=scene.standbys if self.serving_standby else None,
        )


MINUTE_SCHEDULE = Strategy(
    name="schedule only",
    meaning="one iteration every minute",
    events=Events.NONE,
    ours=False,
)
FIRST_EVENT = Strategy(
    name="first event only",
    meaning="one iteration when the first event arrives, and none after it",
    scheduled=False,
    events=Events.FIRST,
    ours=False,
)
EACH_EVENT = Strategy(
    name="each event",
    meaning="the same, and one iteration when the event arrives that reports the failover complete",
    scheduled=False,
    ours=False,
)
SCHEDULE_AND_EVENTS = Strategy(
    name="schedule and events",
    meaning="one iteration every minute and one at each of the two events",
    ours=False,
)
WATCH = Strategy(
    name="watch",
    meaning="this stack with its defaults: each event starts a watch, each minute starts a run",
)
AUTHORITATIVE = Strategy(
    name="watch, authoritative DNS",
    meaning="the watch with `DnsResolution=authoritative`: no cache between the run and the zone",
    authoritative=True,
)
CONTINUOUS_POLLING = Strategy(
    name="continuous polling",
    meaning=f"the watch with `DnsPollIntervalSeconds={DNS_POLL_INTERVAL_SECONDS:g}`",
    dns_poll_seconds=DNS_POLL_INTERVAL_SECONDS,
)
SERVING_STANDBY = Strategy(
    name="serving standby",
    meaning="the watch with `StandbyTargets=serving`; both addresses are already targets, as after"
    " a first failover",
    serving_standby=True,
    kinds=(Kind.INSTANCE,),
)

STRATEGIES = (
    MINUTE_SCHEDULE,
    FIRST_EVENT,
    EACH_EVENT,
    SCHEDULE_AND_EVENTS,
    WATCH,
    AUTHORITATIVE,
    CONTINUOUS_POLLING,
    SERVING_STANDBY,
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
