"""A connection path that works, and one fault of it after another.

During each fault the status must report exactly the broken check and its remedy, and exactly the
alarms of the fault must be in ALARM state. If the scenario fails, the lab ends, so nothing has to
be repaired.
"""

import json
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from lab.addresses import Endpoint
from lab.aws import Consumer, Database, create_database
from lab.emulator.messages import EVERY_ACTION
from lab.emulator.messages import Fault as CallFault
from lab.environment import CONSUMER
from lab.processes import WaitTimeoutError
from lab.rds_control_plane import RdsControlPlane
from lab.results import FaultResult
from lab.scenarios.base import DBT, ConnectionPath, Scenario, ScenarioContext

#: A minute of the schedule and of the alarms takes a second. Most alarms need five minutes.
_TIMES: Mapping[str, float] = {
    "schedule_interval": 1.0,
    "registration_delay": 0.2,
    "health_check_interval": 0.2,
}
#: The longest wait for the status and the alarms, in seconds, about ten times what an idle machine
#: needs.
_TIMEOUT = 600.0
#: Seconds. The alarms change once a second.
_INTERVAL = 0.2
#: Seconds. Makes the newest run and a connection request older than the status accepts.
_LONG_AGO = 1200.0
#: More calls than the functions make.
_EVERY = 1_000_000
_OTHER_PORT = 5433
_PUBLIC = "8.8.8.8"
#: A time-out of the function, in seconds, that leaves a run less than the confirm window.
_SHORT = 20
_RULES_GROUP = "OutboundRulesSecurityGroup"

