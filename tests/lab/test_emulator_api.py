"""The API of the lab's AWS."""

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
from lab.emulator.messages import Fault, NetworkInterface, RdsEvent, RoutedTarget
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
UNUSED = "10.0.2.12"


class Database(socketserver.ThreadingTCPServer):
    """A server that accepts TCP connections, like PostgreSQL."""

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
class ConnectionPath:
    """A load balancer with its target group and endpoint service, and its clients."""

    emulator: Emulator
    elb: Any
    ec2: Any
    balancer: str
    group: str
    listener: str
    service: Mapping[str, Any]

    def health(self, *targets: Mapping[str, Any]) -> list[tuple[str, int, str, str | None]]:
        arguments = {"Targets": targets} if targets else {}
        reply = self.elb.describe_target_health(TargetGroupArn=self.group, **arguments)
        return [
            (
                entry["Target"]["Id"],
                entry["Target"]["Port"],
                entry["TargetHealth"]["State"],
                entry["TargetHealth"].get("Reason"),
            )
            for entry in reply["TargetHealthDescriptions"]
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
        given = [{"Name": k.replace("_", "-"), "Values": [v]} for k, v in filters.items()]
        found = self.ec2.describe_vpc_endpoint_connections(Filters=given)
        return [
            (entry["VpcEndpointId"], entry["VpcEndpointOwner"], entry["VpcEndpointState"])
            for entry in found["VpcEndpointConnections"]
        ]


@pytest.fixture
def path(emulator: Emulator) -> Iterator[ConnectionPath]:
    emulator.admin.reset()
    ec2, elb = emulator.client("ec2"), emulator.client("elbv2")
    vpc, subnets = create_vpc(emulator)
    balancer = elb.create_load_balancer(
        Name="orders", Type="network", Scheme="internal", Subnets=subnets
    )["LoadBalancers"][0]["LoadBalancerArn"]
    group = elb.create_target_group(
        Name="orders",
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
    yield ConnectionPath(
        emulator=emulator,
        elb=elb,
        ec2=ec2,
        balancer=balancer,
        group=group,
        listener=listener,
        service=service,
    )
    emulator.admin.clear_faults()


def test_a_new_load_balancer_uses_its_targets_when_it_is_active(tmp_path: Path) -> None:
    def states(delay: str) -> tuple[str, str]:
        options = (f"--load-balancer-delay={delay}", "--registration-delay=3600")
        with running_emulator(tmp_path / delay, options=options) as emulator:
            elb = emulator.client("elbv2")
            vpc, subnets = create_vpc(emulator)
            (balancer,) = elb.create_load_balancer(Name="x", Type="network", Subnets=subnets)[
                "LoadBalancers"
            ]
            (group,) = elb.create_target_group(
                Name="x", Protocol="TCP", Port=5432, VpcId=vpc, TargetType="ip"
            )["TargetGroups"]
            arn = group["TargetGroupArn"]
            elb.create_listener(
                LoadBalancerArn=balancer["LoadBalancerArn"],
                Protocol="TCP",
                Port=5432,
                DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
            )
            elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": PRIMARY}])
            (target,) = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
            return balancer["State"]["Code"], target["TargetHealth"]["State"]

    assert states("3600") == ("provisioning", "unused")
    assert states("0") == ("active", "initial")


def rejected(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ClientError) as refusal:
        call()
    error = refusal.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_closed_port_fails_its_checks_until_it_is_opened(
    path: ConnectionPath, database_port: int
) -> None:
    port = Endpoint.parse(f"{PRIMARY}:5432")
    database = Database(database_port)
    try:
        path.emulator.ports.close(port)
        path.register({"Id": PRIMARY})
        wait_until(
            lambda: (PRIMARY, 5432, "unhealthy", "Target.FailedHealthChecks") in path.health()
        )
        path.emulator.ports.open(port)
        wait_until(lambda: (PRIMARY, 5432, "healthy", None) in path.health())
    finally:
        database.stop()


def test_a_load_balancer_needs_eight_free_addresses_in_each_subnet(path: ConnectionPath) -> None:
    vpc, (first, _) = create_vpc(path.emulator)
    small = path.ec2.create_subnet(
        VpcId=vpc, CidrBlock="10.0.9.0/28", AvailabilityZone=f"{REGION}b"
    )["Subnet"]["SubnetId"]

    def free() -> int:
        (found,) = path.ec2.describe_subnets(SubnetIds=[small])["Subnets"]
        return int(found["AvailableIpAddressCount"])

    def create(name: str) -> Any:
        return path.elb.create_load_balancer(Name=name, Type="network", Subnets=[first, small])

    assert free() == 11
    for number in range(2):
        path.emulator.admin.put_network_interface(
            NetworkInterface(
                address=f"10.0.9.{number + 4}",
                subnet_id=small,
                security_group_ids=(),
                description="RDSNetworkInterface",
                requester="amazon-rds",
            )
        )
    create("fits")
    assert free() == 8
    create("fits-too")
    assert free() == 7
    code, message = rejected(lambda: create("full"))
    assert code == "InvalidSubnet"
    assert f"Not enough IP space available in {small}" in message


@pytest.mark.parametrize(
    ("zone", "zone_id", "kind"),
    [
        ("us-east-1e", "use1-az3", "availability-zone"),
        ("us-east-1-bos-1a", "use1-bos1-az1", "local-zone"),
    ],
)
def test_a_constrained_zone_and_a_local_zone_accept_no_load_balancer(
    path: ConnectionPath, zone: str, zone_id: str, kind: str
) -> None:
    zones = path.ec2.describe_availability_zones()["AvailabilityZones"]
    assert (zone, zone_id, kind) in {(z["ZoneName"], z["ZoneId"], z["ZoneType"]) for z in zones}
    vpc, (first, _) = create_vpc(path.emulator)
    subnet = path.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.9.0/24", AvailabilityZone=zone)
    assert subnet["Subnet"]["AvailabilityZoneId"] == zone_id

    code, message = rejected(
        lambda: path.elb.create_load_balancer(
            Name="constrained", Type="network", Subnets=[first, subnet["Subnet"]["SubnetId"]]
        )
    )

    assert (code, f"not supported in {zone}" in message) == ("ValidationError", True)


@pytest.mark.parametrize(
    ("seconds", "status"), [(None, "UPDATE_ROLLBACK_COMPLETE"), ("350", "UPDATE_COMPLETE")]
)
def test_an_idle_timeout_stays_custom_until_it_is_set_and_excludes_other_regions(
    path: ConnectionPath, seconds: str | None, status: str
) -> None:
    formation = path.emulator.client("cloudformation")
    vpc, subnets = create_vpc(path.emulator)

    def template(seconds: str | None, **service: object) -> str:
        attribute = {"Key": "tcp.idle_timeout.seconds", "Value": seconds}
        elb = "AWS::ElasticLoadBalancingV2"
        balancer = {"Type": "network", "Scheme": "internal", "Subnets": subnets}
        group = {"TargetType": "ip", "Protocol": "TCP", "Port": 5432, "VpcId": vpc}
        listener = {
            "LoadBalancerArn": {"Ref": "Balancer"},
            "Protocol": "TCP",
            "Port": 5432,
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Group"}}],
            **({"ListenerAttributes": [attribute]} if seconds else {}),
        }
        service = {"NetworkLoadBalancerArns": [{"Ref": "Balancer"}], **service}
        resources = {
            "Balancer": {"Type": f"{elb}::LoadBalancer", "Properties": balancer},
            "Group": {"Type": f"{elb}::TargetGroup", "Properties": group},
            "Listener": {"Type": f"{elb}::Listener", "Properties": listener},
            "Service": {
                "Type": "AWS::EC2::VPCEndpointService",
                "DependsOn": "Listener",
                "Properties": service,
            },
        }
        return json.dumps({"Resources": resources})

    def finished() -> str:
        (stack,) = formation.describe_stacks(StackName="regions")["Stacks"]
        found = str(stack["StackStatus"])
        return "" if found.endswith("IN_PROGRESS") else found

    formation.create_stack(StackName="regions", TemplateBody=template("600"))
    assert wait_until(finished) == "CREATE_COMPLETE"
    formation.update_stack(
        StackName="regions", TemplateBody=template(seconds, SupportedRegions=["eu-west-1"])
    )
    assert wait_until(finished) == status


def test_a_group_without_a_listener_is_unused(path: ConnectionPath) -> None:
    path.elb.delete_listener(ListenerArn=path.listener)
    path.register({"Id": PRIMARY})
    assert path.health() == [(PRIMARY, 5432, "unused", "Target.NotInUse")]


def test_a_group_in_use_is_not_deleted(path: ConnectionPath) -> None:
    code, _ = rejected(lambda: path.elb.delete_target_group(TargetGroupArn=path.group))
    assert code == "ResourceInUse"


def test_rejects_a_security_group_for_a_load_balancer_without_one(path: ConnectionPath) -> None:
    code, _ = rejected(
        lambda: path.elb.set_security_groups(LoadBalancerArn=path.balancer, SecurityGroups=["sg-1"])
    )
    assert code == "InvalidConfigurationRequest"


def test_an_unknown_attribute_is_rejected(path: ConnectionPath) -> None:
    code, message = rejected(lambda: path.set_attribute("deregistration_delay", "1"))
    assert (code, "not recognized" in message) == ("ValidationError", True)


def test_a_tcp_group_shows_nothing_of_http(path: ConnectionPath) -> None:
    (group,) = path.elb.describe_target_groups()["TargetGroups"]
    assert "Matcher" not in group
    assert "HealthCheckPath" not in group
    assert (group["HealthCheckProtocol"], group["HealthCheckTimeoutSeconds"]) == ("TCP", 10)


def test_only_allowed_principals_connect(path: ConnectionPath) -> None:
    assert rejected(lambda: path.connect(STRANGER))[0] == "InvalidServiceName"
    path.ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=path.service["ServiceId"], AddAllowedPrincipals=["*"]
    )
    path.connect(STRANGER)
    assert [owner for _, owner, _ in path.connections()] == [STRANGER]


def test_a_service_of_aws_may_be_a_principal_and_is_no_account(path: ConnectionPath) -> None:
    service = path.service["ServiceId"]
    path.ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=service, AddAllowedPrincipals=["firehose.amazonaws.com"]
    )

    found = path.ec2.describe_vpc_endpoint_service_permissions(ServiceId=service)
    types = {it["Principal"]: it["PrincipalType"] for it in found["AllowedPrincipals"]}
    assert types["firehose.amazonaws.com"] == "Service"
    assert rejected(lambda: path.connect(STRANGER))[0] == "InvalidServiceName"
    path.connect()


