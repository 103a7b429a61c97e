"""Every adapter gets every reply, and only errors of this package leave it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address

import pytest

from target_sync.aws import make_client
from target_sync.endpoint_service import Ec2EndpointService
from target_sync.endpoints.cluster import ClusterWriterEndpoint, RdsCluster
from target_sync.endpoints.ec2 import InstanceEndpoint
from target_sync.errors import AwsCallError
from target_sync.fleet.groups import AwsGroups, BoundGroups
from target_sync.fleet.model import Limits
from target_sync.model import AwsScope, DatabaseKind, SwitchState, Target
from target_sync.notifications.messages import BusEvent, Email
from target_sync.notifications.sender import EventBus, SnsTopic
from target_sync.provisioning.catalog import AwsDatabaseCatalog
from target_sync.provisioning.functions import LambdaFunctions
from target_sync.status.sources.databases import AwsDatabase
from target_sync.status.sources.load_balancers import ElbLoadBalancers
from target_sync.status.sources.metrics import CloudWatchMetrics
from target_sync.status.sources.networks import Ec2Networks
from target_sync.status.sources.operation import EventBridgeSchedule, SqsQueues
from target_sync.targets.auto_scaling import AutoScalingGroups
from target_sync.targets.network_interfaces import RdsNetworkInterfaces
from target_sync.targets.outbound_rules import SecurityGroupRules
from target_sync.targets.target_group import ElbTargetGroup
from tests.support.clock import FakeClock
from tests.support.databases import FakeDns
from tests.support.hostile_replies import ODD, UNUSABLE
from tests.support.replies import ApiServer, Reply, api_server, correct
from tests.support.scenario import A

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/orders/0123456789abcdef"
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
TARGETS = [Target(IPv4Address("10.0.1.11"), 5432)]
#: The calls of each adapter, by its name.
Calls = Mapping[str, Callable[[], object]]


def elb_calls() -> Calls:
    client = make_client("elbv2")
    group, balancers = ElbTargetGroup(client, ARN), ElbLoadBalancers(client)
    return {
        "describe targets": group.describe,
        "register": lambda: group.register(TARGETS),
        "deregister": lambda: group.deregister(TARGETS),
        "targets": lambda: balancers.targets(ARN),
        "group": lambda: balancers.group(ARN),
        "group attributes": lambda: balancers.group_attributes(ARN),
        "load balancer": lambda: balancers.load_balancer(ARN),
        "load balancer attributes": lambda: balancers.load_balancer_attributes(ARN),
        "listeners": lambda: balancers.listeners(ARN),
        "listener attributes": lambda: balancers.listener_attributes(ARN),
    }


def ec2_calls() -> Calls:
    client = make_client("ec2")
    interfaces = RdsNetworkInterfaces(client, "vpc-1", ("sg-1",), ("subnet-1",))
    rules = SecurityGroupRules(client, "sg-1", 5432)
    service = Ec2EndpointService(client, "vpce-svc-1")
    networks = Ec2Networks(client)
    addresses = frozenset(target.address for target in TARGETS)
    return {
        "check standbys": lambda: interfaces.check(addresses),
        "candidates": lambda: interfaces.addresses(addresses),
        "describe rules": rules.describe,
        "open": lambda: rules.open(TARGETS),
        "close": lambda: rules.close(TARGETS),
        "mark": lambda: rules.mark(SwitchState.PROVEN),
        "instance": InstanceEndpoint("i-1", client, lambda: 0.0).observe,
        "connections": service.connections,
        "service": service.service,
        "principals": service.principals,
        "accept": lambda: service.accept("vpce-1"),
        "reject": lambda: service.reject("vpce-1"),
        "subnets": lambda: networks.subnets("vpc-1"),
        "security groups": lambda: networks.security_groups(["text"]),
        "network of a function": lambda: networks.of_function(["subnet-1"]),
    }


def catalog_calls() -> Calls:
    scope = AwsScope("aws", "eu-west-1", "123456789012")
    catalog = AwsDatabaseCatalog(make_client("rds"), make_client("ec2"), scope)
    return {
        "find an instance": lambda: catalog.instance("orders"),
        "find a cluster": lambda: catalog.cluster("orders"),
        "find a custom endpoint": lambda: catalog.cluster_of_custom_endpoint("orders"),
        "find a proxy": lambda: catalog.proxy("orders"),
        "find the proxy of an endpoint": lambda: catalog.proxy_of_endpoint("orders"),
        "find an EC2 instance": lambda: catalog.ec2_instance("i-1"),
        "find subnets": lambda: catalog.subnets(["subnet-1"]),
        "find zones": catalog.zones_without_load_balancers,
        "find networks": lambda: catalog.networks("vpc-1"),
    }


def rds_calls() -> Calls:
    cluster = RdsCluster(make_client("rds"), "orders")
    resolver = FakeDns(FakeClock())
    resolver.set_addresses("orders", A)
    resolver.set_addresses("text", A)
    return {
        "members": RdsCluster(make_client("rds"), "orders").members,
        "writer": ClusterWriterEndpoint("orders", cluster, resolver, lambda: 0.0).observe,
    }


def auto_scaling_calls() -> Calls:
    groups = AutoScalingGroups(make_client("autoscaling"))
    return {
        "attached target groups": lambda: groups.attached_target_groups("orders"),
        "attach": lambda: groups.attach("orders", ARN),
        "detach": lambda: groups.detach("orders", ARN),
    }


def fleet_calls() -> Calls:
    groups = AwsGroups(
        make_client("resourcegroupstaggingapi"), make_client("elbv2"), make_client("ec2")
    )
    bound = BoundGroups(
        groups=groups, limits=Limits(max_targets=15), region="eu-west-1", clock=FakeClock()
    )
    return {
        "list groups": groups.list_groups,
        "describe groups": lambda: groups.describe(["text"]),
        "read groups": bound.read,
        "read attributes": lambda: groups.attributes("text"),
    }


def other_calls() -> Calls:
    metrics = CloudWatchMetrics(make_client("cloudwatch"), "Space", "orders", lambda: 1e9)
    queues, functions = SqsQueues(make_client("sqs")), LambdaFunctions(make_client("lambda"))
    topic = SnsTopic(make_client("sns"), "arn:aws:sns:eu-west-1:123456789012:alarms")
    bus = EventBus(make_client("events"))
    return {
        "recent runs": metrics.recent_runs,
        "changes": metrics.changes,
        "schedule": EventBridgeSchedule(make_client("scheduler"), "orders").is_enabled,
        "messages": lambda: queues.messages("https://sqs.eu-west-1.amazonaws.com/1/failed"),
        "invoke": lambda: functions.invoke("sync", {}),
        "publish": lambda: topic.publish(Email("subject", "text")),
        "put an event": lambda: bus.put(BusEvent("type", {}, ARN)),
    }


def database_calls() -> Calls:
    kinds = (
        DatabaseKind.RDS_INSTANCE,
        DatabaseKind.RDS_CLUSTER_WRITER,
        DatabaseKind.RDS_PROXY,
        DatabaseKind.EC2_INSTANCE,
    )
    clients = {kind: make_client("rds") for kind in kinds}
    clients[DatabaseKind.EC2_INSTANCE] = make_client("ec2")
    return {kind: AwsDatabase(kind, "orders", "text", clients[kind]).database for kind in kinds}


EVERY_ADAPTER = [
    database_calls,
    elb_calls,
    ec2_calls,
    catalog_calls,
    rds_calls,
    auto_scaling_calls,
    fleet_calls,
    other_calls,
]


#: The calls that need more than harmless values. The documented reply about requests has a failure.
NEED_CERTAIN_VALUES = {
    f"{name}, " for name in ("accept", "changes", "messages", "recent runs", "reject", "schedule")
}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


def outcome(call: Callable[[], object]) -> str:
    """Return how a call ends: with a value, an error or a failure of this package, or else."""
    try:
        result = call()
    except AwsCallError:
        return "error"
    except Exception as error:  # noqa: BLE001 - the test fails with a list of them
        return f"{type(error).__name__}: {error}"
    failure = getattr(result, "failure", "") or getattr(result, "disagreement", "")
    return "error" if failure else "value"


def outcomes(
    server: ApiServer, calls: Calls, replies: Mapping[str, Reply], *allowed: str
) -> dict[str, str]:
    """Return each call and reply that ends in another way than those."""
    found = {}
    for name, call in calls.items():
        for label, server.reply in replies.items():
            found[f"{name}, {label}"] = outcome(call)
    return {key: it for key, it in found.items() if it not in allowed}


@pytest.mark.parametrize("adapter", EVERY_ADAPTER)
def test_a_documented_reply_is_a_value(server: ApiServer, adapter: Callable[[], Calls]) -> None:
    assert set(outcomes(server, adapter(), {"": correct}, "value")) <= NEED_CERTAIN_VALUES


@pytest.mark.parametrize("adapter", EVERY_ADAPTER)
def test_an_unusable_reply_is_an_error_of_this_package(
    server: ApiServer, adapter: Callable[[], Calls]
) -> None:
    assert len(UNUSABLE) >= 30
    assert outcomes(server, adapter(), UNUSABLE, "error") == {}


@pytest.mark.parametrize("adapter", EVERY_ADAPTER)
def test_odd_fields_are_values_or_an_error_of_this_package(
    server: ApiServer, adapter: Callable[[], Calls]
) -> None:
    server.asked.clear()
    assert outcomes(server, adapter(), ODD, "value", "error") == {}
    # Pages without an end have one.
    assert max(Counter(server.asked).values()) < 1000
