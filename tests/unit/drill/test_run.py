"""A whole drill, with an AWS in memory."""

import io
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from rich.console import Console

from drill.decisions import FailoverCall, Resource
from drill.failover import DatabaseEvent
from drill.pollers import ConnectionPoller, NamePoller
from drill.run import Drill, Exit, Options
from drill.run_records import RunRecord
from target_sync.errors import AwsAccessDeniedError
from target_sync.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    Target,
    TargetGroup,
    TargetHealth,
    TargetState,
)
from target_sync.status.facts import DescribedTarget, SslReply
from tests.support.clock import FakeClock
from tests.support.drill import cluster, cluster_stack, described_stack, instance, stack_resources
from tests.support.outbound_rules import FakeOutboundRules

OLD, NEW = ip_address("10.0.1.11"), ip_address("10.0.2.12")
REFUSED_BY_AWS = ClientError(
    {"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "RebootDBInstance"
)


def do_nothing() -> None:
    """Ignore a call."""


@dataclass
class FakeAws:
    """A stack, its database and its target group.

    Attributes:
        calls: The calls that changed something.
        on_call: The effect of such a call.
    """

    described: Mapping[str, Any] = field(default_factory=described_stack)
    resources: Mapping[str, Resource] = field(default_factory=stack_resources)
    instances: list[Mapping[str, Any] | None] = field(default_factory=lambda: [instance()])
    healthy: bool = True
    writer: Any = OLD
    targets: dict[Any, TargetState] = field(default_factory=lambda: {OLD: TargetState.HEALTHY})
    on_call: Callable[[], None] = do_nothing
    clock_ahead: float | None = 0.0
    calls: list[str] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    rules: FakeOutboundRules = field(default_factory=lambda: FakeOutboundRules(FakeClock()))
    rds_url: str = "https://rds.eu-west-1.amazonaws.com"

    def stack(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Resource]]:
        assert name == "orders-privatelink"
        return self.described, self.resources

    def status(self, function: str) -> Mapping[str, Any]:
        assert function == "physical-ReportStatusFunction"
        return {"healthy": self.healthy, "summary": "Broken: schedule."}

    def instance(self, identifier: str) -> Mapping[str, Any] | None:
        """Return each instance once, the last one always."""
        assert identifier == "orders"
        return self.instances[0] if len(self.instances) == 1 else self.instances.pop(0)

    def cluster(self, identifier: str) -> Mapping[str, Any] | None:
        assert identifier == "shop"
        return cluster()

    def fail_over(self, call: FailoverCall) -> None:
        self.calls.append(str(call))
        self.on_call()

    def target_group(self, arn: str) -> "FakeAws":
        assert arn.endswith("0123456789abcdef")
        return self

    def outbound_rules(self, group_id: str, port: int) -> FakeOutboundRules:
        assert (group_id, port) == ("sg-1", 5432)
        return self.rules

    def describe(self) -> TargetGroup:
        return TargetGroup(
            tuple(TargetHealth(Target(a, 5432), state) for a, state in self.targets.items())
        )

    def resolve(self, name: str) -> Observation | FailedObservation:
        return Observation(
            name=name, addresses=frozenset({self.writer}), source="dns", ttl=5, at=time.time()
        )

    def ask(self, _target: DescribedTarget) -> SslReply:
        return SslReply.TLS

    def events(self, source_type: str, identifier: str, *, since: float) -> Iterable[DatabaseEvent]:
        assert (source_type, identifier) == ("db-instance", "orders")
        assert since <= time.time()
        return ()

    def runs(self, log_group: str, *, since: float) -> Iterable[RunRecord]:
        assert log_group == "physical-ReconcileTargetsLogGroup"
        assert since <= time.time()
        return list(self.records)

    def flows(self, *_: object, **__: object) -> tuple[tuple[float, int], ...]:
        raise AssertionError("the drill connects, so it needs no metric")

    def fail_over_now(self) -> None:
        """Fail the database over and follow at once."""
        self.writer = NEW
        self.targets = {OLD: TargetState.DRAINING, NEW: TargetState.HEALTHY}
        self.records = [
            RunRecord(
                trigger="rds_event",
                event_id="RDS-EVENT-0013",
                occurred_at=time.time(),
                age=0.1,
                status="synced",
                registered=(f"{NEW}:5432",),
                deregistered=(),
                failures=0,
                to_detect=0.2,
                to_register=0.3,
            )
        ]


@dataclass
class FinishedDrill:
    """A drill that has ended."""

    code: Exit
    output: str
    report: Path


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*_: object, **__: object) -> Any:
        raise error

    return act


