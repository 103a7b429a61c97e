"""The function's environment, read once into a frozen value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address

from target_sync.environment import (
    FLAGS,
    alarm_topic_arn,
    given,
    is_address,
    items,
    matching,
    max_targets,
    networks,
    one_of,
    required,
    resolvers,
    stack_name,
    whole_number,
)
from target_sync.errors import SettingsError
from target_sync.model import HIGHEST_PORT, DatabaseKind, IPNetwork, SyncPolicy

# Patterns of lower case: one that ignores the case takes several times as long to compile.
_HOST_NAME = (
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?"
)
_INSTANCE_ID = r"i-[0-9a-f]{8,17}"
#: RDS API reference, CreateDBCluster, DBClusterIdentifier.
_CLUSTER_IDENTIFIER = r"[a-z](-?[a-z0-9])*"
_TARGET_GROUP_ARN = r"arn:[\w-]+:elasticloadbalancing:[\w-]+:\d{12}:targetgroup/\S+"
_VPC_ID = r"vpc-[0-9a-f]+"
_SECURITY_GROUP_IDS = r"sg-[0-9a-f]+(\s*,\s*sg-[0-9a-f]+)*"
_LONGEST_WATCH = 900
_LONGEST_PAUSE = 30
_STANDBY_TARGETS = {"serving": True, "none": False}


class DnsResolution(StrEnum):
    """Whose answer about a name in DNS counts."""

    #: That of the resolvers that are given, or else the system's.
    SYSTEM = "system"
    #: That of the zone's own name servers.
    AUTHORITATIVE = "authoritative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the template told the function.

    Attributes:
        kind: How the database is followed (``DATABASE_KIND``).
        endpoint: The database's host name or instance ID, or the addresses of a static one
            (``DATABASE_ENDPOINT``).
        identifier: The DB cluster's; empty for another kind (``DATABASE_IDENTIFIER``).
        target_group_arn: The group to keep right (``TARGET_GROUP_ARN``).
        policy: Port, allowed networks, most targets, and whether the standby's stays
            (``DATABASE_PORT``, ``ALLOWED_NETWORKS``, ``MAX_TARGETS``, ``STANDBY_TARGETS``).
        vpc_networks: The networks of the target group's VPC; none if every target lies in it
            (``VPC_NETWORKS``).
        resolvers: Name servers as (address, port); none means the system's (``RESOLVERS``).
        resolution: Whose answer counts (``DNS_RESOLUTION``).
        watch_seconds: How long an event's run keeps looking (``EVENT_WATCH_DURATION_SECONDS``).
        poll_seconds: From look to look of a scheduled run that goes on until the next one; 0 if
            it does not go on (``DNS_POLL_INTERVAL_SECONDS``).
        follow_writer: Whether a cluster without readers is followed to its writer
            (``FOLLOW_WRITER_WITHOUT_READERS``).
        vpc_id: The database's VPC; empty unless its standby's target stays (``VPC_ID``).
        security_groups: The database's, under the same condition (``DATABASE_SECURITY_GROUPS``).
        alarm_topic_arn: Where people are told; empty for nowhere (``ALARM_TOPIC_ARN``).
        stack: The stack's name, for the messages (``POWERTOOLS_SERVICE_NAME``).
    """

    kind: DatabaseKind
    endpoint: str
    target_group_arn: str
    policy: SyncPolicy
    identifier: str = ""
    vpc_networks: tuple[IPNetwork, ...] = ()
    resolvers: tuple[tuple[str, int], ...] = ()
    resolution: DnsResolution = DnsResolution.SYSTEM
    watch_seconds: float = 300.0
    dns_poll_seconds: float = 0.0
    follow_writer: bool = False
    vpc_id: str = ""
    security_groups: tuple[str, ...] = ()
    alarm_topic_arn: str = ""
    stack: str = "postgres-privatelink"

    @property
    def addresses(self) -> frozenset[IPv4Address]:
        """The addresses that a person gave as the endpoint of a static database."""
        return frozenset(map(IPv4Address, items(self.endpoint)))


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable is missing or wrong. The message names it.
    """
    kind = _kind(required(environ, "DATABASE_KIND"))
    policy = _policy(kind, environ)
    return Settings(
        kind=kind,
        endpoint=_endpoint(kind, required(environ, "DATABASE_ENDPOINT")),
        identifier=_cluster_identifier(environ) if kind.is_cluster else "",
        target_group_arn=_target_group_arn(required(environ, "TARGET_GROUP_ARN")),
        policy=policy,
        vpc_networks=networks("VPC_NETWORKS", environ.get("VPC_NETWORKS", "")),
        resolvers=resolvers(environ),
        resolution=_resolution(environ),
        watch_seconds=whole_number(
            "EVENT_WATCH_DURATION_SECONDS",
            required(environ, "EVENT_WATCH_DURATION_SECONDS"),
            _LONGEST_WATCH,
        ),
        dns_poll_seconds=whole_number(
            "DNS_POLL_INTERVAL_SECONDS",
            given(environ, "DNS_POLL_INTERVAL_SECONDS", "0"),
            _LONGEST_PAUSE,
            lowest=0,
        ),
        follow_writer=one_of(
            "FOLLOW_WRITER_WITHOUT_READERS",
            given(environ, "FOLLOW_WRITER_WITHOUT_READERS", "false"),
            FLAGS,
        ),
        vpc_id=_vpc_id(environ) if policy.serving_standby else "",
        security_groups=_security_groups(environ) if policy.serving_standby else (),
        alarm_topic_arn=alarm_topic_arn(environ),
        stack=stack_name(environ),
    )


def _policy(kind: DatabaseKind, environ: Mapping[str, str]) -> SyncPolicy:
    return SyncPolicy(
        port=whole_number("DATABASE_PORT", required(environ, "DATABASE_PORT"), HIGHEST_PORT),
        allowed_networks=networks("ALLOWED_NETWORKS", required(environ, "ALLOWED_NETWORKS")),
        max_targets=max_targets(environ),
        serving_standby=_serving_standby(kind, environ),
    )


def _serving_standby(kind: DatabaseKind, environ: Mapping[str, str]) -> bool:
    keep = one_of("STANDBY_TARGETS", given(environ, "STANDBY_TARGETS", "none"), _STANDBY_TARGETS)
    if keep and kind is not DatabaseKind.RDS_INSTANCE:
        raise SettingsError(
            f"STANDBY_TARGETS may be serving for rds-instance only, not for {kind}: any other"
            " former server may accept connections and would get traffic"
        )
    return keep


def _vpc_id(environ: Mapping[str, str]) -> str:
    return matching("VPC_ID", required(environ, "VPC_ID"), _VPC_ID, "the ID of a VPC")


def _security_groups(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = required(environ, "DATABASE_SECURITY_GROUPS")
    matching(
        "DATABASE_SECURITY_GROUPS", text, _SECURITY_GROUP_IDS, "IDs of security groups with commas"
    )
    return tuple(items(text))


def _resolution(environ: Mapping[str, str]) -> DnsResolution:
    meanings = {str(resolution): resolution for resolution in DnsResolution}
    resolution = one_of("DNS_RESOLUTION", given(environ, "DNS_RESOLUTION", "system"), meanings)
    if resolution is DnsResolution.AUTHORITATIVE and items(environ.get("RESOLVERS", "")):
        raise SettingsError(
            "DNS_RESOLUTION is authoritative and RESOLVERS are given, which are asked and nobody"
            " else: leave one of them out"
        )
    return resolution


def _kind(text: str) -> DatabaseKind:
    followed = [kind.value for kind in DatabaseKind if kind is not DatabaseKind.EC2_ASG]
    if text not in followed:
        raise SettingsError(f"DATABASE_KIND must be one of {', '.join(followed)}, not {text!r}")
    return DatabaseKind(text)


def _endpoint(kind: DatabaseKind, text: str) -> str:
    if kind is DatabaseKind.STATIC:
        return _addresses(text)
    if kind is DatabaseKind.EC2_INSTANCE:
        return _instance_id(text)
    return _host_name(text)


def _addresses(text: str) -> str:
    try:
        addresses = [str(IPv4Address(item)) for item in items(text)]
    except AddressValueError as error:
        raise SettingsError(
            f"DATABASE_ENDPOINT of kind static must be IPv4 addresses such as 10.1.2.3,10.1.2.4:"
            f" {error}"
        ) from error
    if not addresses:
        raise SettingsError("DATABASE_ENDPOINT of kind static has no address")
    return ",".join(addresses)


def _instance_id(text: str) -> str:
    if not re.fullmatch(_INSTANCE_ID, text):
        raise SettingsError(
            "DATABASE_ENDPOINT of kind ec2-instance must be an instance ID such as"
            f" i-0123456789abcdef0, not {text!r}"
        )
    return text


def _cluster_identifier(environ: Mapping[str, str]) -> str:
    text = required(environ, "DATABASE_IDENTIFIER")
    identifier = text.lower()
    if not re.fullmatch(_CLUSTER_IDENTIFIER, identifier):
        raise SettingsError(f"DATABASE_IDENTIFIER is not the identifier of a DB cluster: {text!r}")
    return identifier


def _host_name(text: str) -> str:
    name = text.lower()
    if not re.fullmatch(_HOST_NAME, name) or is_address(name):
        raise SettingsError(
            f"DATABASE_ENDPOINT must be a full host name such as"
            f" orders.abc123.eu-west-1.rds.amazonaws.com, not {text!r}"
        )
    return name.rstrip(".")


def _target_group_arn(text: str) -> str:
    return matching("TARGET_GROUP_ARN", text, _TARGET_GROUP_ARN, "the ARN of a target group")
