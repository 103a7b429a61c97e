"""The template's dashboard, and its alarms over a scenario, evaluated every minute.

The functions write their own metrics. The scenario derives the metrics of Lambda, the load
balancer and the queues.
"""

import json
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from lab.emulator.alarms import Alarm, AlarmState, Metric, MetricStore
from target_sync.errors import TargetSyncError
from target_sync.model import SyncPolicy
from target_sync.reconcile.loop import RunState
from target_sync.reconcile.result import SyncResult
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.reporting import PowertoolsReporter
from target_sync.triggers import Trigger, TriggerKind
from tests.support.connections import ReviewedService
from tests.support.notifications import FakeNotifier
from tests.support.scenario import POLICY, SCHEDULE, A, B
from tests.support.scenarios import run_metrics, written_metrics
from tests.support.standbys import FakeStandbys
from tests.support.warm_targets import WarmScenario
from tests.template.stack import PSEUDO_PARAMETERS, SITUATIONS, TEMPLATE, Resolver, load

MINUTE = 60
#: The interval of the scheduled reviews of connections (template.yaml, EveryFiveMinutes).
REVIEW_MINUTES = 5
_NAMES = {
    "ReconcileTargetsFunction": "sync",
    "LoadBalancer.LoadBalancerFullName": "net/orders/0a",
    "DatabaseTargetGroup.TargetGroupFullName": "targetgroup/orders/0a",
    "FailedRunsQueue.QueueName": "failed",
    "UndeliveredEventsQueue.QueueName": "undelivered",
}
#: A process on the virtual clock. It yields the times at which it continues.
_Process: TypeAlias = Generator[float, None, Any]
_DNS_POLL_SECONDS = float(load(TEMPLATE)["Parameters"]["DnsPollIntervalSeconds"]["Default"])
_STACK = PSEUDO_PARAMETERS["AWS::StackName"]
#: Lambda retries an asynchronous invocation after one minute, then after two.
_RETRY_SECONDS = (60.0, 120.0)


def alarms(**given: str) -> dict[str, Alarm]:
    """Return every alarm of a stack, by its name without the name of the stack."""
    resolver = Resolver({"AcceptanceRequired": "true", **given}, attributes=_NAMES)
    every = (Alarm.of(p) for p in resolver.of_type("AWS::CloudWatch::Alarm").values())
    return {alarm.name.removeprefix(f"{_STACK}-"): alarm for alarm in every}


def widgets(situation: str = "acceptance") -> list[dict[str, Any]]:
    """Return the widgets of the dashboard, the status first."""
    (dashboard,) = Resolver(SITUATIONS[situation]).of_type("AWS::CloudWatch::Dashboard").values()
    body = json.loads(dashboard["DashboardBody"])
    assert body.keys() == {"widgets"}
    found: list[dict[str, Any]] = body["widgets"]
    return found


def graphs(situation: str = "acceptance") -> list[dict[str, Any]]:
    """Return the graphs of the dashboard."""
    return [widget["properties"] for widget in widgets(situation)[1:]]


class _MetricReporter:
    """Implements ``target_sync.reconcile.reconciler.RunReporter`` and stores the metrics."""

    def __init__(self, scenario: "MonitoredScenario") -> None:
        self._scenario = scenario

    def report_iteration(self, run: RunState) -> None:
        """Do nothing: no metric counts iterations."""

    def report(self, result: SyncResult) -> None:
        self._scenario.store_metrics(run_metrics(result))


@dataclass(frozen=True)
class RaisedAlarm:
    """An alarm, and the seconds after which it was raised."""

    name: str
    after: float


@dataclass
class QueueDepths:
    """The number of messages in each queue."""

    failed: int = 0
    undelivered: int = 0


@dataclass(kw_only=True)
class Invocations:
    """How the schedule and Lambda start runs.

    Attributes:
        schedule_enabled: Whether the schedule starts a run every minute.
        throttled_minutes: The minutes in which Lambda throttles a run once.
    """

    schedule_enabled: bool = True
    throttled_minutes: set[int] = field(default_factory=set)


class MonitoredScenario(WarmScenario):
    """A scenario with a schedule, retries, and alarms that are evaluated every minute."""

    def __init__(self, *registered: object, policy: SyncPolicy = POLICY, **settings: Any) -> None:
        super().__init__(
            *registered,
            policy=policy,
            standbys=FakeStandbys(A, B) if policy.serving_standby else None,
            dns_poll_seconds=_DNS_POLL_SECONDS,
            **settings,
        )
        self.reviews = ReviewedService()
        self.notifier = FakeNotifier()
        self.reconciler = replace(
            self.reconciler, notifier=self.notifier, reporter=_MetricReporter(self)
        )
        self.queues = QueueDepths()
        self.invocations = Invocations()
        self.ports_exhausted = False
        self.raised: list[RaisedAlarm] = []
        self._store = MetricStore()
        self._states = dict.fromkeys(alarms(), AlarmState.INSUFFICIENT_DATA)
        self._alarms = alarms()
        self.clock.every_tick(self._count_hosts)
        # The first sync, before the alarm exists.
        self.store_metrics({"SyncSucceeded": 1})

    def run_minutes(self, minutes: int, *events: tuple[float, SyncTrigger]) -> list[str]:
        """Let time pass, and return the names of the alarms that were raised.

        Args:
            minutes: The number of minutes.
            events: Each event, after its delay in seconds.
        """
        self.raised.clear()
        begin = self.clock.now()
        runs = [(seconds, self._invocation(trigger)) for seconds, trigger in events]
        # The schedule is not exact.
        ticks = [(MINUTE * n + 7 * n % 40, self._tick(n)) for n in range(minutes)]
        self.run_concurrently(*runs, *ticks, (0.0, self._evaluations(begin, minutes)))
        return sorted({alarm.name for alarm in self.raised})

    def store_metrics(self, metrics: dict[str, float]) -> None:
        """Store the metrics that a function of the stack wrote."""
        for name, value in metrics.items():
            self._put("PostgresPrivateLink", name, value, service=_STACK)

    def _tick(self, minute: int) -> _Process:
        """Start what the schedules start in one minute."""
        if minute % REVIEW_MINUTES == 0:
            self._review_connections()
        if minute in self.invocations.throttled_minutes:
            self._put("AWS/Lambda", "Throttles", 1, FunctionName="sync")
        if self.invocations.schedule_enabled:
            yield from self._invocation(SCHEDULE)

    def _review_connections(self) -> None:
        result = self.reviews.reviewer.run(Trigger(kind=TriggerKind.SCHEDULE), remaining_seconds=60)
        self.store_metrics(written_metrics(lambda: PowertoolsReporter().report(result)))

    def _invocation(self, trigger: SyncTrigger) -> _Process:
        """Run as Lambda does: count the errors, and retry."""
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

    def _evaluations(self, begin: float, minutes: int) -> _Process:
        for n in range(1, minutes + 1):
            yield begin + MINUTE * n
            self._count_minute()
            for name, alarm in self._alarms.items():
                now = alarm.evaluate(self._store, self._states[name], self.clock.now())
                if now is AlarmState.ALARM is not self._states[name]:
                    self.raised.append(RaisedAlarm(name, self.clock.now() - begin))
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
        """Store what AWS's services report once a minute for the previous minute."""
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