def test_removing_a_principal_keeps_its_connection(path: ConnectionPath) -> None:
    path.connect()
    path.ec2.modify_vpc_endpoint_service_permissions(
        ServiceId=path.service["ServiceId"],
        RemoveAllowedPrincipals=[f"arn:aws:iam::{CONSUMER}:role/consumer"],
    )
    assert len(path.connections()) == 1
    assert rejected(path.connect)[0] == "InvalidServiceName"


def test_connections_are_filtered_and_paged(path: ConnectionPath) -> None:
    endpoints = [path.connect(), path.connect()]
    found = path.connections(vpc_endpoint_id=endpoints[1])
    assert [endpoint for endpoint, *_ in found] == [endpoints[1]]
    assert path.connections(vpc_endpoint_state="available") == []
    pages = path.ec2.get_paginator("describe_vpc_endpoint_connections").paginate(
        PaginationConfig={"PageSize": 1}
    )
    listed = [[c["VpcEndpointId"] for c in page["VpcEndpointConnections"]] for page in pages]
    assert listed == [[endpoints[0]], [endpoints[1]]]


def test_a_service_with_open_connections_is_not_deleted(path: ConnectionPath) -> None:
    endpoint = path.connect()
    service = path.service["ServiceId"]

    def delete() -> list[Any]:
        reply = path.ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[service])
        return [entry["Error"]["Code"] for entry in reply["Unsuccessful"]]

    assert delete() == ["ExistingVpcEndpointConnections"]
    path.ec2.reject_vpc_endpoint_connections(ServiceId=service, VpcEndpointIds=[endpoint])
    assert delete() == []
    assert delete() == ["InvalidVpcEndpointServiceId.NotFound"]


