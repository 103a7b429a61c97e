"""What the stack needs to know of a database, decided from what the AWS APIs say.

Nothing here asks an API: the facts come in, the decision or a refusal goes out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Protocol

from target_sync.endpoints.names import EndpointType, NamedEndpoint, addresses
from target_sync.errors import RejectedInputError
from target_sync.model import HIGHEST_PORT, TARGET_NETWORKS, AwsScope, DatabaseKind, IPNetwork

DEFAULT_PORT = 5432
#: What stands for "no ARN at all" in an event rule, which must not have an empty list.
NO_RESOURCES = ("none",)
#: A load balancer needs two, so that a zone can fail (dbt asks for it too).
LEAST_ZONES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the parameters say themselves; the rest is looked up.

    Attributes:
        port: ``DatabasePort``; None if not given.
        vpc_id: ``VpcId``; empty if not given.
        subnet_ids: ``SubnetIds``; empty if not given.
        allowed_networks: ``AllowedNetworks``; empty if not given.
    """

    port: int | None = None
    vpc_id: str = ""
    subnet_ids: tuple[str, ...] = ()
    allowed_networks: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What an API says of a database, whatever it is.

    Attributes:
        identifier: How the API knows it.
        names: Its endpoint for each way to follow it.
        aliases: Further names of it, for example a custom endpoint.
        port: Where it listens; None if the API does not say.
        vpc_id: Its VPC.
        subnet_ids: Where it may run; empty if the API does not say.
        security_group_ids: Its security groups.
        zones: The Availability Zones in which it has a server now.
        public: Whether its name gives a public address outside its VPC.
        member_of: The cluster that it belongs to; empty if none.
        event_resources: ARNs whose events tell of a change.
    """

    identifier: str
    names: Mapping[DatabaseKind, str]
    aliases: tuple[str, ...] = ()
    port: int | None = None
    vpc_id: str
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    zones: frozenset[str] = frozenset()
    public: bool = False
    member_of: str = ""
    event_resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One subnet. An unusable one takes no load balancer: it is not ready, or on an Outpost."""

    id: str
    vpc_id: str
    zone: str
    usable: bool = True


class DatabaseCatalog(Protocol):
    """The AWS APIs that know databases and networks. What is not there is None."""

    def instance(self, identifier: str) -> Database | None:
        """An RDS instance by its identifier."""
        ...

    def cluster(self, identifier: str) -> Database | None:
        """An Aurora or Multi-AZ DB cluster by its identifier."""
        ...

    def cluster_of_custom_endpoint(self, identifier: str) -> Database | None:
        """The cluster to which a custom endpoint belongs; the endpoint's name is an alias."""
        ...

    def proxy(self, name: str) -> Database | None:
        """An RDS proxy by its name."""
        ...

    def proxy_of_endpoint(self, name: str) -> Database | None:
        """The proxy to which an additional endpoint belongs, seen through that endpoint."""
        ...

    def ec2_instance(self, identifier: str) -> Database | None:
        """An EC2 instance that is not terminated and has a private address."""
        ...

    def subnets(self, identifiers: Sequence[str]) -> tuple[Subnet, ...] | None:
        """These subnets; None if one of them is not there."""
        ...

    def networks(self, vpc_id: str) -> tuple[IPNetwork, ...] | None:
        """The IPv4 networks of a VPC; None if it is not there."""
        ...


class AutoScalingPort(Protocol):
    """The Auto Scaling API."""

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        """ARNs of the target groups of an Auto Scaling group; None if it does not exist."""
        ...

    def attach(self, group: str, target_group_arn: str) -> None:
        """Attach a target group: AWS registers every instance, now and in future."""
        ...

    def detach(self, group: str, target_group_arn: str) -> None:
        """Detach a target group: AWS deregisters the group's instances."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where the load balancer goes.

    Attributes:
        vpc_id: Its VPC.
        subnet_ids: One subnet for each zone, in the order of the zones.
        networks: The VPC's own networks.
        database_networks: The networks of the database's VPC; empty if it has none here.
    """

    vpc_id: str
    subnet_ids: tuple[str, ...]
    networks: tuple[IPNetwork, ...]
    database_networks: tuple[IPNetwork, ...] = ()


