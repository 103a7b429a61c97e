"""A drill from its first look to its exit status, on an AWS in memory."""

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

from drill.course import Drill, Exit, Options
from drill.decisions import FailoverCall, Resource
from drill.story import RdsNews
from drill.watches import ConnectionWatch, NameWatch
from lab.records import SyncRecord
from target_sync.errors import AwsAccessDeniedError
from target_sync.model import (
    FailedObservation,
    Observation,
    Target,
    TargetGroup,
    TargetHealth,
    TargetState,
)
from target_sync.status.facts import DescribedTarget, SslReply
from tests.support.drill import (
    cluster,
    cluster_stack,
    described_stack,
    instance,
    stack_resources,
)

OLD, NEW = ip_address("10.0.1.11"), ip_address("10.0.2.12")
REFUSED_BY_AWS = ClientError(
    {"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "RebootDBInstance"
)


def nothing() -> None:
    """What AWS does with a call of which nothing comes."""


@dataclass
class FakeAws:
    """A stack, its database and its target group.

    Attributes:
        calls: The calls that changed something.
        on_call: What comes of such a call.
    """

    described: Mapping[str, Any] = field(default_factory=described_stack)
    resources: Mapping[str, Resource] = field(default_factory=stack_resources)
    instances: list[Mapping[str, Any] | None] = field(default_factory=lambda: [instance()])
    healthy: bool = True
    writer: Any = OLD
    targets: dict[Any, TargetState] = field(default_factory=lambda: {OLD: TargetState.HEALTHY})
    on_call: Callable[[], None] = nothing
    clock_ahead: float | None = 0.0
    calls: list[str] = field(default_factory=list)
    records: list[SyncRecord] = field(default_factory=list)
    rds_url: str = "https://rds.eu-west-1.amazonaws.com"

    def stack(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Resource]]:
        assert name == "orders-privatelink"
        return self.described, self.resources

    def status(self, function: str) -> Mapping[str, Any]:
        assert function == "physical-ReportStatusFunction"
        return {"healthy": self.healthy, "summary": "Broken: schedule."}

    def instance(self, identifier: str) -> Mapping[str, Any] | None:
        """Each answer once, the last one for good."""
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

    def news(self, source_type: str, identifier: str, *, since: float) -> Iterable[RdsNews]:
        assert (source_type, identifier) == ("db-instance", "orders")
        assert since <= time.time()
        return ()

    def runs(self, log_group: str, *, since: float) -> Iterable[SyncRecord]:
        assert log_group == "physical-ReconcileTargetsLogGroup"
        assert since <= time.time()
        return list(self.records)

    def flows(self, *_: object, **__: object) -> tuple[tuple[float, int], ...]:
        raise AssertionError("connections are tried, so no metric is needed")

    def follows(self) -> None:
        """The database fails over and the stack follows, both at once."""
        self.writer = NEW
        self.targets = {OLD: TargetState.DRAINING, NEW: TargetState.HEALTHY}
        self.records = [
            SyncRecord(
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
class Drilled:
    """A drill that is over."""

    code: Exit
    output: str
    report: Path


def raising(error: BaseException) -> Callable[..., Any]:
    def act(*_: object, **__: object) -> Any:
        raise error

    return act


@pytest.fixture
def drilled(tmp_path: Path) -> Callable[..., Drilled]:
    def run(
        aws: FakeAws, ask: Callable[[str], str] = lambda _: "orders", **options: Any
    ) -> Drilled:
        console = Console(file=io.StringIO(), width=400)
        drill = Drill(
            options=Options(
                **{"stack": "orders-privatelink", "report": tmp_path / "report.html", **options}
            ),
            aws=aws,
            console=console,
            ask=ask,
            name_watch=lambda name: NameWatch(name, aws),
            connection_watch=lambda name, port: ConnectionWatch(name, port, aws),
        )
        code = drill.run()
        assert isinstance(console.file, io.StringIO)
        return Drilled(code, console.file.getvalue(), tmp_path / "report.html")

    return run


Run = Callable[..., Drilled]


def test_a_failover_that_is_followed_ends_with_0_and_a_report(drilled: Run) -> None:
    aws = FakeAws()
    aws.on_call = aws.follows
    done = drilled(aws)
    assert done.code == 0, done.output
    assert aws.calls == ["RebootDBInstance(DBInstanceIdentifier=orders, ForceFailover=True)"]
    for moment in ("failover asked for", "DNS flipped", "event received", "detected", "healthy"):
        assert moment in done.output
        assert moment in done.report.read_text()
    assert "account 111122223333, eu-west-1" in done.output
    assert "60 to 120 s" in done.output


def test_a_failover_that_is_not_followed_in_time_ends_with_1(drilled: Run) -> None:
    aws = FakeAws()
    done = drilled(aws, limit=0.1)
    assert done.code == 1
    assert len(aws.calls) == 1
    assert "FAIL" in done.report.read_text()


@pytest.mark.parametrize("typed", ["order", "", "yes"])
def test_another_name_than_the_databases_touches_nothing(drilled: Run, typed: str) -> None:
    aws = FakeAws()
    for done in (drilled(aws, ask=lambda _: typed), drilled(aws, yes=typed)):
        assert (done.code, aws.calls) == (2, [])
        assert "Nothing was touched." in done.output
        assert not done.report.exists()


def test_where_nobody_can_be_asked_nothing_is_touched(drilled: Run) -> None:
    aws = FakeAws()
    done = drilled(aws, ask=raising(EOFError()))
    assert (done.code, aws.calls) == (2, [])
    assert "--yes" in done.output


def test_with_the_name_given_nobody_is_asked(drilled: Run) -> None:
    aws = FakeAws()
    aws.on_call = aws.follows
    asking = raising(AssertionError("nobody is to be asked"))
    assert drilled(aws, ask=asking, yes="orders").code == 0


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
            "changed meanwhile",
        ),
        (FakeAws(targets={OLD: TargetState.UNHEALTHY}), "no target can be seen to be healthy"),
    ],
)
def test_what_is_not_to_be_touched_is_refused(drilled: Run, aws: FakeAws, reason: str) -> None:
    done = drilled(aws)
    assert (done.code, aws.calls) == (2, [])
    assert reason in done.output
    assert done.output.endswith("Nothing was touched.\n")