def test_a_deleted_endpoint_ends_its_connection(path: ConnectionPath) -> None:
    endpoint = path.connect()
    path.emulator.client("ec2", CONSUMER).delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    assert path.connections() == []


def test_another_account_has_no_access(path: ConnectionPath) -> None:
    stranger = path.emulator.client("ec2", STRANGER)
    assert stranger.describe_vpc_endpoint_service_configurations()["ServiceConfigurations"] == []
    assert stranger.describe_vpc_endpoint_connections()["VpcEndpointConnections"] == []
    code, _ = rejected(
        lambda: stranger.modify_vpc_endpoint_service_permissions(
            ServiceId=path.service["ServiceId"], AddAllowedPrincipals=["*"]
        )
    )
    assert code == "InvalidVpcEndpointServiceId.NotFound"


def test_a_policy_limits_who_may_accept_connections(path: ConnectionPath) -> None:
    service = path.service["ServiceId"]
    iam = path.emulator.client("iam")
    iam.create_user(UserName="operator")
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    operator: Any = boto3.session.Session(
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name=REGION,
    ).client("ec2", endpoint_url=path.emulator.url)

    def accept() -> Any:
        return operator.accept_vpc_endpoint_connections(
            ServiceId=service, VpcEndpointIds=["vpce-0"]
        )

    assert rejected(accept)[0] == "UnauthorizedOperation"
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
            assert rejected(accept)[0] == "UnauthorizedOperation"


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


