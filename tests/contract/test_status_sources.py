"""How the adapters of the status report read AWS's replies and errors."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from lab.addresses import free_port
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.errors import AwsAccessDeniedError, AwsCallError, AwsUnavailableError
from target_sync.model import DatabaseKind, EndpointService, TargetState
from target_sync.status.facts import (
    Database,
    DescribedTarget,
    FollowedChange,
    FollowedChanges,
    FunctionNetwork,
    GroupDetails,
    Listener,
    LoadBalancer,
    Rule,
    SecurityGroup,
    SslReply,
    SubnetNetwork,
    SubnetRoute,
)
from target_sync.status.sources.databases import AwsDatabase
from target_sync.status.sources.load_balancers import ElbLoadBalancers
from target_sync.status.sources.metrics import RECENT_SECONDS, CloudWatchMetrics
from target_sync.status.sources.networks import Ec2Networks
from target_sync.status.sources.operation import EventBridgeSchedule, SqsQueues
from target_sync.status.sources.postgres import PostgresProbe
from target_sync.targets.group_settings import HEALTH_CHECK
from tests.support.status import (
    BALANCER_ARN,
    GROUP_ARN,
    LISTENER_ARN,
    NOW,
    SERVICE_ID,
    STACK,
    target,
)

HOST = "127.0.0.1"


@contextmanager
def stubbed(service: str) -> Iterator[tuple[Any, Stubber]]:
    client = boto3.client(service, "eu-west-1")  # type: ignore[call-overload]
    with Stubber(client) as stubber:
        yield client, stubber
        stubber.assert_no_pending_responses()


# --------------------------------------------------------------------------------- the database

RDS_GROUPS = [
    {"VpcSecurityGroupId": "sg-1", "Status": "active"},
    {"VpcSecurityGroupId": "sg-2", "Status": "removing"},
]


def database(kind: DatabaseKind, client: Any, endpoint: str = "orders.example") -> AwsDatabase:
    return AwsDatabase(kind, "orders", endpoint, client)


def test_an_instance_has_its_state_port_groups_and_subnets() -> None:
    item = {
        "DBInstanceStatus": "modifying",
        "Endpoint": {"Port": 5433},
        "VpcSecurityGroups": RDS_GROUPS,
        "DBSubnetGroup": {"Subnets": [{"SubnetIdentifier": "subnet-a"}]},
    }
    with stubbed("rds") as (client, stubber):
        named = {"DBInstanceIdentifier": "orders"}
        stubber.add_response("describe_db_instances", {"DBInstances": [item]}, named)
        bare = {"DBInstanceStatus": "creating"}
        stubber.add_response("describe_db_instances", {"DBInstances": [bare]}, named)
        adapter = database(DatabaseKind.RDS_INSTANCE, client)

        assert adapter.database() == Database(
            state="modifying", port=5433, security_groups=("sg-1",), subnets=frozenset({"subnet-a"})
        )
        assert adapter.database() == Database(state="creating", security_groups=())


@pytest.mark.parametrize("kind", [kind for kind in DatabaseKind if kind.is_cluster])
def test_a_cluster_has_its_state_port_and_groups(kind: DatabaseKind) -> None:
    item = {"Status": "stopped", "Port": 5432, "VpcSecurityGroups": RDS_GROUPS}
    with stubbed("rds") as (client, stubber):
        named = {"DBClusterIdentifier": "orders"}
        stubber.add_response("describe_db_clusters", {"DBClusters": [item]}, named)

        assert database(kind, client).database() == Database(
            state="stopped", port=5432, security_groups=("sg-1",)
        )


PROXY = {"Status": "available", "Endpoint": "Orders.example", "VpcSecurityGroupIds": ["sg-1"]}
READ_ONLY = {"Status": "creating", "Endpoint": "Reads.example", "VpcSecurityGroupIds": ["sg-2"]}


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("orders.example", Database(state="available", security_groups=("sg-1",))),
        ("reads.example", Database(state="creating", security_groups=("sg-2",))),
        ("gone.example", None),
    ],
)
def test_each_endpoint_of_a_proxy_has_its_own_groups(endpoint: str, expected: Any) -> None:
    with stubbed("rds") as (client, stubber):
        named = {"DBProxyName": "orders"}
        stubber.add_response("describe_db_proxies", {"DBProxies": [PROXY]}, named)
        if endpoint != "orders.example":
            endpoints = {"DBProxyEndpoints": [PROXY, READ_ONLY]}
            stubber.add_response("describe_db_proxy_endpoints", endpoints, named)
        adapter = database(DatabaseKind.RDS_PROXY, client, endpoint)

        if expected is None:
            with pytest.raises(AwsCallError, match="documented shape"):
                adapter.database()
        else:
            assert adapter.database() == expected


def test_an_instance_of_ec2_has_its_state_and_groups() -> None:
    item = {"State": {"Name": "running"}, "SecurityGroups": [{"GroupId": "sg-1"}]}
    with stubbed("ec2") as (client, stubber):
        reply = {"Reservations": [{"Instances": [item]}]}
        stubber.add_response("describe_instances", reply, {"InstanceIds": ["orders"]})

        assert database(DatabaseKind.EC2_INSTANCE, client).database() == Database(
            state="running", security_groups=("sg-1",)
        )


@pytest.mark.parametrize(
    ("kind", "service", "operation", "code"),
    [
        (DatabaseKind.RDS_INSTANCE, "rds", "describe_db_instances", "DBInstanceNotFound"),
        (DatabaseKind.RDS_CLUSTER_WRITER, "rds", "describe_db_clusters", "DBClusterNotFoundFault"),
        (DatabaseKind.RDS_PROXY, "rds", "describe_db_proxies", "DBProxyNotFoundFault"),
        (DatabaseKind.EC2_INSTANCE, "ec2", "describe_instances", "InvalidInstanceID.NotFound"),
    ],
)
def test_a_missing_database_is_none_and_a_denied_call_an_error(
    kind: DatabaseKind, service: str, operation: str, code: str
) -> None:
    with stubbed(service) as (client, stubber):
        stubber.add_client_error(operation, code, http_status_code=404)
        stubber.add_client_error(operation, "AccessDenied", http_status_code=403)
        adapter = database(kind, client)

        assert adapter.database() is None
        with pytest.raises(AwsAccessDeniedError):
            adapter.database()


# --------------------------------------------------------------------------------- load balancers


def test_targets_have_their_state_and_reason() -> None:
    with stubbed("elbv2") as (client, stubber):
        reply = {
            "TargetHealthDescriptions": [
                {"Target": {"Id": "10.0.1.11", "Port": 5432}, "TargetHealth": {"State": "healthy"}},
                {
                    "Target": {"Id": "i-1", "Port": 5432},
                    "TargetHealth": {"State": "unhealthy", "Reason": "Target.Timeout"},
                },
                {"Target": {"Id": "i-2", "Port": 5432}, "TargetHealth": {"State": "asleep"}},
            ]
        }
        stubber.add_response("describe_target_health", reply, {"TargetGroupArn": GROUP_ARN})

        assert ElbLoadBalancers(client).targets(GROUP_ARN) == (
            target(),
            DescribedTarget(
                id="i-1", port=5432, state=TargetState.UNHEALTHY, reason="Target.Timeout"
            ),
            DescribedTarget(id="i-2", port=5432, state=TargetState.UNKNOWN),
        )


def test_a_target_group_has_its_health_checks() -> None:
    with stubbed("elbv2") as (client, stubber):
        group = {
            "TargetType": "ip",
            "Protocol": "TCP",
            "HealthCheckProtocol": "TCP",
            "HealthCheckPort": "traffic-port",
            "HealthCheckIntervalSeconds": 5,
            "HealthCheckTimeoutSeconds": 4,
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2,
            "LoadBalancerArns": [BALANCER_ARN],
        }
        expected = {"TargetGroupArns": [GROUP_ARN]}
        stubber.add_response("describe_target_groups", {"TargetGroups": [group]}, expected)

        assert ElbLoadBalancers(client).group(GROUP_ARN) == GroupDetails(
            target_type="ip",
            protocol="TCP",
            health_check=HEALTH_CHECK,
            load_balancer_arns=(BALANCER_ARN,),
        )


def test_a_load_balancer_has_its_zones_and_its_enforcement() -> None:
    balancer = {
        "LoadBalancerArn": BALANCER_ARN,
        "State": {"Code": "active"},
        "VpcId": "vpc-1",
        "AvailabilityZones": [{"ZoneName": "eu-west-1a", "SubnetId": "subnet-a"}],
    }
    guarded = {
        **balancer,
        "SecurityGroups": ["sg-1"],
        "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic": "on",
    }
    with stubbed("elbv2") as (client, stubber):
        for described in (balancer, guarded):
            expected = {"LoadBalancerArns": [BALANCER_ARN]}
            stubber.add_response(
                "describe_load_balancers", {"LoadBalancers": [described]}, expected
            )
        adapter = ElbLoadBalancers(client)

        bare = LoadBalancer(
            arn=BALANCER_ARN, state="active", vpc_id="vpc-1", zones={"eu-west-1a": "subnet-a"}
        )
        assert adapter.load_balancer(BALANCER_ARN) == bare
        found = adapter.load_balancer(BALANCER_ARN)
        assert found is not None
        assert (found.security_groups, found.enforces_inbound_rules) == (("sg-1",), True)


def test_the_listeners_of_every_page_have_their_target_groups() -> None:
    plain = {"Type": "forward", "TargetGroupArn": GROUP_ARN}
    weighted = {
        "Type": "forward",
        "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": GROUP_ARN, "Weight": 1}]},
    }
    common = {"ListenerArn": LISTENER_ARN, "Protocol": "TCP", "Port": 5432}
    with stubbed("elbv2") as (client, stubber):
        expected = {"LoadBalancerArn": BALANCER_ARN}
        stubber.add_response(
            "describe_listeners",
            {"Listeners": [{**common, "DefaultActions": [plain]}], "NextMarker": "more"},
            expected,
        )
        stubber.add_response(
            "describe_listeners",
            {"Listeners": [{**common, "DefaultActions": [weighted]}, common]},
            {**expected, "Marker": "more"},
        )

        found = ElbLoadBalancers(client).listeners(BALANCER_ARN)

    listener = Listener(
        arn=LISTENER_ARN, protocol="TCP", port=5432, target_group_arns=frozenset({GROUP_ARN})
    )
    assert found is not None
    assert found[:2] == (listener, listener)
    assert found[2].target_group_arns == frozenset()


ATTRIBUTES = {"Attributes": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}


@pytest.mark.parametrize(
    ("method", "operation", "arn", "parameter"),
    [
        ("group_attributes", "target_group", GROUP_ARN, "TargetGroupArn"),
        ("load_balancer_attributes", "load_balancer", BALANCER_ARN, "LoadBalancerArn"),
        ("listener_attributes", "listener", LISTENER_ARN, "ListenerArn"),
    ],
)
def test_attributes_are_returned_by_key(
    method: str, operation: str, arn: str, parameter: str
) -> None:
    with stubbed("elbv2") as (client, stubber):
        stubber.add_response(f"describe_{operation}_attributes", ATTRIBUTES, {parameter: arn})
        assert getattr(ElbLoadBalancers(client), method)(arn) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("method", "operation", "code"),
    [
        ("targets", "describe_target_health", "TargetGroupNotFound"),
        ("group", "describe_target_groups", "TargetGroupNotFound"),
        ("group_attributes", "describe_target_group_attributes", "TargetGroupNotFound"),
        ("load_balancer", "describe_load_balancers", "LoadBalancerNotFound"),
        ("listeners", "describe_listeners", "LoadBalancerNotFound"),
        ("listener_attributes", "describe_listener_attributes", "ListenerNotFound"),
    ],
)
def test_a_missing_resource_is_none_and_a_denied_call_an_error(
    method: str, operation: str, code: str
) -> None:
    with stubbed("elbv2") as (client, stubber):
        stubber.add_client_error(operation, code, http_status_code=400)
        stubber.add_client_error(operation, "AccessDenied", http_status_code=403)
        call = getattr(ElbLoadBalancers(client), method)

        assert call("arn") is None
        with pytest.raises(AwsCallError) as raised:
            call("arn")

    assert (raised.value.code, raised.value.retryable) == ("AccessDenied", False)
    assert raised.value.operation == "".join(word.title() for word in operation.split("_"))


def test_throttling_is_retryable() -> None:
    with stubbed("elbv2") as (client, stubber):
        stubber.add_client_error("describe_target_groups", "Throttling", http_status_code=400)
        with pytest.raises(AwsUnavailableError):
            ElbLoadBalancers(client).group("arn")


def test_a_reply_of_another_shape_is_an_error() -> None:
    with stubbed("elbv2") as (client, stubber):
        stubber.add_response("describe_target_groups", {"TargetGroups": []})
        with pytest.raises(AwsCallError, match="documented shape"):
            ElbLoadBalancers(client).group("arn")


# -------------------------------------------------------------------------------- security groups


def permission(**given: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, **given}


def test_only_the_requested_security_groups_are_returned() -> None:
    open_ = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    allowed = permission(
        IpRanges=[{"CidrIp": "10.0.0.0/8"}],
        Ipv6Ranges=[{"CidrIpv6": "fd00::/8"}],
        UserIdGroupPairs=[{"GroupId": "sg-9"}],
        PrefixListIds=[{"PrefixListId": "pl-1"}],
    )
    group = {
        "GroupId": "sg-1",
        "VpcId": "vpc-1",
        "IpPermissions": [allowed],
        "IpPermissionsEgress": [open_],
    }
    other = {**group, "GroupId": "sg-7", "IpPermissions": [], "IpPermissionsEgress": []}
    with stubbed("ec2") as (client, stubber):
        expected = {"Filters": [{"Name": "group-id", "Values": ["sg-1", "sg-2"]}]}
        stubber.add_response(
            "describe_security_groups", {"SecurityGroups": [group, other]}, expected
        )

        found = Ec2Networks(client).security_groups(["sg-2", "sg-1"])

    inbound = Rule(
        protocol="tcp",
        first_port=5432,
        last_port=5432,
        networks=(IPv4Network("10.0.0.0/8"), IPv6Network("fd00::/8")),
        groups=("sg-9",),
        prefix_lists=("pl-1",),
    )
    outbound = Rule(
        protocol="-1", first_port=None, last_port=None, networks=(IPv4Network("0.0.0.0/0"),)
    )
    assert found == {"sg-1": SecurityGroup((inbound,), (outbound,), "vpc-1")}


def test_rules_of_another_shape_are_an_error() -> None:
    with stubbed("ec2") as (client, stubber):
        stubber.add_response("describe_security_groups", {"SecurityGroups": [{"GroupId": "sg-1"}]})
        with pytest.raises(AwsCallError, match="documented shape"):
            Ec2Networks(client).security_groups(["sg-1"])


# --------------------------------------------------------------------------------------- networks


def test_the_subnets_of_a_vpc_have_their_zones() -> None:
    with stubbed("ec2") as (client, stubber):
        subnets = [
            {
                "SubnetId": f"subnet-{letter}",
                "CidrBlock": f"10.0.{number}.0/24",
                "AvailabilityZone": f"us-east-1{letter}",
            }
            for number, letter in ((1, "a"), (2, "e"))
        ]
        zones = [
            {"ZoneName": name, "ZoneId": id_, "ZoneType": "availability-zone"}
            for name, id_ in (("us-east-1a", "use1-az1"), ("us-east-1e", "use1-az3"))
        ]
        stubber.add_response("describe_availability_zones", {"AvailabilityZones": zones})
        expected = {"Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}]}
        stubber.add_response("describe_subnets", {"Subnets": subnets}, expected)

        assert Ec2Networks(client).subnets("vpc-1") == (
            SubnetNetwork(IPv4Network("10.0.1.0/24"), "us-east-1a", id="subnet-a"),
            SubnetNetwork(
                IPv4Network("10.0.2.0/24"),
                "us-east-1e",
                accepts_load_balancers=False,
                id="subnet-e",
            ),
        )


def table(*routes: dict[str, Any], subnet: str = "", main: bool = False) -> dict[str, Any]:
    return {
        "Associations": [{"Main": True}] if main else [{"SubnetId": subnet, "Main": False}],
        "Routes": [{"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local"}, *routes],
    }


def default(state: str = "active", **gateway: str) -> dict[str, Any]:
    return {"DestinationCidrBlock": "0.0.0.0/0", "State": state, **gateway}


def endpoint(name: str, **given: Any) -> dict[str, Any]:
    return {
        "VpcEndpointType": "Interface",
        "State": "available",
        "PrivateDnsEnabled": True,
        "ServiceName": f"com.amazonaws.eu-west-1.{name}",
        **given,
    }


@pytest.mark.parametrize(
    ("tables", "route"),
    [
        ([table(default(NatGatewayId="nat-1"), subnet="subnet-f")], "nat-1"),
        ([table(default(TransitGatewayId="tgw-1"), main=True)], "tgw-1"),
        ([table(subnet="subnet-f"), table(default(NatGatewayId="nat-1"), main=True)], ""),
        ([table(default(GatewayId="igw-1"), subnet="subnet-f")], ""),
        ([table(default("blackhole", NatGatewayId="nat-1"), subnet="subnet-f")], ""),
        ([], ""),
    ],
)
def test_a_subnet_reaches_aws_by_its_default_route(
    tables: list[dict[str, Any]], route: str
) -> None:
    endpoints = [
        endpoint("elasticloadbalancing"),
        endpoint("rds", PrivateDnsEnabled=False),
        endpoint("ec2", State="pending"),
        endpoint("s3", VpcEndpointType="Gateway"),
    ]
    of_vpc = {"Filters": [{"Name": "vpc-id", "Values": ["vpc-1"]}]}
    with stubbed("ec2") as (client, stubber):
        stubber.add_response(
            "describe_subnets", {"Subnets": [{"VpcId": "vpc-1"}]}, {"SubnetIds": ["subnet-f"]}
        )
        stubber.add_response("describe_route_tables", {"RouteTables": tables}, of_vpc)
        stubber.add_response("describe_vpc_endpoints", {"VpcEndpoints": endpoints}, of_vpc)

        assert Ec2Networks(client).of_function(["subnet-f"]) == FunctionNetwork(
            (SubnetRoute("subnet-f", route),), frozenset({"elasticloadbalancing"})
        )


def test_a_subnet_of_another_shape_is_an_error() -> None:
    with stubbed("ec2") as (client, stubber):
        stubber.add_response("describe_subnets", {"Subnets": []})
        with pytest.raises(AwsCallError, match="documented shape"):
            Ec2Networks(client).of_function(["subnet-f"])


# ------------------------------------------------------------------------------- endpoint service


def test_the_endpoint_service_has_its_load_balancer() -> None:
    configuration = {
        "ServiceState": "Available",
        "AcceptanceRequired": True,
        "NetworkLoadBalancerArns": [BALANCER_ARN],
    }
    with stubbed("ec2") as (client, stubber):
        stubber.add_response(
            "describe_vpc_endpoint_service_configurations",
            {"ServiceConfigurations": [configuration]},
            {"ServiceIds": [SERVICE_ID]},
        )
        assert Ec2EndpointService(client, SERVICE_ID).service() == EndpointService(
            state="Available", acceptance_required=True, load_balancer_arns=(BALANCER_ARN,)
        )


def test_the_principals_of_every_page_are_returned() -> None:
    operation = "describe_vpc_endpoint_service_permissions"
    with stubbed("ec2") as (client, stubber):
        expected = {"ServiceId": SERVICE_ID}
        first = {"AllowedPrincipals": [{"Principal": "one"}], "NextToken": "more"}
        stubber.add_response(operation, first, expected)
        second = {"AllowedPrincipals": [{"Principal": "two"}]}
        stubber.add_response(operation, second, {**expected, "NextToken": "more"})

        assert Ec2EndpointService(client, SERVICE_ID).principals() == frozenset({"one", "two"})


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("service", "describe_vpc_endpoint_service_configurations"),
        ("principals", "describe_vpc_endpoint_service_permissions"),
    ],
)
def test_a_missing_endpoint_service_is_none(method: str, operation: str) -> None:
    with stubbed("ec2") as (client, stubber):
        stubber.add_client_error(operation, "InvalidVpcEndpointServiceId.NotFound")
        stubber.add_client_error(operation, "UnauthorizedOperation")
        call = getattr(Ec2EndpointService(client, SERVICE_ID), method)

        assert call() is None
        with pytest.raises(AwsCallError, match="UnauthorizedOperation"):
            call()


def test_a_service_of_another_shape_is_an_error() -> None:
    with stubbed("ec2") as (client, stubber):
        stubber.add_response(
            "describe_vpc_endpoint_service_configurations", {"ServiceConfigurations": []}
        )
        with pytest.raises(AwsCallError, match="documented shape"):
            Ec2EndpointService(client, SERVICE_ID).service()


def test_a_connection_has_the_creation_time_of_its_endpoint() -> None:
    created = datetime(2026, 11, 22, 9, tzinfo=UTC)
    item = {
        "VpcEndpointId": "vpce-1",
        "VpcEndpointOwner": "222222222222",
        "VpcEndpointState": "available",
        "CreationTimestamp": created,
    }
    with stubbed("ec2") as (client, stubber):
        stubber.add_response(
            "describe_vpc_endpoint_connections", {"VpcEndpointConnections": [item]}
        )
        (found,) = Ec2EndpointService(client, SERVICE_ID).connections()

    assert found.created_at == created.timestamp()


# -------------------------------------------------------------------------- schedule and queues


@pytest.mark.parametrize(("state", "enabled"), [("ENABLED", True), ("DISABLED", False)])
def test_a_schedule_is_on_or_off(state: str, enabled: bool) -> None:
    with stubbed("scheduler") as (client, stubber):
        stubber.add_response("get_schedule", {"State": state}, {"Name": "every-minute"})
        assert EventBridgeSchedule(client, "every-minute").is_enabled() is enabled


def test_a_missing_schedule_is_none() -> None:
    with stubbed("scheduler") as (client, stubber):
        stubber.add_client_error("get_schedule", "ResourceNotFoundException")
        stubber.add_client_error("get_schedule", "AccessDeniedException")
        schedule = EventBridgeSchedule(client, "every-minute")

        assert schedule.is_enabled() is None
        with pytest.raises(AwsCallError):
            schedule.is_enabled()


URL = "https://sqs.eu-west-1.amazonaws.com/111122223333/failed"


def test_visible_and_invisible_messages_are_counted() -> None:
    counts = {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1"}
    with stubbed("sqs") as (client, stubber):
        expected = {"QueueUrl": URL, "AttributeNames": list(counts)}
        stubber.add_response("get_queue_attributes", {"Attributes": counts}, expected)
        assert SqsQueues(client).messages(URL) == 3


def test_a_missing_queue_is_none_and_another_shape_an_error() -> None:
    operation = "get_queue_attributes"
    with stubbed("sqs") as (client, stubber):
        stubber.add_client_error(operation, "AWS.SimpleQueueService.NonExistentQueue")
        stubber.add_client_error(operation, "AccessDenied", http_status_code=403)
        stubber.add_response(operation, {"Attributes": {}})
        queues = SqsQueues(client)

        assert queues.messages(URL) is None
        with pytest.raises(AwsCallError, match="AccessDenied"):
            queues.messages(URL)
        with pytest.raises(AwsCallError, match="documented shape"):
            queues.messages(URL)


# ---------------------------------------------------------------------------------------- metrics


def moment(ago: float) -> datetime:
    return datetime.fromtimestamp(NOW - ago, UTC)


def series(number: int, *points: tuple[float, float]) -> dict[str, Any]:
    return {
        "Id": f"m{number}",
        "Timestamps": [moment(ago) for ago, _ in points],
        "Values": [value for _, value in points],
    }


@contextmanager
def metrics(*results: dict[str, Any]) -> Iterator[tuple[CloudWatchMetrics, list[Any]]]:
    """The adapter with a client that returns these series, and the client's calls."""
    calls: list[Any] = []

    class Client:
        def get_metric_data(self, **query: Any) -> dict[str, Any]:
            calls.append(query)
            return {"MetricDataResults": list(results)}

    yield CloudWatchMetrics(Client(), "PostgresPrivateLink", STACK, lambda: NOW), calls


