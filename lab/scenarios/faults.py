"""A road that works, and the same road with one thing broken after another.

While each fault lasts, the status must name exactly the step that is broken and tell what to do,
and exactly the alarms that belong to it must ring.
"""

import json
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from lab.addresses import Endpoint
from lab.aws import Clients, Consumer, Database, create_database
from lab.emulator.messages import EVERY_ACTION
from lab.emulator.messages import Fault as CallFault
from lab.faults import SeenFault
from lab.processes import WaitTimeoutError
from lab.rds_control_plane import RdsControlPlane
from lab.scenarios.base import DBT, ConnectionPath, Scenario, Stage
from lab.site import CONSUMER

#: A minute of the schedule and of the alarms is a second: most alarms need five of them.
_TIMES: Mapping[str, float] = {
    "schedule_interval": 1.0,
    "registration_delay": 0.2,
    "health_check_interval": 0.2,
}
#: Seconds until the alarms ring and the status says so, with room for a busy machine. The longest
#: alarm needs 15 minutes of the schedule's.
_PATIENCE = 120.0
#: Seconds. The alarms change once in a minute of the lab's.
_BETWEEN_LOOKS = 0.2
#: Makes the newest run older than the status looks back, and a request older than it may wait.
_LONG_AGO = 1200.0
#: More calls than are made.
_EVERY = 1_000_000
_DENIED = "DeniedByTheLab"
_OTHER_PORT = 5433
_PUBLIC = "8.8.8.8"
_DAY = 86400

