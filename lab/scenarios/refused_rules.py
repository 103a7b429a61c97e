"""Failovers to a warm target whose outbound rule cannot be opened, or whose run dies halfway."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from drill.run_records import RunRecord
from lab.aws import create_database
from lab.emulator.messages import Fault
from lab.function_logs import last_failures, run_records
from lab.rds_control_plane import Failover, RdsControlPlane
from lab.scenarios.base import Scenario, ScenarioContext, Writing

#: AWS's default quota of outbound rules of a security group, which is the emulator's too.
_QUOTA = 60
_FIRST_OTHER = IPv4Address("192.0.2.1")
_CHANGES = ("ec2:AuthorizeSecurityGroupEgress", "ec2:RevokeSecurityGroupEgress")
#: More calls than the scenario makes.
_EVERY = 1_000_000


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {"DatabaseEndpoint": database.endpoint, "StandbyTargets": "warm"}
    with context.path(parameters, targets=[rds.writer]) as path, path.writing() as writing:
        scene = _Scene(writing, rds, context.stack.resource("OutboundRulesSecurityGroup"))
        with scene.no_room():
            failover = scene.fail_over("The group has its 60 rules; the primary dies")
            scene.expect_refused("RulesPerSecurityGroupLimitExceeded", failover)
            scene.expect_alarm("sync-errors")
        scene.expect_followed("a rule is removed", failover)
        with context.denied("ReconcileTargetsFunction", *_CHANGES):
            failover = scene.fail_over("The role may not change rules; the primary dies")
            scene.expect_refused("UnauthorizedOperation", failover)
        scene.expect_followed("the role may change rules", failover)
        failover = scene.fail_over_and_kill()
        scene.expect_followed("the next run closes the old address", failover)
        _expect_repaired(context, failover)


@dataclass(frozen=True, slots=True)
class _Scene:
    """A client that writes, its database, and the security group of the switch."""

    writing: Writing
    rds: RdsControlPlane
    group: str

    @property
    def _context(self) -> ScenarioContext:
        return self.writing.path.context

    @contextmanager
    def no_room(self) -> Iterator[None]:
        """Fill the group with the rules of another owner; remove one of them at the end."""
        ec2 = self._context.provider.client("ec2")
        described = ec2.describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [self.group]}]
        )
        present = [rule for rule in described["SecurityGroupRules"] if rule["IsEgress"]]
        others = [_rule(number) for number in range(_QUOTA - len(present))]
        ec2.authorize_security_group_egress(GroupId=self.group, IpPermissions=others)
        yield
        ec2.revoke_security_group_egress(GroupId=self.group, IpPermissions=others[:1])

    def fail_over(self, what: str) -> Failover:
        """Wait until the standby is warm, kill the primary, and fail over."""
        context, path = self._context, self.writing.path
        path.expect_warm("the standby is warm", [t for t in context.targets if t != context.writer])
        context.progress.show(what)
        return self.rds.crash()

    def fail_over_and_kill(self) -> Failover:
        """Fail over, and kill all runs after they have opened the new address."""
        context, observer = self._context, self.writing.path.observer
        # No run can close the old address before it is killed.
        self._refuse_to_close(_EVERY)
        failover = self.fail_over("The primary dies, and then the function")
        admin, function = context.lab.admin, context.stack.resource("ReconcileTargetsFunction")
        context.lab.wait_for(
            lambda: failover.new in observer.registered, f"{failover.new} to be open"
        )
        context.lab.wait_for(lambda: admin.kill_run(function), "a run to kill")
        context.lab.wait_for(lambda: not admin.kill_run(function), "the end of the other runs")
        context.expect(
            "a run that was killed between the two rules leaves both addresses open",
            observer.registered == {failover.old, failover.new},
            ", ".join(map(str, sorted(observer.registered))),
        )
        self._refuse_to_close(0)
        return failover

    def _refuse_to_close(self, times: int) -> None:
        self._context.lab.admin.inject(
            Fault(
                service="ec2",
                action="RevokeSecurityGroupEgress",
                error="RequestLimitExceeded",
                times=times,
            )
        )

    def expect_refused(self, code: str, failover: Failover) -> None:
        """Wait for a run that fails with a code, and expect that nothing was closed."""
        context, observer = self._context, self.writing.path.observer

        def failure() -> str | None:
            failures = last_failures(context.provider, since=failover.flipped_at)
            return next((it for it in failures if code in it), None)

        found = context.lab.wait_for(failure, f"a run that fails with {code}")
        context.expect(
            f"a run fails with the call and {code}",
            found.startswith("AuthorizeSecurityGroupEgress failed"),
            found,
        )
        context.expect(
            f"{code}: the old address stays open",
            observer.registered == {failover.old},
            ", ".join(map(str, sorted(observer.registered))) or "none",
        )

    def expect_alarm(self, name: str) -> None:
        """Wait until an alarm is in ALARM state."""
        context = self._context
        cloudwatch: Any = context.provider.client("cloudwatch")
        full = f"{context.stack.name}-{name}"

        def rings() -> bool:
            found = cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]
            return full in {alarm["AlarmName"] for alarm in found}

        context.lab.wait_for(rings, f"the alarm {full}")
        context.expect(f"the alarm {name} is in ALARM state", holds=True)

    def expect_followed(self, when: str, failover: Failover) -> None:
        """Expect the new address alone, and writes; then give the database a new standby."""
        path = self.writing.path
        path.expect_targets(f"{when}: the new address alone gets traffic", [failover.new])
        self.writing.wait_for_writes_by(self._context.servers.primary)
        self.writing.expect_no_stray_write(failover)
        self.rds.rebuild_standbys()


def _rule(number: int) -> dict[str, Any]:
    network = {"CidrIp": f"{_FIRST_OTHER + number}/32", "Description": "Added by a user"}
    return {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [network]}


def _expect_repaired(context: ScenarioContext, failover: Failover) -> None:
    """Expect that a run closed the old address without opening the new one itself."""

    def records() -> list[RunRecord]:
        found = run_records(context.provider, since=failover.began_at)
        return [record for record in found if str(failover.old) in record.deregistered]

    found = context.lab.wait_for(records, f"the record of the run that closed {failover.old}")
    context.expect(
        "the run that closed the old address found the new one open",
        all(str(failover.new) not in record.registered for record in found),
        f"{len(found)} such runs",
    )


SCENARIO = Scenario(
    name="refused-rules",
    shows="a full group and a missing permission remove nothing, and a run that is killed between"
    " two rules is repaired by the next one",
    servers=2,
    run=_run,
    times={"schedule_interval": 2.0},
)