#: The alarms if every run fails.
_FAILING = ("failed-runs", "no-successful-sync", "sync-errors")
_NO_RUNS = ("no-successful-sync",)
_NO_HEALTHY_TARGET = ("no-healthy-target",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """The connection path, its database and its AWS."""

    path: ConnectionPath
    database: Database
    rds: RdsControlPlane
    client: Callable[[str], Any]

    @property
    def context(self) -> ScenarioContext:
        """The scenario."""
        return self.path.context

    def resource(self, logical_id: str) -> str:
        """Return the physical ID of a resource of the stack."""
        return self.context.stack.resource(logical_id)

    def status(self) -> Mapping[str, Any]:
        """Return the status report. SAM would take longer to start."""
        reply = self.client("lambda").invoke(
            FunctionName=self.path.outputs["ReportStatusFunctionName"]
        )
        report: dict[str, Any] = json.load(reply["Payload"])
        return report

    def alarms(self) -> tuple[str, ...]:
        """Return the alarms in ALARM state, without the stack's name."""
        found = self.client("cloudwatch").describe_alarms(StateValue="ALARM")["MetricAlarms"]
        prefix = f"{self.context.stack.name}-"
        return tuple(sorted(alarm["AlarmName"].removeprefix(prefix) for alarm in found))

    def purge(self) -> None:
        """Purge the queues, as the remedy says."""
        for output in ("FailedRunsQueueUrl", "UndeliveredEventsQueueUrl"):
            self.client("sqs").purge_queue(QueueUrl=self.path.outputs[output])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault, and the expected report of it.

    Attributes:
        name: Its name.
        check: The ID of the status check that must be broken.
        remedy: Words that the remedy must contain.
        alarms: The alarms that must be in ALARM state, sorted.
        during: Causes the fault during a `with` block.
        ages: Whether the status reports it only after minutes.
    """

    name: str
    check: str
    remedy: str
    alarms: tuple[str, ...] = ()
    during: Callable[[_Scene], AbstractContextManager[object]]
    ages: bool = False


def _run(context: ScenarioContext) -> None:
    database = create_database(context.provider, "orders")
    rds = context.lab.rds_for(database, context.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "AcceptanceRequired": "true",
        "AllowedPrincipals": f"arn:aws:iam::{DBT}:root,arn:aws:iam::{CONSUMER}:root",
        "TrustedAccounts": DBT,
        "FunctionSubnetIds": ",".join(database.subnet_ids),
        "CreateInterfaceEndpoints": "true",
    }
    with context.path(parameters, targets=[rds.writer]) as path:
        scene = _Scene(path=path, database=database, rds=rds, client=context.provider.client)
        _expect_healthy(scene, "a working connection path is healthy, without an alarm")
        context.progress.show("sam remote invoke ReportStatusFunction")
        found = context.stack.status()
        context.expect("sam remote invoke reports the same", found["healthy"], found["summary"])
        for fault in FAULTS:
            _check_fault(scene, fault)
        _expect_healthy(scene, "after all faults it is healthy again")
        _clean_up(scene)


def _expect_healthy(scene: _Scene, text: str) -> None:
    """Wait until the status is healthy; purge the queues, as a person would."""

    def healthy() -> Mapping[str, Any] | None:
        report = scene.status()
        if _broken(report) == {"dead-letter-queues"}:
            scene.purge()
        unknown = [check["id"] for check in report["checks"] if check["state"] == "unknown"]
        return report if report["healthy"] and not unknown and not scene.alarms() else None

    report = scene.context.lab.wait_for(healthy, "a healthy status without alarms")
    scene.context.expect(text, holds=True, detail=report["summary"])


def _broken(report: Mapping[str, Any]) -> set[str]:
    return {check["id"] for check in report["checks"] if check["state"] == "broken"}


def _check_fault(scene: _Scene, fault: Fault) -> None:
    context = scene.context
    context.progress.show(f"Fault: {fault.name}")
    with fault.during(scene):
        _wait(scene, lambda: scene.alarms() == fault.alarms)
        if fault.ages:
            context.lab.admin.elapse(_LONG_AGO)
        results: list[FaultResult] = []

        def is_as_expected() -> bool:
            results.append(_result(scene, fault))
            return results[-1].as_expected

        _wait(scene, is_as_expected)
    result = results[-1]
    context.results.faults.append(result)
    alarms = ", ".join(fault.alarms) or "no alarm"
    context.expect(
        f"{fault.name}: only the check {fault.check} is broken; in ALARM state: {alarms}",
        result.as_expected,
        f"{result.check}: {result.remedy} ({', '.join(result.alarms)})",
    )
    _expect_healthy(scene, f"{fault.name}: healthy again after the fault")


def _result(scene: _Scene, fault: Fault) -> FaultResult:
    """Return what the status and the alarms report now."""
    report, alarms = scene.status(), scene.alarms()
    broken = [check for check in report["checks"] if check["state"] == "broken"]
    return FaultResult(
        name=fault.name,
        check=", ".join(check["id"] for check in broken) or str(report["summary"]),
        expected_words=fault.remedy,
        remedy=" ".join(f"{check['remedy']} {check['command']}".strip() for check in broken),
        alarms=alarms,
        as_expected=(
            _broken(report) == {fault.check}
            and fault.remedy in f"{broken[0]['remedy']} {broken[0]['command']}"
            and alarms == fault.alarms
        ),
    )


def _wait(scene: _Scene, condition: Callable[[], bool]) -> None:
    """Wait for a condition; after the time-out the caller reports what it observes."""
    supervisor = scene.context.lab.supervisor
    with suppress(WaitTimeoutError):
        supervisor.wait_until(condition, what="the report", timeout=_TIMEOUT, interval=_INTERVAL)


# ---------------------------------------------------------------------------- the database's name


@contextmanager
def _stopped(scene: _Scene) -> Iterator[None]:
    """Stop the database for the RDS API only: the server still accepts connections."""
    rds, identifier = scene.client("rds"), scene.database.identifier
    rds.stop_db_instance(DBInstanceIdentifier=identifier)
    yield
    rds.start_db_instance(DBInstanceIdentifier=identifier)


def _no_dns(scene: _Scene) -> AbstractContextManager[None]:
    scene.context.lab.zone.remove(scene.database.endpoint)
    return _name_restored(scene)


def _public_address(scene: _Scene) -> AbstractContextManager[None]:
    scene.context.lab.zone.set_address(scene.database.endpoint, [_PUBLIC])
    return _name_restored(scene)


@contextmanager
def _name_restored(scene: _Scene) -> Iterator[None]:
    """Point the name at the primary at the end of the block."""
    yield
    scene.rds.point_name_at_primary()


# --------------------------------------------------------------------------------- the targets


def _wrong_port(scene: _Scene) -> AbstractContextManager[None]:
    """Move the database to a port that the stack does not expect."""
    return scene.context.lab.ports.moved(scene.rds.writer, _OTHER_PORT)


@contextmanager
def _server_down(scene: _Scene) -> Iterator[None]:
    server = scene.context.servers.primary
    server.stop()
    yield
    server.start()


def _other_server(scene: _Scene) -> AbstractContextManager[None]:
    """Redirect the database's address to the AWS emulator, which is not PostgreSQL."""
    port = urllib.parse.urlsplit(scene.context.lab.admin.url).port or 0
    emulator = Endpoint(IPv4Address("127.0.0.1"), port)
    return scene.context.lab.ports.redirected(scene.rds.writer, emulator)


@contextmanager
def _drift(scene: _Scene) -> Iterator[None]:
    """Register and open a foreign address. No run has the time to confirm the removal."""
    elb, functions, writer = scene.client("elbv2"), scene.client("lambda"), scene.rds.writer
    function = scene.resource("ReconcileTargetsFunction")
    timeout = functions.get_function_configuration(FunctionName=function)["Timeout"]
    group, rules_group = scene.path.outputs["TargetGroupArn"], scene.resource(_RULES_GROUP)
    address = writer.address + 50
    foreign = [{"Id": str(address), "Port": writer.port}]
    functions.update_function_configuration(FunctionName=function, Timeout=_SHORT)
    scene.client("ec2").authorize_security_group_egress(
        GroupId=rules_group,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": writer.port,
                "ToPort": writer.port,
                # The description makes it a rule of the stack.
                "IpRanges": [
                    {"CidrIp": f"{address}/32", "Description": "postgres-privatelink: open"}
                ],
            }
        ],
    )
    elb.register_targets(TargetGroupArn=group, Targets=foreign)
    yield
    functions.update_function_configuration(FunctionName=function, Timeout=timeout)
    elb.deregister_targets(TargetGroupArn=group, Targets=foreign)