def test_the_newest_runs_are_counted() -> None:
    with metrics(
        series(0, (60.0, 0.0), (120.0, 2.0), (180.0, 1.0)),
        series(1, (60.0, 1.0), (120.0, 1.0)),
        series(2, (120.0, 1.0)),
        series(3, (120.0, 1.0)),
        series(4),
    ) as (adapter, calls):
        runs = adapter.recent_runs()

    # A point stands for the minute after its time.
    assert runs.succeeded_at == NOW - 120 + 60
    # Both runs of the later minute ended out of sync: one vetoed, one unfinished.
    assert runs.in_sync_at == NOW - 180 + 60
    assert (runs.failures, runs.vetoes, runs.deregistrations) == (2, 1, 0)
    (query,) = calls
    assert query["StartTime"] == moment(RECENT_SECONDS)
    (first, *_) = query["MetricDataQueries"]
    assert first["MetricStat"]["Metric"] == {
        "Namespace": "PostgresPrivateLink",
        "MetricName": "SyncSucceeded",
        "Dimensions": [{"Name": "service", "Value": STACK}],
    }


def test_a_function_without_a_successful_run_has_no_success_time() -> None:
    with metrics(*(series(number) for number in range(5))) as (adapter, _):
        runs = adapter.recent_runs()
    assert (runs.succeeded_at, runs.in_sync_at) == (None, None)


