"""What the emulator's admin API takes and gives; imported by both of its ends."""

import functools
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any, Self


class RdsSource(StrEnum):
    """What an RDS event is about: `SourceType` of its detail.

    AWS documents the first three in its samples; that of a blue/green deployment is our
    assumption, made of the same words as its detail type.
    """

    INSTANCE = "DB_INSTANCE"
    CLUSTER = "CLUSTER"
    PROXY = "DB_PROXY"
    BLUE_GREEN = "BLUE_GREEN_DEPLOYMENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsEvent:
    """An event that RDS emits, as the lab orders it.

    Attributes:
        identifier: The DB instance, DB cluster or proxy by its name. Blue/green deployments do
            not exist here: theirs is `<deployment id>/<the DB instance or cluster>`, which says
            on whose event bus it comes.
        event_id: For example `RDS-EVENT-0049`.
        categories: For example `failover`.
        message: What AWS says in words.
        prefixed: Whether `SourceIdentifier` is `rds:<identifier>`; AWS sends both forms.
        source: What it is about.
    """

    identifier: str
    event_id: str
    categories: tuple[str, ...]
    message: str
    prefixed: bool = False
    source: RdsSource = RdsSource.INSTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsStatus:
    """What DescribeDBInstances is to say about a DB instance; None leaves its zone."""

    identifier: str
    status: str
    availability_zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """What DescribeDBClusters is to say about a DB cluster; None leaves its writer."""

    identifier: str
    status: str
    writer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInterface:
    """An interface that is to have an address, whoever had it before.

    Attributes:
        address: A private IPv4 address of the subnet.
        subnet_id: The subnet, of any account.
        security_group_ids: Its security groups.
        description: What its requester says of it: `RDSNetworkInterface` if that is RDS.
        requester: The AWS service that manages it, for example `amazon-rds`; None: the account.
    """

    address: str
    subnet_id: str
    security_group_ids: tuple[str, ...]
    description: str = ""
    requester: str | None = None


#: As the action of a fault: whatever is called.
EVERY_ACTION = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An API call that is to fail.

    Attributes:
        service: As in IAM: `elasticloadbalancing`, `ec2`, `rds`, `events` …
        action: As in IAM: `RegisterTargets` …, or `EVERY_ACTION` of the service.
        error: The error code.
        times: How many calls fail.
    """

    service: str
    action: str
    error: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedTarget:
    """A target as the data plane needs it; `state` is that of DescribeTargetHealth."""

    address: IPv4Address
    port: int
    state: str

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read it from the API's JSON."""
        return cls(
            address=IPv4Address(values["address"]), port=values["port"], state=values["state"]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedListener:
    """A listener of a Network Load Balancer and where its connections may go.

    Attributes:
        load_balancer_arn: The load balancer.
        listener_port: The port that it listens on.
        target_group_arn: The group that it forwards to.
        targets: Every target of the group, draining ones too.
        connection_termination: Whether connections are cut once a target has drained:
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
    """Everything that the data plane follows."""

    listeners: tuple[RoutedListener, ...]
    connections: tuple[RoutedConnection, ...]

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read it from the API's JSON."""
        return cls(
            listeners=tuple(RoutedListener.parse(entry) for entry in values["listeners"]),
            connections=tuple(RoutedConnection.parse(entry) for entry in values["connections"]),
        )


@functools.cache  # making one loads the system's certificates
def loopback_opener() -> urllib.request.OpenerDirector:
    """Return a URL opener that uses no proxy, whatever the environment says."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
