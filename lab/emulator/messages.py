"""The messages of the emulator's admin API, for its client and its server."""

import functools
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any, Self


class RdsSource(StrEnum):
    """`SourceType` in the detail of an RDS event."""

    INSTANCE = "DB_INSTANCE"
    CLUSTER = "CLUSTER"


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsEvent:
    """An event of RDS.

    Attributes:
        identifier: The name of the DB instance or DB cluster.
        event_id: For example `RDS-EVENT-0049`.
        categories: For example `failover`.
        message: The text of the event.
        prefixed: Whether `SourceIdentifier` is `rds:<identifier>`; AWS sends both forms.
        source: The kind of source.
    """

    identifier: str
    event_id: str
    categories: tuple[str, ...]
    message: str
    prefixed: bool = False
    source: RdsSource = RdsSource.INSTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsStatus:
    """The status of a DB instance in DescribeDBInstances; None keeps its zone."""

    identifier: str
    status: str
    availability_zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """The status of a DB cluster in DescribeDBClusters; None keeps its writer."""

    identifier: str
    status: str
    writer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInterface:
    """A new network interface with an address, which another interface may lose.

    Attributes:
        address: A private IPv4 address of the subnet.
        subnet_id: The subnet, of any account.
        security_group_ids: Its security groups.
        description: Its description: `RDSNetworkInterface` if RDS manages it.
        requester: The AWS service that manages it, for example `amazon-rds`; None: the account.
    """

    address: str
    subnet_id: str
    security_group_ids: tuple[str, ...]
    description: str = ""
    requester: str | None = None


#: The action of a fault that fails every call of a service.
EVERY_ACTION = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of API calls.

    Attributes:
        service: As in IAM: `elasticloadbalancing`, `ec2`, `rds`, `events` …
        action: As in IAM: `RegisterTargets` …, or `EVERY_ACTION` of the service.
        error: The error code.
        times: The number of failing calls.
    """

    service: str
    action: str
    error: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedTarget:
    """A target for the data plane.

    Attributes:
        address: Its address.
        port: Its port.
        state: As in DescribeTargetHealth.
        allowed: Whether outbound rules of the load balancer allow new connections to it.
    """

    address: IPv4Address
    port: int
    state: str
    allowed: bool = True

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read it from the API's JSON."""
        return cls(**{**values, "address": IPv4Address(values["address"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedListener:
    """A listener of a Network Load Balancer and its targets.

    Attributes:
        load_balancer_arn: The load balancer.
        listener_port: Its port.
        target_group_arn: The group that it forwards to.
        targets: All targets of the group, also draining ones.
        connection_termination: Whether connections are cut after a target has drained:
            `deregistration_delay.connection_termination.enabled`.
        unhealthy_termination: Whether connections of an unhealthy target are cut:
            `target_health_state.unhealthy.connection_termination.enabled`.
    """

    load_balancer_arn: str
    listener_port: int
    target_group_arn: str
    targets: tuple[RoutedTarget, ...]
    connection_termination: bool
    unhealthy_termination: bool

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read it from the API's JSON."""
        targets = tuple(RoutedTarget.parse(target) for target in values["targets"])
        return cls(**{**values, "targets": targets})


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedConnection:
    """A consumer's connection to an endpoint service; only `available` ones carry traffic."""

    service_id: str
    service_name: str
    load_balancer_arns: tuple[str, ...]
    endpoint_id: str
    consumer_account: str
    state: str

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read it from the API's JSON."""
        return cls(**{**values, "load_balancer_arns": tuple(values["load_balancer_arns"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlane:
    """The state for the data plane."""

    listeners: tuple[RoutedListener, ...]
    connections: tuple[RoutedConnection, ...]

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read it from the API's JSON."""
        return cls(
            listeners=tuple(RoutedListener.parse(entry) for entry in values["listeners"]),
            connections=tuple(RoutedConnection.parse(entry) for entry in values["connections"]),
        )


@functools.cache  # an opener loads the system's certificates
def loopback_opener() -> urllib.request.OpenerDirector:
    """Return a URL opener that uses no proxy, whatever the environment says."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