def read_kind(text: str) -> DatabaseKind | None:
    """``DatabaseKind``; None for ``auto``.

    Raises:
        RefusalError: It is no kind that we know.
    """
    if text in {"", "auto"}:
        return None
    try:
        return DatabaseKind(text)
    except ValueError:
        known = ", ".join(["auto", *DatabaseKind])
        raise RejectedInputError(
            f"DatabaseKind {text!r} is not known: set one of {known}."
        ) from None


def read_overrides(
    *, port: str, vpc_id: str, subnet_ids: Iterable[str], allowed_networks: Iterable[str]
) -> Overrides:
    """The parameters as values; an empty text means "look it up".

    Raises:
        RefusalError: One of them cannot be read.
    """
    return Overrides(
        port=_port(port),
        vpc_id=vpc_id.strip(),
        subnet_ids=tuple(filter(None, (item.strip() for item in subnet_ids))),
        allowed_networks=tuple(
            _network(text) for text in filter(None, (item.strip() for item in allowed_networks))
        ),
    )


def _port(text: str) -> int | None:
    if text.strip() in {"", "0"}:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise RejectedInputError(
            f"DatabasePort {text!r} is no port: give 1 to {HIGHEST_PORT}, or leave it out."
        )
    return int(text)


def _network(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        raise RejectedInputError(
            f"AllowedNetworks has {text!r}, which is no network ({error}): give networks such as"
            " 10.20.0.0/16, separated by commas."
        ) from None


def check_found(subject: NamedEndpoint, database: Database | None, place: AwsScope) -> Database:
    """The database, unless it is not there, is not what was named, or cannot be followed.

    Raises:
        RefusalError: With the sentence that says which of them it is.
    """
    if database is None:
        raise RejectedInputError(
            f"DatabaseEndpoint {subject.endpoint} looks like {subject.shape}, but there is no"
            f" {subject.identifier} in {place}: deploy in the database's account and Region, or"
            " correct the name."
        )
    names = {*database.names.values(), *database.aliases}
    if subject.endpoint not in names:
        raise RejectedInputError(
            f"DatabaseEndpoint {subject.endpoint} is not the endpoint of {subject.identifier} in"
            f" {place}, which is {' or '.join(sorted(names))}: give that name, or deploy in the"
            " account of the other database."
        )
    if subject.kind is None:
        raise RejectedInputError(
            f"DatabaseEndpoint {subject.endpoint} is a custom endpoint, whose chosen members"
            " cannot be followed: give"
            f" {' or '.join(sorted(database.names.values()))}, or set"
            " DatabaseKind=rds-cluster-readers to follow all readers of its cluster."
        )
    if database.public:
        raise RejectedInputError(
            f"DatabaseEndpoint {subject.endpoint} is publicly accessible, so its name leads to a"
            " public address, which no target group takes: turn public access off for"
            f" {database.identifier} (PubliclyAccessible) and deploy again."
        )
    if not database.vpc_id:
        raise RejectedInputError(
            f"DatabaseEndpoint {subject.endpoint} has no server in a VPC yet: add an instance to"
            f" {database.identifier} and deploy again."
        )
    if subject.kind not in database.names:
        raise RejectedInputError(
            f"DatabaseKind {subject.kind} cannot be, since {database.identifier} has no such"
            f" endpoint: give {' or '.join(sorted(names))} with DatabaseKind=auto."
        )
    return database


def check_not_a_member(subject: NamedEndpoint, database: Database, *, kind_was_said: bool) -> None:
    """Refuse an instance of a cluster, unless somebody wants that one whatever its role.

    Raises:
        RefusalError: It is ambiguous.
    """
    if subject.shape is EndpointType.INSTANCE and database.member_of and not kind_was_said:
        raise RejectedInputError(
            f"DatabaseEndpoint {subject.endpoint} is one server of the cluster"
            f" {database.member_of} and may be its writer today and a reader tomorrow: give the"
            " cluster's writer or reader endpoint, or set DatabaseKind=rds-instance to follow"
            " this server whatever its role."
        )


def check_standby(subject: NamedEndpoint, database: Database | None) -> None:
    """Refuse to keep the former target of anything but an RDS instance of its own.

    Only the standby of a Multi-AZ instance serves nobody (RDS user guide, "Multi-AZ DB instance
    deployments"). A former target that accepts connections is healthy, and gets traffic.

    Raises:
        RefusalError: It is something else.
    """
    if subject.kind is not DatabaseKind.RDS_INSTANCE or (database and database.member_of):
        raise RejectedInputError(
            f"StandbyTargets is serving, but DatabaseEndpoint {subject.endpoint} is followed as"
            f" {subject.kind}{_membership(database)}, where a former server may go on accepting"
            " connections and would get traffic: leave StandbyTargets at none."
        )


def _membership(database: Database | None) -> str:
    return f" in the cluster {database.member_of}" if database and database.member_of else ""


def wanted_subnets(
    subject: NamedEndpoint, database: Database | None, overrides: Overrides
) -> tuple[str, ...]:
    """The subnets to choose from.

    Raises:
        RefusalError: Nobody names any.
    """
    wanted = overrides.subnet_ids or (database.subnet_ids if database else ())
    if not wanted:
        raise RejectedInputError(
            f"SubnetIds is needed for DatabaseKind {subject.kind}, since no RDS API knows the"
            " network: give VpcId, and in SubnetIds one subnet in each of two or more"
            " Availability Zones from which the database can be reached."
        )
    return wanted


def choose_vpc(
    subnets: Sequence[Subnet] | None, database: Database | None, overrides: Overrides
) -> str:
    """The load balancer's VPC: that of its subnets.

    Raises:
        RefusalError: The subnets are not there, or contradict VpcId or the database.
    """
    if subnets is None:
        raise RejectedInputError(
            f"SubnetIds {', '.join(overrides.subnet_ids)} are not all in this account and"
            " Region: give existing subnets, or leave SubnetIds out for an RDS database."
        )
    vpcs = sorted({subnet.vpc_id for subnet in subnets})
    if len(vpcs) > 1:
        raise RejectedInputError(
            f"SubnetIds lie in several VPCs ({', '.join(vpcs)}): give subnets of one VPC."
        )
    (vpc_id,) = vpcs
    if overrides.vpc_id and overrides.vpc_id != vpc_id:
        raise RejectedInputError(
            f"VpcId is {overrides.vpc_id}, but the subnets"
            f" {', '.join(subnet.id for subnet in subnets)} are in {vpc_id}: give SubnetIds of"
            f" {overrides.vpc_id}, or leave VpcId out."
        )
    if database and database.vpc_id != vpc_id and not overrides.vpc_id:
        raise RejectedInputError(
            f"SubnetIds are in {vpc_id}, but the database is in {database.vpc_id}: give subnets"
            f" of {database.vpc_id}, or, if the two VPCs are connected, also set VpcId={vpc_id}."
        )
    return vpc_id


def choose_subnets(
    subnets: Sequence[Subnet], database: Database | None, overrides: Overrides
) -> tuple[str, ...]:
    """One subnet for each zone: given ones as they are, else always the same of each zone.

    Raises:
        RefusalError: They are too few, two are in one zone, or a zone of the database is
            left out.
    """
    by_zone: dict[str, str] = {}
    for subnet in sorted(subnets, key=lambda subnet: subnet.id):
        if not subnet.usable:
            continue
        if overrides.subnet_ids and subnet.zone in by_zone:
            raise RejectedInputError(
                f"SubnetIds has {by_zone[subnet.zone]} and {subnet.id}, both in {subnet.zone}: a"
                " load balancer takes one subnet for each Availability Zone; leave one out."
            )
        by_zone.setdefault(subnet.zone, subnet.id)
    if len(by_zone) < LEAST_ZONES:
        raise RejectedInputError(
            f"SubnetIds would cover {len(by_zone)} Availability Zone(s)"
            f" ({', '.join(sorted(by_zone)) or 'none usable'}), and a load balancer needs at"
            f" least {LEAST_ZONES}: add a subnet in another zone to the database's subnet group,"
            " or name subnets of two zones in SubnetIds."
        )
    _check_zones(by_zone, subnets[0].vpc_id, database)
    return tuple(by_zone[zone] for zone in sorted(by_zone))


def _check_zones(by_zone: Mapping[str, str], vpc_id: str, database: Database | None) -> None:
    """A target in a zone of its VPC without the load balancer gets no traffic (NLB user guide)."""
    if database is None or database.vpc_id != vpc_id:
        return
    if left_out := sorted(database.zones - by_zone.keys()):
        raise RejectedInputError(
            f"SubnetIds leaves out {', '.join(left_out)}, where {database.identifier} has a"
            " server, which would get no traffic there: add a subnet of that zone to SubnetIds."
        )


def check_vpc(vpc_id: str, networks: Sequence[IPNetwork] | None) -> tuple[IPNetwork, ...]:
    """The VPC's networks.

    Raises:
        RefusalError: The VPC is not there.
    """
    if not networks:
        raise RejectedInputError(f"VpcId {vpc_id} has no IPv4 network here: give the VPC's own ID.")
    return tuple(networks)


def conclude(
    subject: NamedEndpoint, database: Database | None, overrides: Overrides, network: Network
) -> Mapping[str, object]:
    """The attributes of the custom resource.

    Raises:
        RefusalError: A given port or network contradicts the database.
    """
    kind = subject.kind
    allowed = _allowed_networks(subject, overrides, network)
    groups = sorted(database.security_group_ids) if database else []
    events = database.event_resources if database else ()
    return {
        "Kind": str(kind),
        "Endpoint": database.names[kind] if database and kind else subject.endpoint,
        "Identifier": database.identifier if database else subject.identifier,
        "Port": str(_chosen_port(database, overrides)),
        "VpcId": network.vpc_id,
        "SubnetIds": list(network.subnet_ids),
        "SecurityGroupId": groups[0] if groups else "",
        "SecurityGroupIds": ",".join(groups),
        "DatabaseVpcId": database.vpc_id if database else "",
        "VpcNetworks": ",".join(map(str, network.networks)),
        "AllowedNetworks": ",".join(map(str, allowed)),
        "EventResources": list(events or NO_RESOURCES),
    }


def _chosen_port(database: Database | None, overrides: Overrides) -> int:
    known = database.port if database else None
    if known and overrides.port and known != overrides.port:
        raise RejectedInputError(
            f"DatabasePort is {overrides.port}, but {database.identifier if database else ''}"
            f" listens on {known}: leave DatabasePort out, or set {known}."
        )
    return overrides.port or known or DEFAULT_PORT


def _allowed_networks(
    subject: NamedEndpoint, overrides: Overrides, network: Network
) -> tuple[IPNetwork, ...]:
    allowed = overrides.allowed_networks or network.database_networks or TARGET_NETWORKS
    if network.database_networks and not _overlap(allowed, network.database_networks):
        raise RejectedInputError(
            f"AllowedNetworks {_listed(allowed)} has no address of the database's VPC"
            f" ({_listed(network.database_networks)}), so no target could ever be registered:"
            " leave AllowedNetworks out, or give networks of that VPC."
        )
    if subject.kind is DatabaseKind.STATIC:
        outside = [
            address
            for address in addresses(subject.endpoint)
            if not any(address in net for net in allowed)
        ]
        if outside:
            raise RejectedInputError(
                f"DatabaseEndpoint {_listed(outside)} is outside AllowedNetworks"
                f" {_listed(allowed)}: give private addresses of the database, or extend"
                " AllowedNetworks."
            )
    return allowed


def _overlap(some: Iterable[IPNetwork], others: Iterable[IPNetwork]) -> bool:
    others = tuple(others)
    return any(one.overlaps(other) for one in some for other in others)


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
