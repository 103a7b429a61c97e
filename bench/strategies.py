"""The strategies that are compared: what makes a run begin, and what a run does."""

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
from target_sync.reconcile.triggers import Trigger, TriggerKind

#: Timeout of the function and the default of EventWatchDurationSeconds (template.yaml).
FUNCTION_SECONDS = 600.0
EVENT_WATCH_DURATION_SECONDS = 300.0
#: DnsPollIntervalSeconds of the strategy with vigilance.
DNS_POLL_INTERVAL_SECONDS = 5.0

SCHEDULE = Trigger(kind=TriggerKind.SCHEDULE)

#: A run as a course of moments at which it wants to go on.
Course: TypeAlias = Iterator[float]
#: Makes the run of an event, or that of the schedule.
MakeRun: TypeAlias = Callable[[Event | None], Course]


class Events(Enum):
    """At which events a run begins."""

    NONE = "none"
    FIRST = "the first"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A way to follow a failover.

    Attributes:
        name: As it stands in the table.
        meaning: What it does, for the page.
        scheduled: Whether a run begins every minute.
        events: At which events a run begins.
        ours: Whether the runs are those of the stack; else each is a single look.
    """

    name: str
    meaning: str
    scheduled: bool = True
    events: Events = Events.ALL
    ours: bool = True
    authoritative: bool = False
    dns_poll_seconds: float = 0.0
    keeps_standby: bool = False
    kinds: tuple[Kind, ...] = field(default=tuple(Kind))

    def runs(self, scene: Scene) -> MakeRun:
        """Set up what makes this strategy's runs in a scene."""
        if not self.ours:
            return lambda _: single_look(scene)
        reconciler = self._synchronizer(scene)

        def run(event: Event | None) -> Course:
            return reconciler.run_in_steps(
                SCHEDULE if event is None else _trigger(scene.failover.kind, event),
                remaining_seconds=FUNCTION_SECONDS,
                age_seconds=0.0 if event is None else event.arrives - event.occurs,
            )

        return run

    def _synchronizer(self, scene: Scene) -> Reconciler:
        return Reconciler(
            endpoint=scene.endpoint,
            target_group=scene.group,
            policy=SyncPolicy(
                port=PORT, allowed_networks=(NETWORK,), serving_standby=self.keeps_standby
            ),
            clock=scene.clock,
            reporter=_Silence(),
            watch_seconds=EVENT_WATCH_DURATION_SECONDS,
            dns_poll_seconds=self.dns_poll_seconds,
            standbys=scene.standbys if self.keeps_standby else None,
        )


MINUTE_SCHEDULE = Strategy(
    name="minute schedule",
    meaning="a look every minute",
    events=Events.NONE,
    ours=False,
)
FIRST_EVENT_LOOK = Strategy(
    name="single look at the event",
    meaning="one look when the first event comes, and none after it",
    scheduled=False,
    events=Events.FIRST,
    ours=False,
)
EVENT_LOOKS = Strategy(
    name="a look at each event",
    meaning="the same, and one look when the event comes that says the failover is complete",
    scheduled=False,
    ours=False,
)
SCHEDULE_AND_EVENTS = Strategy(
    name="schedule and events",
    meaning="a look every minute and one at each of the two events",
    ours=False,
)
WATCH = Strategy(
    name="watch",
    meaning="this stack as it is by default: each event arms a watch, each minute has a run",
)
AUTHORITATIVE = Strategy(
    name="watch, authoritative lookup",
    meaning="the same with `DnsResolution=authoritative`: no cache between the run and the zone",
    authoritative=True,
)
VIGILANCE = Strategy(
    name="vigilance",
    meaning=f"the same as the watch with `DnsPollIntervalSeconds={DNS_POLL_INTERVAL_SECONDS:g}`",
    dns_poll_seconds=DNS_POLL_INTERVAL_SECONDS,
)
WARM_STANDBY = Strategy(
    name="warm standby",
    meaning="the same as the watch with `StandbyTargets=serving`; both addresses are targets"
    " already, as they are from the first failover on",
    keeps_standby=True,
    kinds=(Kind.INSTANCE,),
)

STRATEGIES = (
    MINUTE_SCHEDULE,
    FIRST_EVENT_LOOK,
    EVENT_LOOKS,
    SCHEDULE_AND_EVENTS,
    WATCH,
    AUTHORITATIVE,
    VIGILANCE,
    WARM_STANDBY,
)
#: The names of those whose runs are the stack's.
OURS = frozenset(strategy.name for strategy in STRATEGIES if strategy.ours)


def single_look(scene: Scene) -> Course:
    """One look as others make it: register what is new, deregister what is not in the answer.

    It knows no confirmation and no second source. It is honest in everything else: it describes
    before it changes, registers first, and calls nothing that is not needed.
    """
    yield scene.clock.now()
    answer = scene.name.observe()
    if isinstance(answer, FailedObservation):
        return
    wanted = frozenset(Target(address, PORT) for address in answer.addresses)
    registered = scene.group.describe().registered
    if wanted - registered:
        scene.group.register(sorted(wanted - registered, key=str))
    if registered - wanted:
        scene.group.deregister(sorted(registered - wanted, key=str))


#: The first event and the last one, by kind (RDS and Aurora user guides, event messages).
_EVENT_IDS = {
    Kind.INSTANCE: ("RDS-EVENT-0013", "RDS-EVENT-0049"),
    Kind.CLUSTER: ("RDS-EVENT-0073", "RDS-EVENT-0071"),
}


def _trigger(kind: Kind, event: Event) -> Trigger:
    return Trigger(
        kind=TriggerKind.RDS_EVENT,
        event_id=_EVENT_IDS[kind][event.completes],
        occurred_at=event.occurs,
    )


class _Silence:
    """Implements ``target_sync.reconcile.reconciler.Reporter``."""

    def report_iteration(self, run: RunState) -> None:
        """Nothing is to be told."""

    def report(self, result: SyncResult) -> None:
        """Nothing is to be told."""