# --------------------------------------------------------------------------------- the network


@contextmanager
def _switched(switch: Callable[[str], None], *, broken: str, working: str) -> Iterator[None]:
    """Set something to a broken value during a `with` block."""
    switch(broken)
    yield
    switch(working)


def _proxy_protocol(scene: _Scene) -> AbstractContextManager[None]:
    def switch(word: str) -> None:
        scene.client("elbv2").modify_target_group_attributes(
            TargetGroupArn=scene.path.outputs["TargetGroupArn"],
            Attributes=[{"Key": "proxy_protocol_v2.enabled", "Value": word}],
        )

    return _switched(switch, broken="true", working="false")


@contextmanager
def _no_listener(scene: _Scene) -> Iterator[None]:
    elb, balancer = scene.client("elbv2"), scene.resource("LoadBalancer")
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    elb.delete_listener(ListenerArn=listener["ListenerArn"])
    yield
    elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol=listener["Protocol"],
        Port=listener["Port"],
        DefaultActions=listener["DefaultActions"],
    )


def _zones_apart(scene: _Scene) -> AbstractContextManager[None]:
    def switch(word: str) -> None:
        scene.client("elbv2").modify_load_balancer_attributes(
            LoadBalancerArn=scene.resource("LoadBalancer"),
            Attributes=[{"Key": "load_balancing.cross_zone.enabled", "Value": word}],
        )

    return _switched(switch, broken="false", working="true")


@contextmanager
def _zone_not_enabled(scene: _Scene) -> Iterator[None]:
    """Remove the database's zone from the load balancer."""
    elb, balancer = scene.client("elbv2"), scene.resource("LoadBalancer")
    (found,) = elb.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"]
    subnets = {zone["ZoneName"]: zone["SubnetId"] for zone in found["AvailabilityZones"]}
    others = [subnet for zone, subnet in subnets.items() if zone != scene.database.zone]
    elb.set_subnets(LoadBalancerArn=balancer, Subnets=others)
    yield
    elb.set_subnets(LoadBalancerArn=balancer, Subnets=list(subnets.values()))


def _enforced(scene: _Scene) -> AbstractContextManager[None]:
    groups = _groups(scene)
    return _switched(lambda word: _set_groups(scene, groups, word), broken="on", working="off")


def _set_groups(scene: _Scene, groups: Sequence[str], enforcement: str) -> None:
    scene.client("elbv2").set_security_groups(
        LoadBalancerArn=scene.resource("LoadBalancer"),
        SecurityGroups=groups,
        EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic=enforcement,
    )


def _groups(scene: _Scene) -> list[str]:
    """Return the security groups of the load balancer, that with the outbound rules last."""
    return [scene.path.outputs["LoadBalancerSecurityGroupId"], scene.resource(_RULES_GROUP)]


@contextmanager
def _no_outbound_rules(scene: _Scene) -> Iterator[None]:
    """Remove the group whose outbound rules open the targets from the load balancer."""
    groups = _groups(scene)
    _set_groups(scene, groups[:1], "off")
    yield
    _set_groups(scene, groups, "off")


@contextmanager
def _security_group_closed(scene: _Scene) -> Iterator[None]:
    """Remove the rule and close the port, because the lab filters no packets."""
    ports, writer = scene.context.lab.ports, scene.rds.writer
    _remove_rules(scene)
    ports.close(writer)
    yield
    ports.open(writer)
    scene.client("ec2").authorize_security_group_ingress(
        GroupId=_database_group(scene),
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": writer.port,
                "ToPort": writer.port,
                "UserIdGroupPairs": [
                    {"GroupId": scene.path.outputs["LoadBalancerSecurityGroupId"]}
                ],
            }
        ],
    )