def test_the_newest_change_has_the_values_of_one_run() -> None:
    with metrics(
        series(0, (600.0, 1.5), (3600.0, 9.0)), series(1, (600.0, 2.0)), series(2, (3600.0, 95.0))
    ) as (adapter, calls):
        assert adapter.changes() == FollowedChanges(
            FollowedChange(at=NOW - 600, to_detect=1.5, to_register=2.0), days=14
        )
    assert calls[0]["StartTime"] == moment(14 * 86400)


def test_no_change_is_none() -> None:
    with metrics(series(0), series(1), series(2)) as (adapter, _):
        assert adapter.changes() == FollowedChanges(None, 14)


@pytest.mark.parametrize("results", [[], [{"Id": "m9", "Timestamps": [], "Values": []}]])
def test_metrics_of_another_shape_are_an_error(results: list[Any]) -> None:
    with metrics(*results) as (adapter, _), pytest.raises(AwsCallError, match="documented shape"):
        adapter.recent_runs()


@pytest.mark.parametrize("value", [-1.0, 1e300, float("inf"), float("nan")])
def test_a_value_that_no_run_can_have_is_an_error(value: float) -> None:
    results = [series(number, (60.0, value)) for number in range(5)]
    with metrics(*results) as (adapter, _), pytest.raises(AwsCallError, match="no count"):
        adapter.recent_runs()


