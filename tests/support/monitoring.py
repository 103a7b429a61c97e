"""The template's alarms over a road in memory: what they would do, minute by minute.

The figures of the runs are those that the functions really write; what AWS's own services count
(Lambda, the load balancer, the queues) follows from what happens on the road.
"""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from lab.emulator.alarms import Alarm, AlarmState, Metric, MetricStore
from target_sync.connections.reporting import PowertoolsReviewReporter
from target_sync.connections.triggers import ConnectionTrigger, ConnectionTriggerKind
from target_sync.errors import TargetSyncError
from target_sync.model import SyncPolicy
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import Trigger
from tests.support.connections import Desk
from tests.support.notifications import FakeTeller
from tests.support.scenario import POLICY, SCHEDULE, A, B, Scenario
from tests.support.scenarios import emitted, figures
from tests.support.standbys import FakeStandbys
from tests.template.stack import PSEUDO_PARAMETERS, Resolver

MINUTE = 60
#: Between two looks at the connection requests (template.yaml, EveryFiveMinutes).
SWEEP_MINUTES = 5
_NAMES = {
    "ReconcileTargetsFunction": "sync",
    "LoadBalancer.LoadBalancerFullName": "net/orders/0a",
    "DatabaseTargetGroup.TargetGroupFullName": "targetgroup/orders/0a",
    "FailedRunsQueue.QueueName": "failed",
    "UndeliveredEventsQueue.QueueName": "undelivered",
}
#: What takes turns on the road: each value is the moment at which it is to go on.
_Turns: TypeAlias = Generator[float, None, Any]
_STACK = PSEUDO_PARAMETERS["AWS::StackName"]
#: When Lambda tries an asynchronous run again: after one minute, then after two.
_RETRY_SECONDS = (60.0, 120.0)


def alarms(**given: str) -> dict[str, Alarm]:
    """Every alarm of a stack, by its name without the stack's."""
    resolver = Resolver({"AcceptanceRequired": "true", **given}, attributes=_NAMES)
    found = (Alarm.of(p) for p in resolver.of_type("AWS::CloudWatch::Alarm").values())
    return {alarm.name.removeprefix(f"{_STACK}-"): alarm for alarm in found}


class _Counting:
    """A reporter whose figures end in the store, at the moment of the report."""

    def __init__(self, watched: "WatchedRoad") -> None:
        self._watched = watched

    def iterated(self, run: RunState) -> None:
        """Nothing counts looks."""

    def report(self, result: SyncResult) -> None:
        self._watched.ours(emitted(result))


@dataclass(frozen=True)
class Ring:
    """An alarm that went off, and how many seconds after the beginning."""

    name: str
    after: float


@dataclass
class Depths:
    """How many messages are in each queue."""

    failed: int = 0
    undelivered: int = 0


@dataclass(kw_only=True)
class Lambda:
    """What Lambda does to the sync besides running it.

    Attributes:
        schedules: Whether the schedule is on.
        held_back: Minutes in which it holds a run back at first.
    """

    schedules: bool = True
    held_back: set[int] = field(default_factory=set)


class WatchedRoad(Scenario):
    """A road with a schedule, retries, and alarms that are evaluated every minute."""

    def __init__(self, *registered: object, policy: SyncPolicy = POLICY) -> None:
        standbys = FakeStandbys(A, B) if policy.serving_standby else None
        super().__init__(*registered, policy=policy, standbys=standbys)
        self.desk = Desk()
        self.notifier = FakeTeller()
        self.reconciler = replace(self.reconciler, notifier=self.notifier, reporter=_Counting(self))
        self.queues = Depths()
        self.aws = Lambda()
        self.ports_exhausted = False
        self.rings: list[Ring] = []
        self._store = MetricStore()
        self._states = dict.fromkeys(alarms(), AlarmState.INSUFFICIENT_DATA)
        self._alarms = alarms()
        self.clock.every_tick(self._count_hosts)

    def watch(self, minutes: int, *events: tuple[float, Trigger]) -> list[str]:
        """Let so many minutes pass, with runs for these events; which alarms went off?

        Args:
            minutes: How many.
            events: When events arrive, in seconds from now, and which.
        """
        self.rings.clear()
        begin = self.clock.now()
        runs = [(seconds, self._invocation(trigger)) for seconds, trigger in events]
        # A schedule is no metronome.
        ticks = [(MINUTE * n + 7 * n % 40, self._tick(n)) for n in range(minutes)]
        self.play(*runs, *ticks, (0.0, self._evaluations(begin, minutes)))
        return sorted({ring.name for ring in self.rings})

    def ours(self, figures: dict[str, float]) -> None:
        """Store figures that a function of the stack wrote."""
        for name, value in figures.items():
            self._put("PostgresPrivateLink", name, value, service=_STACK)

    def _tick(self, minute: int) -> _Turns:
        """What the schedules start in one minute."""
        if minute % SWEEP_MINUTES == 0:
            self._sweep()
        if minute in self.aws.held_back:
            self._put("AWS/Lambda", "Throttles", 1, FunctionName="sync")
        if self.aws.schedules:
            yield from self._invocation(SCHEDULE)

    def _sweep(self) -> None:
        result = self.desk.reviewer.run(ConnectionTrigger(kind=ConnectionTriggerKind.SCHEDULE))
        self.ours(figures(lambda: PowertoolsReviewReporter().report(result)))

    def _invocation(self, trigger: Trigger) -> _Turns:
        """A run as Lambda makes it: with its errors counted, and tried again."""
        for pause in (*_RETRY_SECONDS, None):
            try:
                yield from self.run_in_steps(trigger)
            except TargetSyncError:
                self._put("AWS/Lambda", "Errors", 1, FunctionName="sync")
                if pause is None:
                    self.queues.failed += 1
                    raise
                yield self.clock.now() + pause
            else:
                self._put("AWS/Lambda", "Errors", 0, FunctionName="sync")
                return

    def _evaluations(self, begin: float, minutes: int) -> _Turns:
        for n in range(1, minutes + 1):
            yield begin + MINUTE * n
            self._count_minute()
            for name, alarm in self._alarms.items():
                now = alarm.evaluate(self._store, self._states[name], self.clock.now())
                if now is AlarmState.ALARM is not self._states[name]:
                    self.rings.append(Ring(name, self.clock.now() - begin))
                self._states[name] = now

    def _count_hosts(self) -> None:
        group = self.group.snapshot()
        if group.registered:
            self._put(
                "AWS/NetworkELB",
                "HealthyHostCount",
                len(group.healthy),
                LoadBalancer="net/orders/0a",
                TargetGroup="targetgroup/orders/0a",
            )

    def _count_minute(self) -> None:
        """What the services report once a minute, for the minute that is just over."""
        just_before = self.clock.now() - 1
        visible = "ApproximateNumberOfMessagesVisible"
        self._put("AWS/SQS", visible, self.queues.failed, just_before, QueueName="failed")
        self._put("AWS/SQS", visible, self.queues.undelivered, just_before, QueueName="undelivered")
        if self.ports_exhausted:
            self._put(
                "AWS/NetworkELB",
                "PortAllocationErrorCount",
                1,
                just_before,
                LoadBalancer="net/orders/0a",
            )

    def _put(
        self, namespace: str, name: str, value: float, at: float | None = None, **dimensions: str
    ) -> None:
        metric = Metric(namespace, name, frozenset(dimensions.items()))
        self._store.put(metric, value, self.clock.now() if at is None else at)