def _database_group(scene: _Scene) -> str:
    groups = scene.client("ec2").describe_security_groups()["SecurityGroups"]
    (group,) = [group["GroupId"] for group in groups if group["GroupName"] == "databases"]
    return str(group)


def _remove_rules(scene: _Scene) -> None:
    """Remove all inbound rules of the database."""
    ec2, group = scene.client("ec2"), _database_group(scene)
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    inbound = [
        rule["SecurityGroupRuleId"] for rule in rules["SecurityGroupRules"] if not rule["IsEgress"]
    ]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=inbound)


# --------------------------------------------------------------------------------- the consumers


@contextmanager
def _no_principal(scene: _Scene) -> Iterator[None]:
    """Remove all allowed principals of the service."""
    ec2, service = scene.client("ec2"), {"ServiceId": scene.path.outputs["EndpointServiceId"]}
    allowed = ec2.describe_vpc_endpoint_service_permissions(**service)["AllowedPrincipals"]
    principals = [entry["Principal"] for entry in allowed]
    ec2.modify_vpc_endpoint_service_permissions(**service, RemoveAllowedPrincipals=principals)
    yield
    ec2.modify_vpc_endpoint_service_permissions(**service, AddAllowedPrincipals=principals)


@contextmanager
def _unreviewed(scene: _Scene) -> Iterator[None]:
    """A trusted account connects, and the function lacks the permission to accept it."""
    with (
        scene.context.denied("ReviewConnectionsFunction", "ec2:AcceptVpcEndpointConnections"),
        _connecting(scene, DBT),
    ):
        yield


def _untrusted(scene: _Scene) -> AbstractContextManager[None]:
    """An untrusted account connects."""
    return _connecting(scene, CONSUMER)


@contextmanager
def _connecting(scene: _Scene, account: str) -> Iterator[None]:
    consumer = Consumer(scene.context.lab.account(account))
    endpoint = consumer.connect(scene.path.outputs["EndpointServiceName"])
    yield
    consumer.disconnect(endpoint)


# --------------------------------------------------------------------------------- the function


def _no_permission(scene: _Scene) -> AbstractContextManager[None]:
    return scene.context.denied(
        "ReconcileTargetsFunction", "elasticloadbalancing:DescribeTargetHealth"
    )


@contextmanager
def _api_unreachable(scene: _Scene) -> Iterator[None]:
    """Switch the private DNS of the interface endpoint off, and fail all its calls."""
    ec2, admin = scene.client("ec2"), scene.context.lab.admin
    endpoint = scene.resource("LoadBalancingEndpoint")
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, PrivateDnsEnabled=False)
    admin.inject(
        CallFault(
            service="elasticloadbalancing",
            action=EVERY_ACTION,
            error="ServiceUnavailable",
            times=_EVERY,
        )
    )
    yield
    admin.clear_faults()
    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, PrivateDnsEnabled=True)


def _schedule_off(scene: _Scene) -> AbstractContextManager[None]:
    return scene.context.stack.schedule_switched_off()


def _stale(scene: _Scene) -> AbstractContextManager[None]:
    """Set the rate of the schedule so low that the function does not run."""
    return scene.context.stack.schedule_slowed_down()


def _message_in(output: str) -> Callable[[_Scene], AbstractContextManager[None]]:
    @contextmanager
    def during(scene: _Scene) -> Iterator[None]:
        url = scene.path.outputs[output]
        scene.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
        yield
        scene.purge()

    return during


def _clean_up(scene: _Scene) -> None:
    """Remove the resources of the faults, which would block the deletion of the stack."""
    _remove_rules(scene)
    elb = scene.client("elbv2")
    listeners = elb.describe_listeners(LoadBalancerArn=scene.resource("LoadBalancer"))
    for listener in listeners["Listeners"]:
        elb.delete_listener(ListenerArn=listener["ListenerArn"])


