"""The settings of the sync function: its environment as a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address

from target_sync.environment import (
    alarm_topic_arn,
    flag,
    ids,
    is_address,
    items,
    matching,
    max_targets,
    networks,
    one_of,
    optional,
    required,
    resolvers,
    stack_name,
    target_group_arn,
    whole_number,
)
from target_sync.errors import SettingsError
from target_sync.model import HIGHEST_PORT, DatabaseKind, IPNetwork, SyncPolicy

# The patterns are lower case: a pattern that ignores case takes several times as long to compile.
_HOST_NAME = (
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?"
)
_INSTANCE_ID = r"i-[0-9a-f]{8,17}"
#: RDS API reference, CreateDBCluster, DBClusterIdentifier.
_CLUSTER_IDENTIFIER = r"[a-z](-?[a-z0-9])*"
_VPC_ID = r"vpc-[0-9a-f]+"
_SECURITY_GROUP_ID = r"sg-[0-9a-f]+"
_LONGEST_WATCH_SECONDS = 900
_LONGEST_POLL_SECONDS = 30
#: The warm targets beside the serving ones. An instance has one standby; a cluster has few readers.
_WARM_TARGETS = 5


class DnsResolution(StrEnum):
    """Which DNS servers resolve a name."""

    #: The given resolvers, or the system's.
    SYSTEM = "system"
    #: The name servers of the name's own zone.
    AUTHORITATIVE = "authoritative"


class StandbyTargets(StrEnum):
    """Which targets stay registered although the database is not there now."""

    NONE = "none"
    #: The standby of an RDS instance, and the load balancer reaches it.
    SERVING = "serving"
    #: The addresses that the database may move to, and the load balancer does not reach them.
    WARM = "warm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the sync function.

    Attributes:
        kind: The kind of the database (``DATABASE_KIND``).
        endpoint: The database's host name or instance ID, or its addresses, separated by commas
            (``DATABASE_ENDPOINT``).
        identifier: The DB cluster's identifier; empty for other kinds (``DATABASE_IDENTIFIER``).
        target_group_arn: The target group (``TARGET_GROUP_ARN``).
        policy: The limits for the targets (``DATABASE_PORT``, ``ALLOWED_NETWORKS``,
            ``MAX_TARGETS``, ``STANDBY_TARGETS``).
        vpc_networks: The networks of the target group's VPC; empty if every target is in it
            (``VPC_NETWORKS``).
        resolvers: DNS servers as (address, port); empty for the system's (``RESOLVERS``).
        resolution: Which DNS servers resolve the endpoint (``DNS_RESOLUTION``).
        watch_seconds: How long a run watches after an event (``EVENT_WATCH_DURATION_SECONDS``).
        dns_poll_seconds: Seconds between the DNS polls of a scheduled run, which then lasts until
            the next run; 0 for no polls (``DNS_POLL_INTERVAL_SECONDS``), and if the kind does not
            use DNS.
        follow_writer: Whether the writer is the target of a cluster without readers
            (``FOLLOW_WRITER_WITHOUT_READERS``).
        standby_targets: Which targets stay registered (``STANDBY_TARGETS``). Warm targets need
            ``OUTBOUND_RULES_GROUP``; without it none is kept.
        vpc_id: The database's VPC; empty unless the standby of an instance may stay registered,
            and if it is not known (``VPC_ID``).
        security_groups: The database's security groups; empty as the VPC
            (``DATABASE_SECURITY_GROUPS``).
        subnets: The subnets of the database's subnet group; empty as the VPC, and if they are not
            known (``DATABASE_SUBNETS``).
        outbound_rules_group: The security group of the load balancer whose outbound rules let it
            reach the targets; empty if other rules do (``OUTBOUND_RULES_GROUP``).
        alarm_topic_arn: The SNS topic for people; empty for none (``ALARM_TOPIC_ARN``).
        stack: The name of the stack, for messages (``POWERTOOLS_SERVICE_NAME``).
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
    standby_targets: StandbyTargets = StandbyTargets.NONE
    vpc_id: str = ""
    security_groups: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    outbound_rules_group: str = ""
    alarm_topic_arn: str = ""
    stack: str = "postgres-privatelink"

    @property
    def addresses(self) -> frozenset[IPv4Address]:
        """The addresses of a static endpoint."""
        return frozenset(map(IPv4Address, self.endpoint.split(",")))


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings from the environment.

    Raises:
        SettingsError: A variable is missing or invalid. The message names it.
    """
    kind = _kind(environ)
    outbound_rules_group = _outbound_rules_group(environ)
    standby_targets = _standby_targets(kind, environ, has_switch=bool(outbound_rules_group))
    policy = _policy(kind, standby_targets, environ)
    needs_network = kind is DatabaseKind.RDS_INSTANCE and (
        standby_targets is StandbyTargets.SERVING
        # The template sets no network for a name that it does not know as an instance's.
        or (standby_targets is StandbyTargets.WARM and bool(optional(environ, "VPC_ID")))
    )
    dns_poll_seconds = whole_number(
        environ, "DNS_POLL_INTERVAL_SECONDS", _LONGEST_POLL_SECONDS, lowest=0, default="0"
    )
    return Settings(
        kind=kind,
        endpoint=_endpoint(kind, environ),
        identifier=_cluster_identifier(environ) if kind.is_cluster else "",
        target_group_arn=target_group_arn(environ),
        policy=policy,
        vpc_networks=networks(environ, "VPC_NETWORKS", ""),
        resolvers=resolvers(environ),
        resolution=_resolution(environ),
        watch_seconds=whole_number(environ, "EVENT_WATCH_DURATION_SECONDS", _LONGEST_WATCH_SECONDS),
        dns_poll_seconds=dns_poll_seconds if kind.uses_dns else 0,
        follow_writer=flag(environ, "FOLLOW_WRITER_WITHOUT_READERS", "false"),
        standby_targets=standby_targets,
        vpc_id=_vpc_id(environ) if needs_network else "",
        security_groups=ids(environ, "DATABASE_SECURITY_GROUPS", "sg") if needs_network else (),
        subnets=ids(environ, "DATABASE_SUBNETS", "subnet", "") if needs_network else (),
        outbound_rules_group=outbound_rules_group,
        alarm_topic_arn=alarm_topic_arn(environ),
        stack=stack_name(environ),
    )