@pytest.fixture
def drilled(tmp_path: Path) -> Callable[..., FinishedDrill]:
    def run(
        aws: FakeAws, ask: Callable[[str], str] = lambda _: "orders", **options: Any
    ) -> FinishedDrill:
        console = Console(file=io.StringIO(), width=400)
        fake: Any = aws
        drill = Drill(
            options=Options(
                **{"stack": "orders-privatelink", "report": tmp_path / "report.html", **options}
            ),
            aws=fake,
            console=console,
            ask=ask,
            name_poller=lambda name: NamePoller(name, aws),
            connection_poller=lambda name, port: ConnectionPoller(name, port, fake),
        )
        code = drill.run()
        assert isinstance(console.file, io.StringIO)
        return FinishedDrill(code, console.file.getvalue(), tmp_path / "report.html")

    return run


Run = Callable[..., FinishedDrill]


def test_a_followed_failover_exits_with_0_and_writes_a_report(drilled: Run) -> None:
    aws = FakeAws()
    aws.on_call = aws.fail_over_now
    done = drilled(aws)
    assert done.code == 0, done.output
    assert aws.calls == ["RebootDBInstance(DBInstanceIdentifier=orders, ForceFailover=True)"]
    for moment in ("failover requested", "DNS flipped", "event received", "detected", "healthy"):
        assert moment in done.output
        assert moment in done.report.read_text()
    assert "account 111122223333, eu-west-1" in done.output
    assert "60 to 120 s" in done.output


def test_prints_when_the_rules_of_warm_targets_changed(drilled: Run) -> None:
    aws = FakeAws(
        described=described_stack(parameters={"StandbyTargets": "warm"}),
        resources=stack_resources(
            OutboundRulesSecurityGroup=Resource(type="AWS::EC2::SecurityGroup", id="sg-1")
        ),
        targets={OLD: TargetState.HEALTHY, NEW: TargetState.UNHEALTHY},
    )
    aws.rules.open([Target(OLD, 5432)])

    def fail_over() -> None:
        aws.fail_over_now()
        aws.targets = {OLD: TargetState.UNHEALTHY, NEW: TargetState.HEALTHY}
        aws.rules.open([Target(NEW, 5432)])
        aws.rules.close([Target(OLD, 5432)])

    aws.on_call = fail_over
    done = drilled(aws)
    assert done.code == 0, done.output
    for moment in ("rule opened", "healthy", "old rule closed", "old target unhealthy"):
        assert moment in done.output
    assert "opens the rule" in done.output


def test_a_failover_that_the_stack_does_not_follow_in_time_exits_with_1(drilled: Run) -> None:
    aws = FakeAws()
    done = drilled(aws, limit=0.1)
    assert done.code == 1
    assert len(aws.calls) == 1
    assert "FAIL" in done.report.read_text()


@pytest.mark.parametrize("typed", ["order", "", "yes"])
def test_refuses_another_name_than_the_databases(drilled: Run, typed: str) -> None:
    aws = FakeAws()
    for done in (drilled(aws, ask=lambda _: typed), drilled(aws, yes=typed)):
        assert (done.code, aws.calls) == (2, [])
        assert "Nothing was changed." in done.output
        assert not done.report.exists()


def test_refuses_without_standard_input(drilled: Run) -> None:
    aws = FakeAws()
    done = drilled(aws, ask=raising(EOFError()))
    assert (done.code, aws.calls) == (2, [])
    assert "--yes" in done.output


def test_the_option_yes_confirms_without_a_question(drilled: Run) -> None:
    aws = FakeAws()
    aws.on_call = aws.fail_over_now
    ask = raising(AssertionError("the drill asked a question"))
    assert drilled(aws, ask=ask, yes="orders").code == 0


@pytest.mark.parametrize(
    ("aws", "reason"),
    [
        (FakeAws(resources={}), "not one of this project's template"),
        (FakeAws(described=described_stack(status="UPDATE_IN_PROGRESS")), "UPDATE_IN_PROGRESS"),
        (FakeAws(healthy=False), "Broken: schedule."),
        (FakeAws(instances=[None]), "knows no database orders"),
        (FakeAws(instances=[instance(), instance(MultiAZ=False)]), "not Multi-AZ"),
        (
            FakeAws(instances=[instance(), instance(PendingModifiedValues={"Port": 1})]),
            "changed since the first check",
        ),
        (FakeAws(targets={OLD: TargetState.UNHEALTHY}), "no target is healthy"),
    ],
)
def test_refuses_an_unsuitable_stack_or_database(drilled: Run, aws: FakeAws, reason: str) -> None:
    done = drilled(aws)
    assert (done.code, aws.calls) == (2, [])
    assert reason in done.output
    assert done.output.endswith("Nothing was changed.\n")


def test_refuses_a_report_in_a_missing_folder_before_the_call(drilled: Run, tmp_path: Path) -> None:
    aws = FakeAws()
    done = drilled(aws, report=tmp_path / "nowhere/report.html")
    assert (done.code, aws.calls) == (2, [])
    assert "no folder for the report" in done.output