#: In the order of the scenario.
FAULTS: tuple[Fault, ...] = (
    Fault(
        name="database stopped",
        check="database",
        remedy="aws rds start-db-instance",
        during=_stopped,
    ),
    Fault(
        name="no DNS: the database's name does not exist",
        check="endpoint-name",
        remedy="deploy the stack with its new DatabaseEndpoint",
        alarms=_FAILING,
        during=_no_dns,
    ),
    Fault(
        name="public address: the name resolves to an address outside the VPC",
        check="allowed-addresses",
        remedy="make it private",
        alarms=("sync-vetoed",),
        during=_public_address,
    ),
    Fault(
        name="wrong port: the database listens on another port",
        check="target-health",
        remedy="DatabasePort is wrong",
        alarms=_NO_HEALTHY_TARGET,
        during=_wrong_port,
    ),
    Fault(
        name="target unhealthy: the server is down",
        check="target-health",
        remedy="the server is not running",
        alarms=_NO_HEALTHY_TARGET,
        during=_server_down,
    ),
    Fault(
        name="another server: the target is not PostgreSQL",
        check="postgresql",
        remedy="start PostgreSQL where something else listens",
        during=_other_server,
    ),
    Fault(
        name="drift: a foreign target whose removal cannot be confirmed",
        check="drift",
        remedy="Invoke ReconcileTargetsFunction",
        alarms=("sync-unfinished",),
        during=_drift,
        ages=True,
    ),
    Fault(
        name="target group changed: proxy protocol is on",
        check="target-group",
        remedy="modify-target-group-attributes",
        during=_proxy_protocol,
    ),
    Fault(
        name="no listener",
        check="listener",
        remedy="aws elbv2 create-listener",
        alarms=_NO_HEALTHY_TARGET,
        during=_no_listener,
    ),
    Fault(
        name="load balancer changed: cross-zone load balancing is off",
        check="load-balancer",
        remedy="modify-load-balancer-attributes",
        during=_zones_apart,
    ),
    Fault(
        name="AZ not enabled: the load balancer has no subnet in the target's zone",
        check="availability-zones",
        remedy="to SubnetIds",
        alarms=_NO_HEALTHY_TARGET,
        during=_zone_not_enabled,
    ),
    Fault(
        name="enforcement switched on for PrivateLink traffic",
        check="load-balancer-security-group",
        remedy="set-security-groups",
        during=_enforced,
    ),
    Fault(
        name="outbound rules lost: the load balancer does not have their security group",
        check="switch",
        remedy="set-security-groups",
        alarms=_NO_HEALTHY_TARGET,
        during=_no_outbound_rules,
    ),
    Fault(
        name="security group closed: the database does not allow the load balancer",
        check="database-security-group",
        remedy="authorize-security-group-ingress",
        alarms=_NO_HEALTHY_TARGET,
        during=_security_group_closed,
    ),
    Fault(
        name="endpoint service without allowed principals",
        check="allowed-principals",
        remedy="--add-allowed-principals",
        during=_no_principal,
    ),
    Fault(
        name="connection pending: the request of a trusted account is not reviewed",
        check="endpoint-connections",
        remedy="Read the log of ReviewConnectionsFunction",
        alarms=("failed-runs",),
        during=_unreviewed,
        ages=True,
    ),
    Fault(
        name="untrusted consumer: a person must decide",
        check="endpoint-connections",
        remedy="aws ec2 accept-vpc-endpoint-connections",
        alarms=("connection-waiting",),
        during=_untrusted,
    ),
    Fault(
        name="ELB API unreachable: its interface endpoint has no private DNS",
        check="function-network",
        remedy="CreateInterfaceEndpoints",
        alarms=_FAILING,
        during=_api_unreachable,
    ),
    Fault(
        name="function without permission",
        check="last-sync",
        remedy="newest errors of ReconcileTargetsFunction",
        alarms=_FAILING,
        during=_no_permission,
        ages=True,
    ),
    Fault(
        name="stale function: the schedule is on and starts no run",
        check="last-sync",
        remedy="the schedule's rate and target",
        alarms=_NO_RUNS,
        during=_stale,
        ages=True,
    ),
    Fault(
        name="schedule off",
        check="schedule",
        remedy="Switch it on",
        alarms=_NO_RUNS,
        during=_schedule_off,
    ),
    Fault(
        name="dead-letter queue not empty: all retries of a run failed",
        check="dead-letter-queues",
        remedy="purge the queue",
        alarms=("failed-runs",),
        during=_message_in("FailedRunsQueueUrl"),
    ),
    Fault(
        name="dead-letter queue not empty: an event was not delivered",
        check="dead-letter-queues",
        remedy="purge the queue",
        alarms=("undelivered-events",),
        during=_message_in("UndeliveredEventsQueueUrl"),
    ),
)

SCENARIO = Scenario(
    name="faults",
    shows="for each fault the status reports the broken check, and its alarms are in ALARM state",
    servers=1,
    run=_run,
    times=_TIMES,
)
