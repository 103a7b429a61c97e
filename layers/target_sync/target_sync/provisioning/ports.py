"""What the custom resources need from AWS, as values and protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from target_sync.model import DatabaseKind, IPNetwork
from target_sync.ports import EndpointServicePort


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database of any kind, as an API describes it.

    Attributes:
        names: Its endpoint for each kind; empty while it is being created.
        status: In the words of its API.
        aliases: Its other names, for example a custom endpoint.
        engine: In the words of its API; None if no API knows it.
        port: None if the API does not know it.
        vpc_id: Empty if it has no server yet.
        subnet_ids: Empty if the API does not know them.
        zones: The Availability Zones of its current servers.
        public: Whether its name resolves to a public address outside its VPC.
        member_of: Its cluster; empty if it has none.
        has_writer: False for a cluster of which no member is the writer.
        pauses: Whether it pauses while nothing connects to it.
        event_resources: The ARNs in the events about its changes. The template adds the members of
            a cluster, which change.
    """

    identifier: str
    names: Mapping[DatabaseKind, str]
    status: str = ""
    aliases: tuple[str, ...] = ()
    engine: str | None = None
    port: int | None = None
    vpc_id: str
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    zones: frozenset[str] = frozenset()
    public: bool = False
    member_of: str = ""
    has_writer: bool = True
    pauses: bool = False
    event_resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One subnet. It is unusable for a load balancer if it is not ready, or on an Outpost.

    It has no network if it has IPv6 addresses only.
    """

    id: str
    vpc_id: str
    zone: str
    network: IPNetwork | None
    usable: bool = True
    free_addresses: int


class DatabaseCatalog(Protocol):
    """Databases and networks in AWS. Each method returns None if AWS does not have the resource."""

    def instance(self, identifier: str) -> Database | None:
        """Return an RDS instance by its identifier."""

    def cluster(self, identifier: str) -> Database | None:
        """Return an Aurora or Multi-AZ DB cluster by its identifier."""

    def cluster_of_custom_endpoint(self, identifier: str) -> Database | None:
        """Return the cluster of a custom endpoint, with that endpoint as an alias."""

    def proxy(self, name: str) -> Database | None:
        """Return an RDS proxy by its name."""

    def proxy_of_endpoint(self, name: str) -> Database | None:
        """Return the proxy of an additional endpoint, with that endpoint's name and network."""

    def ec2_instance(self, identifier: str) -> Database | None:
        """Return an EC2 instance that is not terminated."""

    def subnets(self, identifiers: Sequence[str]) -> tuple[Subnet, ...] | None:
        """Return these subnets; None if one of them does not exist."""

    def zones_without_load_balancers(self) -> Mapping[str, str]:
        """Return the zones that accept no Network Load Balancer: each ID by its name."""

    def networks(self, vpc_id: str) -> tuple[IPNetwork, ...] | None:
        """Return the IPv4 networks of a VPC, in order."""


class StackPort(Protocol):
    """The resources of a deployed stack."""

    def load_balancer_subnets(self, stack_id: str) -> frozenset[str]:
        """Return the subnets of the stack's load balancer; none if it has no load balancer."""


class ServicePort(EndpointServicePort, Protocol):
    """One endpoint service, with its name."""

    def name(self) -> str:
        """Return the name with which consumers create an endpoint."""


class AutoScalingPort(Protocol):
    """Auto Scaling groups and their target groups."""

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        """Return the ARNs of the target groups of a group; None if the group does not exist."""

    def attach(self, group: str, target_group_arn: str) -> None:
        """Attach a target group: AWS registers every current and future instance."""

    def detach(self, group: str, target_group_arn: str) -> None:
        """Detach a target group: AWS deregisters the group's instances."""


@dataclass(frozen=True, slots=True)
class FunctionError:
    """An error that a function raised: its class and its message."""

    type: str
    message: str


class FunctionPort(Protocol):
    """Invokes Lambda functions."""

    def invoke(
        self, name: str, payload: Mapping[str, object]
    ) -> Mapping[str, object] | FunctionError:
        """Run a function, and return its document or the error that it raised."""


class ResponsePort(Protocol):
    """Sends responses to CloudFormation."""

    def put(self, url: str, body: bytes, deadline: float) -> None:
        """Upload a response by the deadline, or raise ``CustomResourceResponseError``."""
