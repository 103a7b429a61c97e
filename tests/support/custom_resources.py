"""ProvisionStackFunction with CloudFormation, the databases and the other services in memory."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

from target_sync.aws import error_for
from target_sync.errors import AwsAccessDeniedError, CustomResourceResponseError
from target_sync.model import AwsScope, ConnectionState, DatabaseKind, EndpointConnection, IPNetwork
from target_sync.provisioning.ports import Database, FunctionError, Subnet
from target_sync.provisioning.provisioner import StackProvisioner
from target_sync.provisioning.request import RequestOutcome
from target_sync.provisioning.resources.auto_scaling_attachment import AutoScalingAttachment
from target_sync.provisioning.resources.database_lookup import DatabaseLookup
from target_sync.provisioning.resources.endpoint_connections import EndpointConnections
from target_sync.provisioning.resources.first_sync import FirstSync
from tests.support.clock import FakeClock

SCOPE = AwsScope("aws", "eu-west-1", "111122223333")
VPC, OTHER_VPC = "vpc-0aaa", "vpc-0bbb"
DOMAIN = "abc123.eu-west-1.rds.amazonaws.com"
INSTANCE = f"orders.{DOMAIN}"
WRITER = f"sales.cluster-{DOMAIN}"
READERS = f"sales.cluster-ro-{DOMAIN}"
CUSTOM = f"reports.cluster-custom-{DOMAIN}"
PROXY = f"pool.proxy-{DOMAIN}"
PROXY_ENDPOINT = f"pool-ro.endpoint.proxy-{DOMAIN}"
MEMBER = f"sales-1.{DOMAIN}"
EC2_INSTANCE = "i-0123456789abcdef0"
GROUP = "Postgres Group"
TARGET_GROUP = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/orders/0123"
OTHER_TARGET_GROUP = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/sales/4567"


def arn(kind: str, name: str) -> str:
    return f"arn:aws:rds:eu-west-1:111122223333:{kind}:{name}"


def subnet(
    letter: str, number: int, vpc: str = VPC, *, usable: bool = True, free: int = 250
) -> Subnet:
    return Subnet(
        id=f"subnet-{letter}{number}",
        vpc_id=vpc,
        zone=f"eu-west-1{letter}",
        network=ip_network(f"10.{'abc'.index(letter)}.{number}.0/24"),
        usable=usable,
        free_addresses=free,
    )


INSTANCE_DATABASE = Database(
    identifier="orders",
    names={DatabaseKind.RDS_INSTANCE: INSTANCE},
    engine="postgres",
    port=5433,
    vpc_id=VPC,
    subnet_ids=("subnet-b1", "subnet-a2", "subnet-a1", "subnet-c1"),
    security_group_ids=("sg-2", "sg-1"),
    zones=frozenset({"eu-west-1a", "eu-west-1b"}),
    event_resources=(arn("db", "orders"),),
)
CLUSTER_DATABASE = Database(
    identifier="sales",
    names={DatabaseKind.RDS_CLUSTER_WRITER: WRITER, DatabaseKind.RDS_CLUSTER_READERS: READERS},
    engine="aurora-postgresql",
    port=5432,
    vpc_id=VPC,
    subnet_ids=("subnet-a1", "subnet-b1"),
    security_group_ids=("sg-3",),
    zones=frozenset({"eu-west-1a", "eu-west-1b"}),
    event_resources=(arn("cluster", "sales"),),
)
PROXY_DATABASE = Database(
    identifier="pool",
    names={DatabaseKind.RDS_PROXY: PROXY},
    engine="POSTGRESQL",
    vpc_id=VPC,
    subnet_ids=("subnet-a1", "subnet-b1"),
    security_group_ids=("sg-4",),
    event_resources=(arn("db-proxy", "prx-0123"),),
)


class FakeCatalog:
    """Implements ``target_sync.provisioning.ports.DatabaseCatalog`` in memory."""

    def __init__(self) -> None:
        self.instances = {
            "orders": INSTANCE_DATABASE,
            "sales-1": replace(
                INSTANCE_DATABASE,
                identifier="sales-1",
                names={DatabaseKind.RDS_INSTANCE: MEMBER},
                member_of="sales",
            ),
        }
        self.clusters = {"sales": CLUSTER_DATABASE}
        self.proxies = {"pool": PROXY_DATABASE}
        self.subnet_list = [
            *(subnet(letter, number) for letter in "abc" for number in (1, 2)),
            *(subnet(letter, 9, OTHER_VPC) for letter in "ab"),
            subnet("a", 8, usable=False),
        ]
        self.vpcs: dict[str, tuple[IPNetwork, ...]] = {
            VPC: (ip_network("10.0.0.0/16"), ip_network("10.1.0.0/16")),
            OTHER_VPC: (ip_network("10.9.0.0/16"),),
        }
        self.excluded_zones: dict[str, str] = {}
        #: How many of the next calls are denied, as with a policy that IAM does not apply yet.
        self.denied_calls = 0
        self.before_call: Callable[[], None] = lambda: None

    def instance(self, identifier: str) -> Database | None:
        self.before_call()
        if self.denied_calls:
            self.denied_calls -= 1
            raise AwsAccessDeniedError("DescribeDBInstances", "AccessDenied", "not authorized")
        return self.instances.get(identifier)

    def cluster(self, identifier: str) -> Database | None:
        return self.clusters.get(identifier)

    def cluster_of_custom_endpoint(self, identifier: str) -> Database | None:
        return replace(CLUSTER_DATABASE, aliases=(CUSTOM,)) if identifier == "reports" else None

    def proxy(self, name: str) -> Database | None:
        return self.proxies.get(name)

    def proxy_of_endpoint(self, name: str) -> Database | None:
        names = {DatabaseKind.RDS_PROXY: PROXY_ENDPOINT}
        return replace(self.proxies["pool"], names=names) if name == "pool-ro" else None

    def ec2_instance(self, identifier: str) -> Database | None:
        if identifier != EC2_INSTANCE:
            return None
        return Database(
            identifier=EC2_INSTANCE,
            names={DatabaseKind.EC2_INSTANCE: EC2_INSTANCE},
            vpc_id=VPC,
            zones=frozenset({"eu-west-1a"}),
            security_group_ids=("sg-5",),
            event_resources=(f"arn:aws:ec2:eu-west-1:111122223333:instance/{EC2_INSTANCE}",),
        )

    def subnets(self, identifiers: Sequence[str]) -> tuple[Subnet, ...] | None:
        # EC2 promises no order.
        found = tuple(item for item in reversed(self.subnet_list) if item.id in identifiers)
        return found if len(found) == len(identifiers) else None

    def zones_without_load_balancers(self) -> Mapping[str, str]:
        return self.excluded_zones

    def networks(self, vpc_id: str) -> tuple[IPNetwork, ...] | None:
        return self.vpcs.get(vpc_id)


@dataclass(slots=True)
class FakeStack:
    """Implements ``target_sync.provisioning.ports.StackPort`` in memory."""

    subnets: frozenset[str] = frozenset()

    def load_balancer_subnets(self, stack_id: str) -> frozenset[str]:
        assert ":stack/orders/" in stack_id
        return self.subnets


class FakeAutoScaling:
    """Implements ``target_sync.provisioning.ports.AutoScalingPort`` in memory."""

    def __init__(self) -> None:
        self.groups: dict[str, set[str]] = {GROUP: set(), "Other": set()}
        self.attachments = 0

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        attached = self.groups.get(group)
        return None if attached is None else frozenset(attached)

    def attach(self, group: str, target_group_arn: str) -> None:
        self.groups[group].add(target_group_arn)
        self.attachments += 1

    def detach(self, group: str, target_group_arn: str) -> None:
        self.groups[group].remove(target_group_arn)


class FakeFunctions:
    """Implements ``target_sync.provisioning.ports.FunctionPort``.

    It repeats the last reply.
    """

    def __init__(self, *replies: Mapping[str, object] | FunctionError) -> None:
        self.replies = list(replies)
        self.invocations: list[tuple[str, Mapping[str, object]]] = []
        self.before_reply: Callable[[], None] = lambda: None

    def invoke(
        self, name: str, payload: Mapping[str, object]
    ) -> Mapping[str, object] | FunctionError:
        self.invocations.append((name, payload))
        self.before_reply()
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


class FakeConnections:
    """Implements ``target_sync.provisioning.ports.ServicePort`` in memory."""

    def __init__(self, **states: ConnectionState) -> None:
        self.states = states
        self.rejected: list[str] = []
        #: The error code of each endpoint whose rejection fails, and endpoints that stay open.
        self.failing: dict[str, str] = {}
        self.stuck: set[str] = set()

    def name(self) -> str:
        return "com.example.vpce-svc-0123"

    def connections(self) -> tuple[EndpointConnection, ...]:
        return tuple(
            EndpointConnection(endpoint_id=name, owner="222222222222", state=state)
            for name, state in self.states.items()
        )

    def accept(self, endpoint_id: str) -> None:
        raise AssertionError(f"{endpoint_id} must not be accepted")

    def reject(self, endpoint_id: str) -> None:
        self.rejected.append(endpoint_id)
        if code := self.failing.get(endpoint_id):
            raise error_for("RejectVpcEndpointConnections", code, "rejected")
        if endpoint_id not in self.stuck:
            self.states[endpoint_id] = ConnectionState.REJECTED


class FakeCloudFormation:
    """Implements ``target_sync.provisioning.ports.ResponsePort`` in memory."""

    def __init__(self) -> None:
        self.responses: list[Mapping[str, Any]] = []
        self.deadlines: list[float] = []
        self.responded = threading.Event()
        self.rejects = False

    def put(self, url: str, body: bytes, deadline: float) -> None:
        assert url == RESPONSE_URL
        assert len(body) <= 4096
        self.deadlines.append(deadline)
        self.responses.append(json.loads(body))
        self.responded.set()
        if self.rejects:
            raise CustomResourceResponseError("CloudFormation rejected the response")


@dataclass(slots=True)
class FakeOutcomeReporter:
    """Implements ``target_sync.ports.Reporter``."""

    records: list[RequestOutcome] = field(default_factory=list)

    def report(self, result: RequestOutcome) -> None:
        self.records.append(result)


RESPONSE_URL = "https://cloudformation.example/response?signature=secret"


@dataclass(slots=True, kw_only=True)
class Stack:
    """A provisioner and everything around it."""

    catalog: FakeCatalog = field(default_factory=FakeCatalog)
    groups: FakeAutoScaling = field(default_factory=FakeAutoScaling)
    deployed: FakeStack = field(default_factory=FakeStack)
    functions: FakeFunctions = field(default_factory=lambda: FakeFunctions({}))
    connections: FakeConnections = field(default_factory=FakeConnections)
    cloudformation: FakeCloudFormation = field(default_factory=FakeCloudFormation)
    reporter: FakeOutcomeReporter = field(default_factory=FakeOutcomeReporter)
    clock: FakeClock = field(default_factory=FakeClock)
    remaining_seconds: float = 300.0

    def provisioner(self) -> StackProvisioner:
        return StackProvisioner(
            resources={
                "Custom::DatabaseLookup": lambda: DatabaseLookup(
                    catalog=self.catalog, groups=self.groups, stack=self.deployed, scope=SCOPE
                ),
                "Custom::FirstSync": lambda: FirstSync(functions=self.functions, clock=self.clock),
                "Custom::EndpointConnections": lambda: EndpointConnections(
                    service=lambda _: self.connections, clock=self.clock
                ),
                "Custom::AutoScalingAttachment": lambda: AutoScalingAttachment(groups=self.groups),
            },
            responses=self.cloudformation,
            clock=self.clock,
            reporter=self.reporter,
        )

    def request(self, request: str, resource: str, **properties: object) -> Mapping[str, Any]:
        """Handle a request of CloudFormation, and return the one response."""
        return self.send(event(request, resource, properties))

    def send(self, event: object) -> Mapping[str, Any]:
        self.cloudformation.responses.clear()
        self.provisioner().handle(event, remaining_seconds=self.remaining_seconds)
        (response,) = self.cloudformation.responses
        return response


def event(
    request: str,
    resource: str,
    properties: Mapping[str, object],
    old: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return a request of CloudFormation."""
    document: dict[str, object] = {
        "RequestType": request,
        "ServiceToken": "arn:aws:lambda:eu-west-1:111122223333:function:provision",
        "ResponseURL": RESPONSE_URL,
        "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/0123",
        "RequestId": "5c0d4f8a",
        "ResourceType": f"Custom::{resource}",
        "LogicalResourceId": resource,
        "ResourceProperties": {"ServiceToken": "arn", **properties},
    }
    if request != "Create":
        document["PhysicalResourceId"] = resource
    if old is not None:
        document["OldResourceProperties"] = {"ServiceToken": "arn", **old}
    return document


def lookup_properties(given: Mapping[str, object]) -> dict[str, object]:
    """Return the properties of the look-up, with those of the template for each missing one."""
    return {
        "DatabaseKind": "auto",
        "DatabasePort": "0",
        "VpcId": "",
        "SubnetIds": [""],
        "AllowedNetworks": [""],
        "StandbyTargets": "none",
        "FunctionSubnetIds": "",
        "Resolvers": "",
        **given,
    }