def _policy(
    kind: DatabaseKind, standby_targets: StandbyTargets, environ: Mapping[str, str]
) -> SyncPolicy:
    # Given addresses move nowhere.
    is_warm = standby_targets is StandbyTargets.WARM and kind is not DatabaseKind.STATIC
    return SyncPolicy(
        port=whole_number(environ, "DATABASE_PORT", HIGHEST_PORT),
        allowed_networks=networks(environ, "ALLOWED_NETWORKS"),
        max_targets=max_targets(environ),
        serving_standby=standby_targets is StandbyTargets.SERVING,
        warm_targets=_WARM_TARGETS if is_warm else 0,
    )


def _standby_targets(
    kind: DatabaseKind, environ: Mapping[str, str], *, has_switch: bool
) -> StandbyTargets:
    values = {str(value): value for value in StandbyTargets}
    chosen = one_of(environ, "STANDBY_TARGETS", values, "none")
    if chosen is StandbyTargets.SERVING and kind is not DatabaseKind.RDS_INSTANCE:
        raise SettingsError(
            f"STANDBY_TARGETS may be serving for rds-instance only, not for {kind}: any other"
            " former server may accept connections and would get traffic"
        )
    if chosen is StandbyTargets.WARM and not has_switch:
        return StandbyTargets.NONE
    return chosen


def _vpc_id(environ: Mapping[str, str]) -> str:
    return matching("VPC_ID", required(environ, "VPC_ID"), _VPC_ID, "the ID of a VPC")


def _outbound_rules_group(environ: Mapping[str, str]) -> str:
    name = "OUTBOUND_RULES_GROUP"
    text = optional(environ, name)
    return text and matching(name, text, _SECURITY_GROUP_ID, "the ID of a security group")


def _resolution(environ: Mapping[str, str]) -> DnsResolution:
    values = {str(resolution): resolution for resolution in DnsResolution}
    resolution = one_of(environ, "DNS_RESOLUTION", values, "system")
    if resolution is DnsResolution.AUTHORITATIVE and items(environ, "RESOLVERS", ""):
        raise SettingsError(
            "DNS_RESOLUTION is authoritative and RESOLVERS has servers, which exclude each other:"
            " set DNS_RESOLUTION to system or leave RESOLVERS empty"
        )
    return resolution


def _kind(environ: Mapping[str, str]) -> DatabaseKind:
    text = required(environ, "DATABASE_KIND")
    kinds = [kind.value for kind in DatabaseKind if kind is not DatabaseKind.EC2_ASG]
    if text not in kinds:
        raise SettingsError(f"DATABASE_KIND must be one of {', '.join(kinds)}, not {text!r}")
    return DatabaseKind(text)


def _endpoint(kind: DatabaseKind, environ: Mapping[str, str]) -> str:
    text = required(environ, "DATABASE_ENDPOINT")
    if kind is DatabaseKind.STATIC:
        return _addresses(items(environ, "DATABASE_ENDPOINT"))
    if kind is DatabaseKind.EC2_INSTANCE:
        description = "an instance ID such as i-0123456789abcdef0"
        return matching("DATABASE_ENDPOINT", text, _INSTANCE_ID, description)
    return _host_name(text)


def _addresses(texts: list[str]) -> str:
    try:
        addresses = [str(IPv4Address(text)) for text in texts]
    except AddressValueError as error:
        raise SettingsError(
            f"DATABASE_ENDPOINT of kind static must be IPv4 addresses such as 10.1.2.3,10.1.2.4:"
            f" {error}"
        ) from error
    if not addresses:
        raise SettingsError("DATABASE_ENDPOINT of kind static has no address")
    return ",".join(addresses)


def _cluster_identifier(environ: Mapping[str, str]) -> str:
    text = required(environ, "DATABASE_IDENTIFIER").lower()
    return matching(
        "DATABASE_IDENTIFIER", text, _CLUSTER_IDENTIFIER, "the identifier of a DB cluster"
    )


def _host_name(text: str) -> str:
    name = text.lower()
    if not re.fullmatch(_HOST_NAME, name) or is_address(name):
        raise SettingsError(
            f"DATABASE_ENDPOINT must be a full host name such as"
            f" orders.abc123.eu-west-1.rds.amazonaws.com, not {text!r}"
        )
    return name.rstrip(".")