#: When every run fails, each of them says so.
_FAILING = ("failed-runs", "no-successful-sync", "sync-errors")
_SILENT = ("no-successful-sync",)
_NOBODY_CONNECTS = ("no-healthy-target",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """The road, and the hands on it."""

    path: ConnectionPath
    database: Database
    rds: RdsControlPlane
    client: Clients

    @property
    def stage(self) -> Stage:
        """Where it is played."""
        return self.path.stage

    def resource(self, logical_id: str) -> str:
        """The physical ID of a resource of the stack."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName=self.stage.stack.name, LogicalResourceId=logical_id
        )
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def look(self) -> Mapping[str, Any]:
        """What the status says now. Without SAM, whose start takes longer than the look."""
        reply = self.client("lambda").invoke(
            FunctionName=self.path.outputs["ReportStatusFunctionName"]
        )
        found: dict[str, Any] = json.load(reply["Payload"])
        return found

    def ringing(self) -> tuple[str, ...]:
        """The alarms that ring, without the stack's name."""
        found = self.client("cloudwatch").describe_alarms(StateValue="ALARM")["MetricAlarms"]
        prefix = f"{self.stage.stack.name}-"
        return tuple(sorted(alarm["AlarmName"].removeprefix(prefix) for alarm in found))

    def purge(self) -> None:
        """Take what is in the queues away, as the remedy says."""
        for output in ("FailedRunsQueueUrl", "UndeliveredEventsQueueUrl"):
            self.client("sqs").purge_queue(QueueUrl=self.path.outputs[output])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that breaks, and what belongs to it.

    Attributes:
        name: What.
        step: The step that the status has to name.
        remedy: Words that the remedy has to have.
        alarms: The alarms that have to ring, and no other, sorted.
        lasting: Breaks it for the length of a block.
        ages: Whether the status calls it broken only after minutes.
    """

    name: str
    step: str
    remedy: str
    alarms: tuple[str, ...] = ()
    lasting: Callable[[_Scene], AbstractContextManager[object]]
    ages: bool = False


def _play(stage: Stage) -> None:
    database = create_database(stage.provider, "orders")
    rds = stage.ground.rds_for(database, stage.servers)
    parameters = {
        "DatabaseEndpoint": database.endpoint,
        "AcceptanceRequired": "true",
        "AllowedPrincipals": f"arn:aws:iam::{DBT}:root,arn:aws:iam::{CONSUMER}:root",
        "TrustedAccounts": DBT,
        "FunctionSubnetIds": ",".join(database.subnet_ids),
        "CreateInterfaceEndpoints": "true",
    }
    with stage.path(parameters, right=[rds.writer]) as path:
        client = Clients(stage.provider)
        scene = _Scene(path=path, database=database, rds=rds, client=client)
        _expect_works(scene, "a road that works is healthy, and no alarm rings")
        stage.progress.say("sam remote invoke ReportStatusFunction")
        found = stage.stack.status()
        stage.expect("a person reads the same", found["healthy"], found["summary"])
        for fault in FAULTS:
            _meet(scene, fault)
        _expect_works(scene, "and when everything is put right, it is healthy again")
        _take_away(scene)


def _expect_works(scene: _Scene, text: str) -> None:
    """Wait for it; put right what a fault leaves behind, as a person would."""

    def works() -> Mapping[str, Any] | None:
        found = scene.look()
        if _broken(found) == {"dead-letter-queues"}:
            scene.purge()
        unseen = [check["id"] for check in found["checks"] if check["state"] == "unknown"]
        return found if found["healthy"] and not unseen and not scene.ringing() else None

    found = scene.stage.ground.wait_for(works, "a road on which everything is right")
    scene.stage.expect(text, holds=True, detail=found["summary"])


def _broken(found: Mapping[str, Any]) -> set[str]:
    return {check["id"] for check in found["checks"] if check["state"] == "broken"}


def _meet(scene: _Scene, fault: Fault) -> None:
    stage = scene.stage
    stage.progress.say(f"Fault: {fault.name}")
    with fault.lasting(scene):
        _waits(scene, lambda: scene.ringing() == fault.alarms)
        if fault.ages:
            stage.ground.admin.elapse(_LONG_AGO)
        looks: list[SeenFault] = []

        def is_as_expected() -> bool:
            looks.append(_seen(scene, fault))
            return looks[-1].as_expected

        _waits(scene, is_as_expected)
    seen = looks[-1]
    stage.findings.faults.append(seen)
    text = f"{fault.name}: the status names {fault.step} alone; "
    text += f"of the alarms {', '.join(fault.alarms) or 'none'} rings"
    stage.expect(text, seen.as_expected, f"{seen.step}: {seen.remedy} ({', '.join(seen.alarms)})")
    _expect_works(scene, f"{fault.name}: healthy again when it is put right")


def _seen(scene: _Scene, fault: Fault) -> SeenFault:
    """What the status and the alarms say at one moment."""
    found, alarms = scene.look(), scene.ringing()
    broken = [check for check in found["checks"] if check["state"] == "broken"]
    return SeenFault(
        name=fault.name,
        step=", ".join(check["id"] for check in broken) or str(found["summary"]),
        words=fault.remedy,
        remedy=" ".join(check["remedy"] for check in broken),
        alarms=alarms,
        as_expected=(
            _broken(found) == {fault.step}
            and fault.remedy in broken[0]["remedy"]
            and alarms == fault.alarms
        ),
    )


def _waits(scene: _Scene, condition: Callable[[], bool]) -> None:
    """Wait until something is so; if it does not become so, what is seen then will tell."""
    supervisor = scene.stage.ground.supervisor
    with suppress(WaitTimeoutError):
        supervisor.wait_until(condition, what="it", timeout=_PATIENCE, interval=_BETWEEN_LOOKS)


# ---------------------------------------------------------------------------- the database's name


def _no_dns(scene: _Scene) -> AbstractContextManager[None]:
    scene.stage.ground.zone.remove(scene.database.endpoint)
    return _name_put_right(scene)


def _public_answer(scene: _Scene) -> AbstractContextManager[None]:
    scene.stage.ground.zone.set_address(scene.database.endpoint, [_PUBLIC])
    return _name_put_right(scene)


@contextmanager
def _name_put_right(scene: _Scene) -> Iterator[None]:
    """After the block the name says the truth again."""
    try:
        yield
    finally:
        scene.rds.point_name_at_primary()


# --------------------------------------------------------------------------------- the targets


def _wrong_port(scene: _Scene) -> AbstractContextManager[None]:
    """The database listens on another port than the stack was told."""
    return scene.stage.ground.ports.moved(scene.rds.writer, _OTHER_PORT)


@contextmanager
def _server_down(scene: _Scene) -> Iterator[None]:
    server = scene.stage.servers.primary
    server.stop()
    try:
        yield
    finally:
        server.start()


def _other_server(scene: _Scene) -> AbstractContextManager[None]:
    """Something listens at the database's address that is not PostgreSQL: the lab's own AWS."""
    port = urllib.parse.urlsplit(scene.stage.ground.admin.url).port or 0
    there = Endpoint(IPv4Address("127.0.0.1"), port)
    return scene.stage.ground.ports.led_to(scene.rds.writer, there)


@contextmanager
def _drift(scene: _Scene) -> Iterator[None]:
    """Somebody registers an address, and the record lives for so long that no removal is sure."""
    elb, zone, writer = scene.client("elbv2"), scene.stage.ground.zone, scene.rds.writer
    group = scene.path.outputs["TargetGroupArn"]
    foreign = [{"Id": str(writer.address + 50), "Port": writer.port}]
    zone.set_address(scene.database.endpoint, [str(writer.address)], ttl=_DAY)
    elb.register_targets(TargetGroupArn=group, Targets=foreign)
    try:
        yield
    finally:
        elb.deregister_targets(TargetGroupArn=group, Targets=foreign)
        scene.rds.point_name_at_primary()


# --------------------------------------------------------------------------------- the network


@contextmanager
def _switched(switch: Callable[[str], None], *, wrong: str, right: str) -> Iterator[None]:
    """Set something to what is wrong, for the length of a block."""
    switch(wrong)
    try:
        yield
    finally:
        switch(right)


def _proxy_protocol(scene: _Scene) -> AbstractContextManager[None]:
    def switch(word: str) -> None:
        scene.client("elbv2").modify_target_group_attributes(
            TargetGroupArn=scene.path.outputs["TargetGroupArn"],
            Attributes=[{"Key": "proxy_protocol_v2.enabled", "Value": word}],
        )

    return _switched(switch, wrong="true", right="false")


@contextmanager
def _no_listener(scene: _Scene) -> Iterator[None]:
    elb, balancer = scene.client("elbv2"), scene.resource("LoadBalancer")
    (listener,) = elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    elb.delete_listener(ListenerArn=listener["ListenerArn"])
    try:
        yield
    finally:
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

    return _switched(switch, wrong="false", right="true")


@contextmanager
def _zone_not_enabled(scene: _Scene) -> Iterator[None]:
    """The load balancer leaves the zone that the database is in."""
    elb, balancer = scene.client("elbv2"), scene.resource("LoadBalancer")
    (found,) = elb.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"]
    subnets = {zone["ZoneName"]: zone["SubnetId"] for zone in found["AvailabilityZones"]}
    others = [subnet for zone, subnet in subnets.items() if zone != scene.database.zone]
    elb.set_subnets(LoadBalancerArn=balancer, Subnets=others)
    try:
        yield
    finally:
        elb.set_subnets(LoadBalancerArn=balancer, Subnets=list(subnets.values()))


def _enforced(scene: _Scene) -> AbstractContextManager[None]:
    def switch(word: str) -> None:
        scene.client("elbv2").set_security_groups(
            LoadBalancerArn=scene.resource("LoadBalancer"),
            SecurityGroups=[scene.path.outputs["LoadBalancerSecurityGroupId"]],
            EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic=word,
        )

    return _switched(switch, wrong="on", right="off")


@contextmanager
def _security_group_closed(scene: _Scene) -> Iterator[None]:
    """The rule goes, and the port with it: nothing filters packets here."""
    ports, writer = scene.stage.ground.ports, scene.rds.writer
    _close(scene)
    ports.close(writer)
    try:
        yield
    finally:
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


def _close(scene: _Scene) -> None:
    """Let nobody in to the database any more."""
    ec2, group = scene.client("ec2"), _database_group(scene)
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    inbound = [
        rule["SecurityGroupRuleId"] for rule in rules["SecurityGroupRules"] if not rule["IsEgress"]
    ]
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=inbound)


# --------------------------------------------------------------------------------- the consumers


@contextmanager
def _no_principal(scene: _Scene) -> Iterator[None]:
    """Nobody may make an endpoint to the service any more."""
    ec2, service = scene.client("ec2"), {"ServiceId": scene.path.outputs["EndpointServiceId"]}
    allowed = ec2.describe_vpc_endpoint_service_permissions(**service)["AllowedPrincipals"]
    principals = [entry["Principal"] for entry in allowed]
    ec2.modify_vpc_endpoint_service_permissions(**service, RemoveAllowedPrincipals=principals)
    try:
        yield
    finally:
        ec2.modify_vpc_endpoint_service_permissions(**service, AddAllowedPrincipals=principals)


@contextmanager
def _unanswered(scene: _Scene) -> Iterator[None]:
    """A trusted account asks, and the function that would accept it may not."""
    with (
        _denied(scene, "ReviewConnectionsFunction", "ec2:AcceptVpcEndpointConnections"),
        _asking(scene, DBT),
    ):
        yield


def _untrusted(scene: _Scene) -> AbstractContextManager[None]:
    """An account asks that nobody has decided on."""
    return _asking(scene, CONSUMER)


@contextmanager
def _asking(scene: _Scene, account: str) -> Iterator[None]:
    consumer = Consumer(scene.stage.ground.account(account))
    endpoint = consumer.connect(scene.path.outputs["EndpointServiceName"])
    try:
        yield
    finally:
        consumer.disconnect(endpoint)


# --------------------------------------------------------------------------------- the function


@contextmanager
def _denied(scene: _Scene, logical_id: str, action: str) -> Iterator[None]:
    """Take an action from a function's role, as a boundary or an organization may."""
    iam, function = scene.client("iam"), scene.resource(logical_id)
    configuration = scene.client("lambda").get_function_configuration(FunctionName=function)
    role = configuration["Role"].rpartition("/")[2]
    statement = {"Effect": "Deny", "Action": action, "Resource": "*"}
    iam.put_role_policy(
        RoleName=role,
        PolicyName=_DENIED,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName=_DENIED)


def _no_permission(scene: _Scene) -> AbstractContextManager[None]:
    return _denied(scene, "ReconcileTargetsFunction", "elasticloadbalancing:DescribeTargetHealth")


@contextmanager
def _api_unreachable(scene: _Scene) -> Iterator[None]:
    """The interface endpoint has lost its name, and no call comes through."""
    ec2, admin = scene.client("ec2"), scene.stage.ground.admin
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
    try:
        yield
    finally:
        admin.clear_faults()
        ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, PrivateDnsEnabled=True)