def test_a_single_az_instance_cannot_fail_over(path: ConnectionPath) -> None:
    create_database(path.emulator, multi_az=False)
    code, _ = rejected(
        lambda: path.emulator.client("rds").reboot_db_instance(
            DBInstanceIdentifier="orders", ForceFailover=True
        )
    )
    assert code == "InvalidParameterCombination"


@pytest.mark.parametrize(
    ("service", "action", "call"),
    [
        ("elasticloadbalancing", "DescribeTargetHealth", lambda path: path.health()),
        ("ec2", "DescribeVpcEndpointConnections", lambda path: path.connections()),
        ("rds", "DescribeDBInstances", lambda r: r.emulator.client("rds").describe_db_instances()),
        ("events", "ListRules", lambda r: r.emulator.client("events").list_rules()),
        ("lambda", "ListFunctions", lambda r: r.emulator.client("lambda").list_functions()),
    ],
)
def test_a_fault_fails_the_given_number_of_calls(
    path: ConnectionPath, service: str, action: str, call: Callable[[ConnectionPath], object]
) -> None:
    path.emulator.admin.inject(
        Fault(service=service, action=action, error="ThrottlingException", times=2)
    )
    throttled = ("ThrottlingException", "Rate exceeded")
    assert [rejected(lambda: call(path)) for _ in range(2)] == [throttled] * 2
    call(path)


def test_a_cleared_fault_fails_no_call(path: ConnectionPath) -> None:
    path.emulator.admin.inject(
        Fault(service="elasticloadbalancing", action="DescribeTargetHealth", error="X", times=9)
    )
    path.emulator.admin.clear_faults()
    assert path.health() == []


def test_the_data_plane_gets_listeners_and_targets(path: ConnectionPath) -> None:
    path.register({"Id": PRIMARY})
    path.set_attribute("deregistration_delay.connection_termination.enabled", "true")
    (listener,) = path.emulator.admin.data_plane().listeners
    assert (listener.load_balancer_arn, listener.target_group_arn) == (path.balancer, path.group)
    assert listener.listener_port == 5432
    assert listener.connection_termination
    assert listener.unhealthy_termination
    (target,) = listener.targets
    expected = RoutedTarget(address=IPv4Address(PRIMARY), port=5432, state="initial")
    assert target == expected


def test_the_admin_api_reports_errors(emulator: Emulator) -> None:
    event = RdsEvent(identifier="nothing", event_id="RDS-EVENT-0013", categories=(), message="")
    with pytest.raises(EmulatorAdminError, match="DBInstance nothing not found"):
        emulator.admin.emit(event)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{emulator.url}/_lab/nothing")  # noqa: S310


def test_listens_on_one_loopback_port_only(emulator: Emulator) -> None:
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
