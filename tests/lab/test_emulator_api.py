"""The lab's AWS, call by call, over the wire."""

import json
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lab.addresses import AddressPlan, Endpoint, free_port
from lab.emulator.client import EmulatorAdminError
from lab.emulator.messages import Fault, RdsEvent, RdsStatus, RoutedTarget
from lab.rds_control_plane import FailoverHook
from tests.lab.emulator_process import (
    CONSUMER,
    PROVIDER,
    REGION,
    STRANGER,
    Emulator,
    create_vpc,
    running_emulator,
    wait_until,
)

pytestmark = pytest.mark.lab

PRIMARY = "10.0.1.11"
NOBODY = "10.0.2.12"


class Database(socketserver.ThreadingTCPServer):
    """Something that accepts TCP connections, as PostgreSQL does."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.2", port), socketserver.BaseRequestHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture(scope="module")
def hook() -> Iterator[FailoverHook]:
    with FailoverHook() as server:
        yield server


@pytest.fixture(scope="module")
def database_port() -> int:
    return free_port("127.0.0.2")


@pytest.fixture(scope="module")
def emulator(
    tmp_path_factory: pytest.TempPathFactory, hook: FailoverHook, database_port: int
) -> Iterator[Emulator]:
    options = (
        "--registration-delay=0.2",
        "--health-check-interval=0.1",
        f"--rds-failover-hook={hook.url}",
    )
    plan = AddressPlan(
        {Endpoint.parse(f"{PRIMARY}:5432"): Endpoint.parse(f"127.0.0.2:{database_port}")}
    )
    directory = tmp_path_factory.mktemp("emulator")
    with running_emulator(directory, plan=plan, options=options) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Road:
    """A load balancer with its target group and endpoint service, and who calls."""

    emulator: Emulator
    elb: Any
    ec2: Any
    balancer: str
    group: str
    listener: str
    service: Mapping[str, Any]

    def health(self, *targets: Mapping[str, Any]) -> list[tuple[str, int, str, str | None]]:
        asked = {"Targets": targets} if targets else {}
        answer = self.elb.describe_target_health(TargetGroupArn=self.group, **asked)
        return [
            (
                entry["Target"]["Id"],
                entry["Target"]["Port"],
                entry["TargetHealth"]["State"],
                entry["TargetHealth"].get("Reason"),
            )
            for entry in answer["TargetHealthDescriptions"]
        ]

    def register(self, *targets: Mapping[str, Any]) -> None:
        self.elb.register_targets(TargetGroupArn=self.group, Targets=targets)

    def deregister(self, *targets: Mapping[str, Any]) -> None:
        self.elb.deregister_targets(TargetGroupArn=self.group, Targets=targets)

    def set_attribute(self, key: str, value: str) -> None:
        self.elb.modify_target_group_attributes(
            TargetGroupArn=self.group, Attributes=[{"Key": key, "Value": value}]
        )

    def connect(self, account: str = CONSUMER) -> str:
        consumer = self.emulator.client("ec2", account)
        vpc = consumer.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        endpoint = consumer.create_vpc_endpoint(
            VpcId=vpc, VpcEndpointType="Interface", ServiceName=self.service["ServiceName"]
        )
        return str(endpoint["VpcEndpoint"]["VpcEndpointId"])

    def connections(self, **filters: str) -> list[tuple[str, str, str]]:
        asked = [{"Name": k.replace("_", "-"), "Values": [v]} for k, v in filters.items()]
        found = self.ec2.describe_vpc_endpoint_connections(Filters=asked)
        return [
            (entry["VpcEndpointId"], entry["VpcEndpointOwner"], entry["VpcEndpointState"])
            for entry in found["VpcEndpointConnections"]
        ]


@pytest.fixture
def road(emulator: Emulator) -> Iterator[Road]:
    emulator.admin.reset()
    ec2, elb = emulator.client("ec2"), emulator.client("elbv2")
    vpc, subnets = create_vpc(emulator)
    balancer = elb.create_load_balancer(
        Name="road", Type="network", Scheme="internal", Subnets=subnets
    )["LoadBalancers"][0]["LoadBalancerArn"]
    group = elb.create_target_group(
        Name="road",
        Protocol="TCP",
        Port=5432,
        VpcId=vpc,
        TargetType="ip",
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    listener = elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="TCP",
        Port=5432,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )["Listeners"][0]["ListenerArn"]
    service = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer], AcceptanceRequired=True
    )["ServiceConfiguration"]
    ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=service["ServiceId"],
        AddAllowedPrincipals=[f"arn:aws:iam::{CONSUMER}:role/consumer"],
    )
    yield Road(
        emulator=emulator,
        elb=elb,
        ec2=ec2,
        balancer=balancer,
        group=group,
        listener=listener,
        service=service,
    )
    emulator.admin.clear_faults()


def refused(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ClientError) as refusal:
        call()
    error = refusal.value.response["Error"]
    return error["Code"], error["Message"]


def test_health_follows_the_server_behind_the_address(road: Road, database_port: int) -> None:
    database = Database(database_port)
    try:
        road.register({"Id": PRIMARY}, {"Id": NOBODY})
        assert (PRIMARY, 5432, "initial", "Elb.RegistrationInProgress") in road.health()
        wait_until(lambda: (PRIMARY, 5432, "healthy", None) in road.health())
        wait_until(
            lambda: (NOBODY, 5432, "unhealthy", "Target.FailedHealthChecks") in road.health()
        )
    finally:
        database.stop()
    wait_until(lambda: (PRIMARY, 5432, "unhealthy", "Target.FailedHealthChecks") in road.health())


def test_a_closed_port_fails_its_checks_until_it_is_opened(road: Road, database_port: int) -> None:
    port = Endpoint.parse(f"{PRIMARY}:5432")
    database = Database(database_port)
    try:
        road.emulator.ports.close(port)
        road.register({"Id": PRIMARY})
        wait_until(
            lambda: (PRIMARY, 5432, "unhealthy", "Target.FailedHealthChecks") in road.health()
        )
        road.emulator.ports.open(port)
        wait_until(lambda: (PRIMARY, 5432, "healthy", None) in road.health())
    finally:
        database.stop()


def test_ports_zones_draining_and_absence_are_told_apart(road: Road) -> None:
    outside = {"Id": "192.168.7.7", "Port": 5433, "AvailabilityZone": "all"}
    road.register({"Id": PRIMARY, "Port": 5433}, outside)
    answer = road.elb.describe_target_health(TargetGroupArn=road.group)
    targets = [entry["Target"] for entry in answer["TargetHealthDescriptions"]]
    assert targets == [{"Id": PRIMARY, "Port": 5433, "AvailabilityZone": "us-east-1a"}, outside]
    road.deregister({"Id": PRIMARY}, outside)
    assert [(id_, port, state) for id_, port, state, _ in road.health()] == [
        (PRIMARY, 5433, "initial"),
        ("192.168.7.7", 5433, "draining"),
    ]
    assert road.health({"Id": NOBODY}) == [(NOBODY, 5432, "unused", "Target.NotRegistered")]
    road.set_attribute("deregistration_delay.timeout_seconds", "0")
    road.deregister({"Id": PRIMARY, "Port": 5433})
    assert [id_ for id_, *_ in road.health()] == ["192.168.7.7"]


def test_a_refused_registration_says_why(road: Road) -> None:
    code, message = refused(lambda: road.register({"Id": "8.8.8.8", "AvailabilityZone": "all"}))
    assert (code, "8.8.8.8" in message) == ("InvalidTarget", True)
    code, message = refused(lambda: road.register({"Id": "10.9.9.9"}))
    assert (code, "required" in message) == ("ValidationError", True)


def test_a_group_without_a_listener_is_unused(road: Road) -> None:
    road.elb.delete_listener(ListenerArn=road.listener)
    road.register({"Id": PRIMARY})
    assert road.health() == [(PRIMARY, 5432, "unused", "Target.NotInUse")]


def test_a_group_in_use_is_not_deleted(road: Road) -> None:
    code, _ = refused(lambda: road.elb.delete_target_group(TargetGroupArn=road.group))
    assert code == "ResourceInUse"


def test_a_load_balancer_without_security_groups_never_gets_one(road: Road) -> None:
    code, _ = refused(
        lambda: road.elb.set_security_groups(LoadBalancerArn=road.balancer, SecurityGroups=["sg-1"])
    )
    assert code == "InvalidConfigurationRequest"


def test_an_unknown_attribute_is_refused(road: Road) -> None:
    code, message = refused(lambda: road.set_attribute("deregistration_delay", "1"))
    assert (code, "not recognized" in message) == ("ValidationError", True)


def test_a_tcp_group_shows_nothing_of_http(road: Road) -> None:
    (group,) = road.elb.describe_target_groups()["TargetGroups"]
    assert "Matcher" not in group
    assert "HealthCheckPath" not in group
    assert (group["HealthCheckProtocol"], group["HealthCheckTimeoutSeconds"]) == ("TCP", 10)


def test_a_connection_waits_until_it_is_accepted(road: Road) -> None:
    endpoint = road.connect()
    consumer = road.emulator.client("ec2", CONSUMER)

    def seen_by_consumer() -> str:
        (found,) = consumer.describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"]
        return str(found["State"])

    assert road.connections() == [(endpoint, CONSUMER, "pendingAcceptance")]
    assert seen_by_consumer() == "pendingAcceptance"
    answer = road.ec2.accept_vpc_endpoint_connections(
        ServiceId=road.service["ServiceId"], VpcEndpointIds=[endpoint, "vpce-0"]
    )
    assert [entry["ResourceId"] for entry in answer["Unsuccessful"]] == ["vpce-0"]
    assert road.connections() == [(endpoint, CONSUMER, "available")]
    assert seen_by_consumer() == "available"
    (connection,) = road.emulator.admin.data_plane().connections
    assert (connection.endpoint_id, connection.state) == (endpoint, "available")
    road.ec2.reject_vpc_endpoint_connections(
        ServiceId=road.service["ServiceId"], VpcEndpointIds=[endpoint]
    )
    assert seen_by_consumer() == "rejected"


def test_only_allowed_principals_connect(road: Road) -> None:
    assert refused(lambda: road.connect(STRANGER))[0] == "InvalidServiceName"
    road.ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=road.service["ServiceId"], AddAllowedPrincipals=["*"]
    )
    road.connect(STRANGER)
    assert [owner for _, owner, _ in road.connections()] == [STRANGER]


def test_removing_a_principal_keeps_its_connection(road: Road) -> None:
    road.connect()
    road.ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=road.service["ServiceId"],
        RemoveAllowedPrincipals=[f"arn:aws:iam::{CONSUMER}:role/consumer"],
    )
    assert len(road.connections()) == 1
    assert refused(road.connect)[0] == "InvalidServiceName"


def test_connections_are_filtered_and_paged(road: Road) -> None:
    endpoints = [road.connect(), road.connect()]
    found = road.connections(vpc_endpoint_id=endpoints[1])
    assert [endpoint for endpoint, *_ in found] == [endpoints[1]]
    assert road.connections(vpc_endpoint_state="available") == []
    pages = road.ec2.get_paginator("describe_vpc_endpoint_connections").paginate(
        PaginationConfig={"PageSize": 1}
    )
    listed = [[c["VpcEndpointId"] for c in page["VpcEndpointConnections"]] for page in pages]
    assert listed == [[endpoints[0]], [endpoints[1]]]


def test_a_service_with_open_connections_is_not_deleted(road: Road) -> None:
    endpoint = road.connect()
    service = road.service["ServiceId"]

    def delete() -> list[Any]:
        answer = road.ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service])
        return [entry["Error"]["Code"] for entry in answer["Unsuccessful"]]

    assert delete() == ["ExistingVpcEndpointConnections"]
    road.ec2.reject_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=[endpoint])
    assert delete() == []
    assert delete() == ["InvalidVpcEndpointServiceId.NotFound"]


def test_a_deleted_endpoint_ends_its_connection(road: Road) -> None:
    endpoint = road.connect()
    road.emulator.client("ec2", CONSUMER).delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    assert road.connections() == []


def test_another_account_sees_and_changes_nothing(road: Road) -> None:
    stranger = road.emulator.client("ec2", STRANGER)
    assert stranger.describe_vpc_endpoint_service_configurations()["ServiceConfigurations"] == []
    assert stranger.describe_vpc_endpoint_connections()["VpcEndpointConnections"] == []
    code, _ = refused(
        lambda: stranger.modify_vpc_endpoint_service_permissions(
            ServiceId=road.service["ServiceId"], AddAllowedPrincipals=["*"]
        )
    )
    assert code == "InvalidVpcEndpointServiceId.NotFound"


def test_the_policy_decides_who_accepts_connections(road: Road) -> None:
    service = road.service["ServiceId"]
    iam = road.emulator.client("iam")
    iam.create_user(UserName="operator")
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    operator: Any = boto3.session.Session(
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name=REGION,
    ).client("ec2", endpoint_url=road.emulator.url)

    def accept() -> Any:
        return operator.accept_vpc_endpoint_connections(
            ServiceId=service, VpcEndpointIds=["vpce-0"]
        )

    assert refused(accept)[0] == "UnauthorizedOperation"
    for resource, allowed in (("vpce-svc-0", False), (service, True)):
        arn = f"arn:aws:ec2:{REGION}:{PROVIDER}:vpc-endpoint-service/{resource}"
        statement = {
            "Effect": "Allow",
            "Action": "ec2:AcceptVpcEndpointConnections",
            "Resource": arn,
        }
        iam.put_user_policy(
            UserName="operator",
            PolicyName="accept",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )
        if allowed:
            assert len(accept()["Unsuccessful"]) == 1
        else:
            assert refused(accept)[0] == "UnauthorizedOperation"


def create_database(emulator: Emulator, *, multi_az: bool) -> Mapping[str, Any]:
    made = emulator.client("rds").create_db_instance(
        DBInstanceIdentifier="orders",
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        MultiAZ=multi_az,
        AllocatedStorage=20,
        MasterUsername="postgres",
        ManageMasterUserPassword=True,
    )["DBInstance"]
    assert isinstance(made, dict)
    return made


def test_a_multi_az_instance_fails_over_through_the_hook(road: Road, hook: FailoverHook) -> None:
    made = create_database(road.emulator, multi_az=True)
    name, _, domain = made["Endpoint"]["Address"].partition(".")
    assert name == "orders"
    assert domain.endswith(f".{REGION}.rds.amazonaws.com")
    assert (made["AvailabilityZone"], made["SecondaryAvailabilityZone"]) == (
        "us-east-1a",
        "us-east-1b",
    )
    rds = road.emulator.client("rds")
    rebooted = rds.reboot_db_instance(DBInstanceIdentifier="orders", ForceFailover=True)
    assert rebooted["DBInstance"]["DBInstanceStatus"] == "rebooting"
    assert wait_until(hook.next_request) == {"db_instance_identifier": "orders"}
    assert hook.next_request() is None
    road.emulator.admin.set_rds_status(
        RdsStatus(identifier="orders", status="available", availability_zone="us-east-1b")
    )
    (after,) = rds.describe_db_instances()["DBInstances"]
    assert after["DBInstanceStatus"] == "available"
    assert after["Endpoint"] == made["Endpoint"]
    assert (after["AvailabilityZone"], after["SecondaryAvailabilityZone"]) == (
        "us-east-1b",
        "us-east-1a",
    )


def test_a_single_az_instance_cannot_fail_over(road: Road) -> None:
    create_database(road.emulator, multi_az=False)
    code, _ = refused(
        lambda: road.emulator.client("rds").reboot_db_instance(
            DBInstanceIdentifier="orders", ForceFailover=True
        )
    )
    assert code == "InvalidParameterCombination"


@pytest.mark.parametrize(
    ("service", "action", "call"),
    [
        ("elasticloadbalancing", "DescribeTargetHealth", lambda road: road.health()),
        ("ec2", "DescribeVpcEndpointConnections", lambda road: road.connections()),
        ("rds", "DescribeDBInstances", lambda r: r.emulator.client("rds").describe_db_instances()),
        ("events", "ListRules", lambda r: r.emulator.client("events").list_rules()),
        ("lambda", "ListFunctions", lambda r: r.emulator.client("lambda").list_functions()),
    ],
)
def test_a_fault_fails_as_many_calls_as_asked_for(
    road: Road, service: str, action: str, call: Callable[[Road], object]
) -> None:
    road.emulator.admin.inject(
        Fault(service=service, action=action, error="ThrottlingException", times=2)
    )
    throttled = ("ThrottlingException", "Rate exceeded")
    assert [refused(lambda: call(road)) for _ in range(2)] == [throttled] * 2
    call(road)


def test_cleared_faults_fail_nothing(road: Road) -> None:
    road.emulator.admin.inject(
        Fault(service="elasticloadbalancing", action="DescribeTargetHealth", error="X", times=9)
    )
    road.emulator.admin.clear_faults()
    assert road.health() == []


def test_the_data_plane_is_told_what_it_follows(road: Road) -> None:
    road.register({"Id": PRIMARY})
    road.set_attribute("deregistration_delay.connection_termination.enabled", "true")
    (listener,) = road.emulator.admin.data_plane().listeners
    assert (listener.load_balancer_arn, listener.target_group_arn) == (road.balancer, road.group)
    assert listener.listener_port == 5432
    assert listener.connection_termination
    assert listener.unhealthy_termination
    (target,) = listener.targets
    expected = RoutedTarget(address=IPv4Address(PRIMARY), port=5432, state="initial")
    assert target == expected


def test_the_admin_api_names_what_is_wrong(emulator: Emulator) -> None:
    event = RdsEvent(identifier="nothing", event_id="RDS-EVENT-0013", categories=(), message="")
    with pytest.raises(EmulatorAdminError, match="DBInstance nothing not found"):
        emulator.admin.emit(event)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{emulator.url}/_lab/nothing")  # noqa: S310


def test_it_listens_on_one_loopback_port_only(emulator: Emulator) -> None:
    pid = emulator.process.pid
    sockets = {
        link.readlink().name.removeprefix("socket:[").removesuffix("]")
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.readlink().name.startswith("socket:[")
    }
    listening = [
        fields[1]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:])
        if fields[3] == "0A" and fields[9] in sockets
    ]
    port = int(emulator.url.rpartition(":")[2])
    assert listening == [f"0100007F:{port:04X}"]