def test_the_query_is_valid_for_cloudwatch() -> None:
    """The Stubber checks the query with botocore's model."""
    with stubbed("cloudwatch") as (client, stubber):
        results = [series(number) for number in range(5)]
        stubber.add_response(
            "get_metric_data",
            {"MetricDataResults": results},
            {
                "MetricDataQueries": ANY,
                "StartTime": ANY,
                "EndTime": ANY,
                "ScanBy": "TimestampDescending",
                "MaxDatapoints": ANY,
            },
        )
        CloudWatchMetrics(client, "PostgresPrivateLink", STACK, lambda: NOW).recent_runs()


# ------------------------------------------------------------------------------------- PostgreSQL


@contextmanager
def server(serve_one: Callable[[socket.socket], object]) -> Iterator[DescribedTarget]:
    """A server that accepts one connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            serve_one(connection)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield target(HOST, port=listener.getsockname()[1])
        thread.join()


def replying(reply: bytes) -> Callable[[socket.socket], object]:
    def reply_once(connection: socket.socket) -> None:
        assert connection.recv(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
        connection.sendall(reply)

    return reply_once


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        (b"S", SslReply.TLS),
        (b"N", SslReply.PLAIN),
        (b"HTTP/1.1 400 Bad Request", SslReply.OTHER),
        (b"", SslReply.OTHER),
    ],
)
def test_the_reply_to_an_ssl_request_is_classified(reply: bytes, meaning: SslReply) -> None:
    with server(replying(reply)) as address:
        assert PostgresProbe().ask(address) is meaning


def test_a_silent_server_is_not_postgresql() -> None:
    released = threading.Event()
    with server(lambda _: released.wait(10)) as address:
        assert PostgresProbe(seconds=0.1).ask(address) is SslReply.OTHER
        released.set()


def test_a_target_id_that_is_no_host_name_is_no_connection() -> None:
    assert PostgresProbe().ask(target("i-" + "0" * 64)) is SslReply.NO_CONNECTION


def test_a_closed_port_is_no_connection() -> None:
    closed = target(HOST, port=free_port(HOST))
    assert PostgresProbe(seconds=1.0).ask(closed) is SslReply.NO_CONNECTION