def test_a_missing_permission_before_the_call_ends_the_drill(drilled: Run) -> None:
    aws = FakeAws()
    denied = AwsAccessDeniedError("DescribeTargetHealth", "AccessDenied", "not authorized")
    aws.describe = raising(denied)  # type: ignore[method-assign]
    done = drilled(aws)
    assert (done.code, aws.calls) == (2, [])
    assert "DescribeTargetHealth failed with AccessDenied" in done.output


def test_reports_a_call_that_aws_rejects(drilled: Run) -> None:
    done = drilled(FakeAws(on_call=raising(REFUSED_BY_AWS)))
    assert done.code == 2
    assert "not authorized" in done.output
    assert "Nothing was changed." in done.output


def test_observes_the_failover_after_a_lost_reply(drilled: Run) -> None:
    aws = FakeAws()

    def lose_reply() -> None:
        aws.fail_over_now()
        raise ReadTimeoutError(endpoint_url=aws.rds_url)

    aws.on_call = lose_reply
    done = drilled(aws)
    assert (done.code, len(aws.calls)) == (0, 1)
    assert "AWS may have received it" in done.output


def test_an_abort_before_the_call_changes_nothing(drilled: Run) -> None:
    aws = FakeAws()
    done = drilled(aws, ask=raising(KeyboardInterrupt()))
    assert (done.code, aws.calls) == (130, [])
    assert "Aborted. Nothing was changed." in done.output
    assert not done.report.exists()


def test_an_abort_after_the_call_says_that_the_failover_continues_and_writes_the_report(
    drilled: Run,
) -> None:
    done = drilled(FakeAws(on_call=raising(KeyboardInterrupt())))
    assert done.code == 130
    assert "cannot be taken back" in done.output
    assert "Nothing was changed" not in done.output
    assert "failover requested" in done.report.read_text()


def test_with_observe_the_drill_waits_for_a_failover_and_calls_nothing(drilled: Run) -> None:
    class Moving(FakeAws):
        """Fails over after the second description."""

        def describe(self) -> TargetGroup:
            found = super().describe()
            if len(self.calls) == 2:
                self.fail_over_now()
            self.calls.append("describe")
            return found

    aws = Moving(healthy=False)
    done = drilled(aws, ask=raising(AssertionError("the drill asked a question")), observe=True)
    assert done.code == 0, done.output
    assert set(aws.calls) == {"describe"}
    assert "Broken: schedule." in done.output
    assert "failover observed" in done.report.read_text()


def test_an_abort_with_observe_changes_nothing(
    drilled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drill.run.time.sleep", raising(KeyboardInterrupt()))
    done = drilled(FakeAws(), observe=True)
    assert done.code == 130
    assert "Nothing was changed." in done.output
    assert not done.report.exists()


def test_fails_a_cluster_over_with_its_own_call(drilled: Run) -> None:
    stack = cluster_stack()
    aws = FakeAws(
        described=described_stack(
            outputs={"DatabaseKind": stack.kind},
            parameters={"DatabaseEndpoint": stack.database.endpoint},
        ),
        on_call=raising(REFUSED_BY_AWS),
    )
    aws.events = lambda *_, **__: ()  # type: ignore[method-assign]
    drilled(aws, ask=lambda _: "shop")
    assert aws.calls == ["FailoverDBCluster(DBClusterIdentifier=shop)"]


def test_reports_a_difference_between_the_clocks(drilled: Run) -> None:
    assert "AWS's clock is about -31 s" in drilled(FakeAws(clock_ahead=-31.4), yes="x").output
    assert "AWS's clock" not in drilled(FakeAws(clock_ahead=None), yes="x").output
    assert "AWS's clock" not in drilled(FakeAws(clock_ahead=0.4), yes="x").output


def test_warns_of_pending_changes_before_the_question(drilled: Run) -> None:
    pending = instance(PendingModifiedValues={"Port": 1})
    done = drilled(FakeAws(instances=[pending]), ask=lambda _: "no")
    assert "Note: Changes are pending, which the reboot may apply: Port." in done.output


def test_reports_a_name_that_does_not_resolve(drilled: Run) -> None:
    class Unresolved(FakeAws):
        """An account whose database has no name."""

        def resolve(self, name: str) -> FailedObservation:
            return FailedObservation(
                name=name,
                failure=LookupFailure.TIMED_OUT,
                detail="No DNS server answered.",
                at=time.time(),
            )

    aws = Unresolved()
    aws.on_call = aws.fail_over_now
    done = drilled(aws)
    assert done.code == 0
    assert "name: No DNS server answered." in done.output
    assert "DNS flipped" not in done.output.partition("Not observed")[0]


def test_reports_a_failed_poll_and_goes_on(drilled: Run) -> None:
    aws = FakeAws()
    aws.on_call = aws.fail_over_now
    aws.events = raising(REFUSED_BY_AWS)  # type: ignore[method-assign]
    done = drilled(aws)
    assert done.code == 0
    assert "Not observed: RDS events: An error occurred (AccessDenied)" in done.output