def test_a_report_that_cannot_be_written_is_noticed_before_anything_is_touched(
    drilled: Run, tmp_path: Path
) -> None:
    aws = FakeAws()
    done = drilled(aws, report=tmp_path / "nowhere/report.html")
    assert (done.code, aws.calls) == (2, [])
    assert "no folder for the report" in done.output


def test_a_missing_permission_before_the_call_touches_nothing(drilled: Run) -> None:
    aws = FakeAws()
    denied = AwsAccessDeniedError("DescribeTargetHealth", "AccessDenied", "not authorized")
    aws.describe = raising(denied)  # type: ignore[method-assign]
    done = drilled(aws)
    assert (done.code, aws.calls) == (2, [])
    assert "DescribeTargetHealth failed with AccessDenied" in done.output


def test_a_call_that_aws_refuses_touches_nothing(drilled: Run) -> None:
    done = drilled(FakeAws(on_call=raising(REFUSED_BY_AWS)))
    assert done.code == 2
    assert "not authorized" in done.output
    assert "Nothing was touched." in done.output


def test_a_lost_answer_to_the_call_may_be_a_failover_and_is_watched(drilled: Run) -> None:
    aws = FakeAws()

    def lose() -> None:
        aws.follows()
        raise ReadTimeoutError(endpoint_url=aws.rds_url)

    aws.on_call = lose
    done = drilled(aws)
    assert (done.code, len(aws.calls)) == (0, 1)
    assert "It may have come" in done.output


def test_an_abort_before_the_call_touches_nothing(drilled: Run) -> None:
    aws = FakeAws()
    done = drilled(aws, ask=raising(KeyboardInterrupt()))
    assert (done.code, aws.calls) == (130, [])
    assert "Aborted. Nothing was touched." in done.output
    assert not done.report.exists()


def test_an_abort_after_the_call_says_that_it_goes_on_and_writes_what_was_seen(
    drilled: Run,
) -> None:
    done = drilled(FakeAws(on_call=raising(KeyboardInterrupt())))
    assert done.code == 130
    assert "cannot be taken back" in done.output
    assert "Nothing was touched" not in done.output
    assert "failover asked for" in done.report.read_text()


def test_an_observer_waits_for_somebody_elses_failover_and_calls_nothing(drilled: Run) -> None:
    class Moving(FakeAws):
        """Fails over once the observer has looked."""

        def describe(self) -> TargetGroup:
            found = super().describe()
            if len(self.calls) == 2:
                self.follows()
            self.calls.append("describe")
            return found

    aws = Moving(healthy=False)
    done = drilled(aws, ask=raising(AssertionError("nobody is to be asked")), observe=True)
    assert done.code == 0, done.output
    assert set(aws.calls) == {"describe"}
    assert "Broken: schedule." in done.output
    assert "failover seen" in done.report.read_text()


def test_an_observer_who_is_aborted_has_touched_nothing(
    drilled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drill.course.time.sleep", raising(KeyboardInterrupt()))
    done = drilled(FakeAws(), observe=True)
    assert done.code == 130
    assert "Nothing was touched." in done.output
    assert not done.report.exists()


def test_a_cluster_is_failed_over_by_its_own_call(drilled: Run) -> None:
    stack = cluster_stack()
    aws = FakeAws(
        described=described_stack(
            outputs={"DatabaseKind": stack.kind},
            parameters={"DatabaseEndpoint": stack.subject.endpoint},
        ),
        on_call=raising(REFUSED_BY_AWS),
    )
    aws.news = lambda *_, **__: ()  # type: ignore[method-assign]
    drilled(aws, ask=lambda _: "shop")
    assert aws.calls == ["FailoverDBCluster(DBClusterIdentifier=shop)"]


def test_clocks_that_are_apart_are_told(drilled: Run) -> None:
    assert "AWS's clock is about -31 s" in drilled(FakeAws(clock_ahead=-31.4), yes="x").output
    assert "AWS's clock" not in drilled(FakeAws(clock_ahead=None), yes="x").output
    assert "AWS's clock" not in drilled(FakeAws(clock_ahead=0.4), yes="x").output


def test_what_cannot_be_seen_is_told_and_does_not_end_the_drill(drilled: Run) -> None:
    aws = FakeAws()
    aws.on_call = aws.follows
    aws.news = raising(REFUSED_BY_AWS)  # type: ignore[method-assign]
    done = drilled(aws)
    assert done.code == 0
    assert "Not seen: events of RDS: An error occurred (AccessDenied)" in done.output