def _schedule_off(scene: _Scene) -> AbstractContextManager[None]:
    return scene.stage.stack.schedule_switched_off()


def _stale(scene: _Scene) -> AbstractContextManager[None]:
    """The schedule is on, and its rate is so low that the function does not run."""
    return scene.stage.stack.schedule_slowed_down()


def _message_in(output: str) -> Callable[[_Scene], AbstractContextManager[None]]:
    @contextmanager
    def lasting(scene: _Scene) -> Iterator[None]:
        url = scene.path.outputs[output]
        scene.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
        yield
        scene.purge()

    return lasting


def _take_away(scene: _Scene) -> None:
    """What was made by hand is not the stack's, and would be in the way of its deletion."""
    _close(scene)
    elb = scene.client("elbv2")
    listeners = elb.describe_listeners(LoadBalancerArn=scene.resource("LoadBalancer"))
    for listener in listeners["Listeners"]:
        elb.delete_listener(ListenerArn=listener["ListenerArn"])


#: In the order in which they are played.
FAULTS: tuple[Fault, ...] = (
    Fault(
        name="no DNS: the database's name does not exist",
        step="endpoint-name",
        remedy="deploy the stack with its new DatabaseEndpoint",
        alarms=_FAILING,
        lasting=_no_dns,
    ),
    Fault(
        name="a public answer: the name leads out of the VPC",
        step="allowed-addresses",
        remedy="make it private",
        alarms=("sync-vetoed",),
        lasting=_public_answer,
    ),
    Fault(
        name="wrong port: the database listens on another one",
        step="target-health",
        remedy="DatabasePort is wrong",
        alarms=_NOBODY_CONNECTS,
        lasting=_wrong_port,
    ),
    Fault(
        name="target unhealthy: the server is down",
        step="target-health",
        remedy="the server is not running",
        alarms=_NOBODY_CONNECTS,
        lasting=_server_down,
    ),
    Fault(
        name="another server: what listens is not PostgreSQL",
        step="postgresql",
        remedy="start PostgreSQL where something else listens",
        lasting=_other_server,
    ),
    Fault(
        name="drift: a foreign target whose removal cannot be confirmed",
        step="drift",
        remedy="invoke ReconcileTargetsFunction",
        alarms=("sync-unfinished",),
        lasting=_drift,
    ),
    Fault(
        name="target group changed: proxy protocol is on",
        step="target-group",
        remedy="modify-target-group-attributes",
        lasting=_proxy_protocol,
    ),
    Fault(
        name="listener gone",
        step="listener",
        remedy="aws elbv2 create-listener",
        alarms=_NOBODY_CONNECTS,
        lasting=_no_listener,
    ),
    Fault(
        name="load balancer changed: cross-zone load balancing is off",
        step="load-balancer",
        remedy="modify-load-balancer-attributes",
        lasting=_zones_apart,
    ),
    Fault(
        name="AZ not enabled: the load balancer has no subnet in the target's zone",
        step="availability-zones",
        remedy="to SubnetIds",
        alarms=_NOBODY_CONNECTS,
        lasting=_zone_not_enabled,
    ),
    Fault(
        name="enforcement switched on for PrivateLink traffic",
        step="load-balancer-security-group",
        remedy="set-security-groups",
        lasting=_enforced,
    ),
    Fault(
        name="security group closed: the database lets the load balancer in no more",
        step="database-security-group",
        remedy="authorize-security-group-ingress",
        alarms=_NOBODY_CONNECTS,
        lasting=_security_group_closed,
    ),
    Fault(
        name="endpoint service without principal",
        step="allowed-principals",
        remedy="--add-allowed-principals",
        lasting=_no_principal,
    ),
    Fault(
        name="connection pending: a trusted account is not answered",
        step="endpoint-connections",
        remedy="Read the log of ReviewConnectionsFunction",
        alarms=("failed-runs",),
        lasting=_unanswered,
        ages=True,
    ),
    Fault(
        name="untrusted consumer: a person has to decide",
        step="endpoint-connections",
        remedy="aws ec2 accept-vpc-endpoint-connections",
        alarms=("connection-waiting",),
        lasting=_untrusted,
    ),
    Fault(
        name="ELB API unreachable: its interface endpoint has lost its name",
        step="function-network",
        remedy="CreateInterfaceEndpoints",
        alarms=_FAILING,
        lasting=_api_unreachable,
    ),
    Fault(
        name="function without permission",
        step="last-sync",
        remedy="newest errors",
        alarms=_FAILING,
        lasting=_no_permission,
        ages=True,
    ),
    Fault(
        name="stale function: the schedule is on and starts nothing",
        step="last-sync",
        remedy="the schedule's rate and target",
        alarms=_SILENT,
        lasting=_stale,
        ages=True,
    ),
    Fault(
        name="schedule off",
        step="schedule",
        remedy="Switch it on",
        alarms=_SILENT,
        lasting=_schedule_off,
    ),
    Fault(
        name="dead-letter queue filled: a run failed for good",
        step="dead-letter-queues",
        remedy="purge the queue",
        alarms=("failed-runs",),
        lasting=_message_in("FailedRunsQueueUrl"),
    ),
    Fault(
        name="dead-letter queue filled: an event was not delivered",
        step="dead-letter-queues",
        remedy="purge the queue",
        alarms=("undelivered-events",),
        lasting=_message_in("UndeliveredEventsQueueUrl"),
    ),
)

SCENARIO = Scenario(
    name="faults",
    shows="for each fault the status names the broken step, and the alarms that belong to it ring",
    servers=1,
    play=_play,
    times=_TIMES,
)
