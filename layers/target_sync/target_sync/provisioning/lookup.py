"""The facts that the stack needs about a database, and the checks of the parameters against them.

Pure: `resources/database_lookup.py` makes the API calls. A function that finds an invalid parameter
raises a ``RejectedInputError``, whose message says what to correct.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from target_sync.endpoints.names import EndpointType, NamedEndpoint, addresses
from target_sync.errors import RejectedInputError
from target_sync.model import HIGHEST_PORT, TARGET_NETWORKS, AwsScope, DatabaseKind, IPNetwork
from target_sync.provisioning.ports import Database, Subnet
from target_sync.provisioning.request import Properties

#: The port where no API knows it.
DEFAULT_PORT = 5432
#: The engines of instances and clusters, and the engine family of proxies.
POSTGRESQL = frozenset({"postgres", "aurora-postgresql", "POSTGRESQL"})
#: Stands for no ARN in an event rule, which must not have an empty list.
NO_RESOURCES = ("none",)
#: The load balancer survives the failure of a zone only with two (dbt requires it too).
MIN_ZONES = 2
#: The free addresses that AWS requires in each subnet of a new load balancer (NLB guide, "Update
#: the Availability Zones").
MIN_FREE_ADDRESSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """The parameters that replace looked-up values. The stack looks up what is missing."""

    port: int | None = None
    manage_ingress: str = ""
    vpc_id: str = ""
    subnet_ids: tuple[str, ...] = ()
    function_subnet_ids: tuple[str, ...] = ()
    allowed_networks: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The network of the load balancer.

    Attributes:
        subnet_ids: One subnet for each zone, in the order of the zones.
        subnet_networks: The networks of these subnets.
        left_out: The zones without one, because they accept no load balancer: each ID by its name.
        database_networks: The networks of the database's VPC; empty if AWS does not know it.
    """

    vpc_id: str
    subnet_ids: tuple[str, ...]
    subnet_networks: tuple[IPNetwork, ...]
    left_out: Mapping[str, str]
    networks: tuple[IPNetwork, ...]
    database_networks: tuple[IPNetwork, ...] = ()


def read_kind(text: str) -> DatabaseKind | None:
    """Return ``DatabaseKind``; None for ``auto``."""
    if text in {"", "auto"}:
        return None
    try:
        return DatabaseKind(text)
    except ValueError:
        known = ", ".join(["auto", *DatabaseKind])
        raise RejectedInputError(f"DatabaseKind {text!r} is unknown: set one of {known}.") from None


def read_overrides(properties: Properties) -> Overrides:
    """Return the parameters as values. The stack looks an empty one up."""
    return Overrides(
        port=_read_port(properties.text("DatabasePort")),
        manage_ingress=properties.text("ManageDatabaseIngress"),
        vpc_id=properties.text("VpcId"),
        subnet_ids=properties.items("SubnetIds"),
        function_subnet_ids=properties.items("FunctionSubnetIds"),
        allowed_networks=tuple(map(_read_network, properties.items("AllowedNetworks"))),
    )


def _read_port(text: str) -> int | None:
    if text in {"", "0"}:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise RejectedInputError(
            f"DatabasePort {text!r} is not a port: give 1 to {HIGHEST_PORT}, or leave it out."
        )
    return int(text)


def _read_network(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        raise RejectedInputError(
            f"AllowedNetworks has {text!r}, which is not a network ({error}): give networks such as"
            " 10.20.0.0/16, separated by commas."
        ) from None


def check_found(named: NamedEndpoint, database: Database | None, scope: AwsScope) -> Database:
    """Return the database that DatabaseEndpoint names, if it exists and can be followed."""
    if database is None:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint} names {named.type}, but there is no"
            f" {named.identifier} in {scope}: deploy in the database's account and Region, or"
            " correct the name."
        )
    if not database.names:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint} names {named.type}. {database.identifier} exists in"
            f" {scope}, but its status is {database.status} and it has no endpoint yet: wait until"
            " it is available, and deploy again."
        )
    names = {*database.names.values(), *database.aliases}
    if named.endpoint not in names:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint} is not the endpoint of {named.identifier} in"
            f" {scope}, which is {' or '.join(sorted(names))}: give that name, or deploy in the"
            " account of the other database."
        )
    if named.kind is None:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint} is a custom endpoint, whose chosen members"
            " cannot be followed: give"
            f" {' or '.join(sorted(database.names.values()))}, or set"
            " DatabaseKind=rds-cluster-readers to follow all readers of its cluster."
        )
    if not database.vpc_id:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint} has no server in a VPC yet: add an instance to"
            f" {database.identifier} and deploy again."
        )
    if named.kind not in database.names:
        raise RejectedInputError(
            f"DatabaseKind is {named.kind}, but {database.identifier} has no such endpoint: give"
            f" {' or '.join(sorted(names))} with DatabaseKind=auto."
        )
    return database


def check_writer(named: NamedEndpoint, database: Database, scope: AwsScope) -> None:
    """Reject the writer of a cluster that has none, for example of a secondary cluster."""
    if named.kind is DatabaseKind.RDS_CLUSTER_WRITER and not database.has_writer:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint}: there is no writer of {database.identifier} in"
            f" {scope.region}, as in the secondary cluster of a global database: give the reader"
            " endpoint here, and deploy a stack for the writer in its Region. If the cluster fails"
            " over right now, deploy again."
        )


def check_public(
    named: NamedEndpoint, database: Database | None, vpc_id: str, properties: Properties
) -> None:
    """Reject a publicly accessible database, unless the functions get its private address.

    The name resolves to the private address only for the DNS server of the database's own VPC (RDS
    user guide, "Hiding a DB instance in a VPC from the internet"). ``vpc_id`` is the VPC of the
    load balancer and of FunctionSubnetIds. DnsResolution does not matter, because the function uses
    only private addresses of the zone's own servers.
    """
    if database is None or not database.public:
        return
    asks_vpc = properties.text("FunctionSubnetIds") and not properties.text("Resolvers")
    if asks_vpc and vpc_id == database.vpc_id:
        return
    raise RejectedInputError(
        f"DatabaseEndpoint {named.endpoint} is publicly accessible, so outside its VPC its name"
        " resolves to a public address, which a target group does not accept: turn public access"
        f" off for {database.identifier} (PubliclyAccessible), or set FunctionSubnetIds to subnets"
        f" of {database.vpc_id}, with Resolvers empty, so that the functions get its private"
        " address."
    )


def check_engine(named: NamedEndpoint, database: Database) -> None:
    """Reject a database that is not PostgreSQL, if an API knows its engine."""
    if database.engine is not None and database.engine not in POSTGRESQL:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint} names {database.identifier}, which has the engine"
            f" {database.engine or 'unknown'}: give the endpoint of a PostgreSQL database."
        )


def check_not_a_member(named: NamedEndpoint, database: Database, *, kind_is_auto: bool) -> None:
    """Reject an instance of a cluster, unless DatabaseKind asks for that instance."""
    if named.type is EndpointType.INSTANCE and database.member_of and kind_is_auto:
        raise RejectedInputError(
            f"DatabaseEndpoint {named.endpoint} is one server of the cluster"
            f" {database.member_of}, and its role can change: give the cluster's writer or reader"
            " endpoint, or set DatabaseKind=rds-instance to follow this server in any role."
        )


def check_standby(named: NamedEndpoint, database: Database | None) -> None:
    """Reject ``StandbyTargets=serving`` for any database but an RDS instance outside a cluster.

    Only the standby of a Multi-AZ instance accepts no connections (RDS user guide, "Multi-AZ DB
    instance deployments"). A former target that accepts connections is healthy and gets traffic.
    """
    cluster = f" in the cluster {database.member_of}" if database and database.member_of else ""
    if named.kind is not DatabaseKind.RDS_INSTANCE or cluster:
        raise RejectedInputError(
            f"StandbyTargets is serving, but DatabaseEndpoint {named.endpoint} is followed as"
            f" {named.kind}{cluster}, and a former server can still accept"
            " connections and get traffic: set StandbyTargets to warm or none."
        )


def candidate_subnets(
    named: NamedEndpoint,
    database: Database | None,
    overrides: Overrides,
    standing: Collection[str],
) -> tuple[str, ...]:
    """Return the subnets to choose from, by the parameters or else by the API.

    ``standing``: the subnets that the load balancer has already.
    """
    candidates = overrides.subnet_ids or (database.subnet_ids if database else ())
    if not candidates:
        raise RejectedInputError(
            f"SubnetIds is needed for DatabaseKind {named.kind}, because AWS cannot look its"
            " network up: give VpcId, and in SubnetIds one subnet in each of two or more"
            " Availability Zones from which the database can be reached."
        )
    if overrides.subnet_ids:
        return candidates
    return tuple(sorted({*candidates, *standing}))


def choose_vpc(
    subnets: Sequence[Subnet] | None, database: Database | None, overrides: Overrides
) -> str:
    """Return the load balancer's VPC, which is the VPC of its subnets."""
    if subnets is None:
        raise RejectedInputError(
            f"SubnetIds {', '.join(overrides.subnet_ids)} are not all in this account and"
            " Region: give existing subnets, or leave SubnetIds out for an RDS database."
        )
    vpcs = sorted({subnet.vpc_id for subnet in subnets})
    if len(vpcs) > 1 and not overrides.subnet_ids:
        raise RejectedInputError(
            f"DatabaseEndpoint: the load balancer and the database are in two VPCs"
            f" ({', '.join(vpcs)}), and no load balancer can change its VPC: deploy a second stack"
            " for this database."
        )
    if len(vpcs) > 1:
        raise RejectedInputError(
            f"SubnetIds are in several VPCs ({', '.join(vpcs)}): give subnets of one VPC."
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


def left_out_zones(
    subnets: Sequence[Subnet], database: Database | None, excluded: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the zones of the database that accept no load balancer: each ID by its name."""
    zones = {subnet.zone for subnet in subnets}.union(database.zones if database else ())
    return {zone: excluded[zone] for zone in sorted(zones & excluded.keys())}


def choose_subnets(
    subnets: Sequence[Subnet],
    database: Database | None,
    overrides: Overrides,
    standing: Collection[str],
    left_out: Mapping[str, str],
) -> tuple[str, ...]:
    """Return one subnet for each zone, in which the load balancer can be or is already.

    The choice is always the same for the same candidates. It keeps the ``standing`` subnets, which
    the load balancer has already, because another one of the same zone would fail the update.
    """
    by_zone: dict[str, list[Subnet]] = {}
    for subnet in sorted(subnets, key=lambda it: (it.id not in standing, it.id)):
        if subnet.usable and subnet.zone not in left_out:
            by_zone.setdefault(subnet.zone, []).append(subnet)
    if overrides.subnet_ids:
        _check_one_for_each_zone(by_zone)
    if len(by_zone) < MIN_ZONES:
        raise RejectedInputError(
            f"SubnetIds would cover {len(by_zone)} Availability Zone(s)"
            f" ({', '.join(sorted(by_zone)) or 'none usable'}), and a load balancer needs at"
            f" least {MIN_ZONES}{_not_accepted(left_out)}: add a subnet in another zone to the"
            " database's subnet group, or name subnets of two zones in SubnetIds."
        )
    _check_zones({*by_zone, *left_out}, subnets[0].vpc_id, database)
    return tuple(_choose_subnet(zone, by_zone[zone], standing) for zone in sorted(by_zone))


def _not_accepted(left_out: Mapping[str, str]) -> str:
    return f" ({_zone_names(left_out)} accepts none)" if left_out else ""


def _zone_names(zones: Mapping[str, str]) -> str:
    return _list(f"{name} ({id_})" for name, id_ in zones.items())


def _check_one_for_each_zone(by_zone: Mapping[str, Sequence[Subnet]]) -> None:
    for zone, (first, *others) in by_zone.items():
        if others:
            raise RejectedInputError(
                f"SubnetIds has {first.id} and {others[0].id}, both in {zone}: a load balancer"
                " takes one subnet for each Availability Zone; leave one out."
            )


def _choose_subnet(zone: str, candidates: Sequence[Subnet], standing: Collection[str]) -> str:
    """Return the first subnet that the load balancer has, or in which it can be created."""
    for subnet in candidates:
        if subnet.id in standing or subnet.free_addresses >= MIN_FREE_ADDRESSES:
            return subnet.id
    counts = _list(f"{it.id} has {it.free_addresses}" for it in candidates)
    raise RejectedInputError(
        f"SubnetIds: a load balancer needs {MIN_FREE_ADDRESSES} free addresses in its subnet, but"
        f" in {zone} {counts}: free some there, or give SubnetIds with another subnet of {zone}"
        " and one of each other zone."
    )


def choose_endpoint_subnets(
    subnets: Sequence[Subnet] | None, vpc_id: str, overrides: Overrides
) -> Sequence[str]:
    """Return one subnet of the functions for each zone, because an interface endpoint has only one.

    The choice is always the same for the same subnets with a free address.
    """
    given = ", ".join(overrides.function_subnet_ids)
    if subnets is None:
        raise RejectedInputError(
            f"FunctionSubnetIds {given} are not all in this account and Region: give existing"
            f" subnets of {vpc_id}, or leave FunctionSubnetIds out."
        )
    if others := sorted({subnet.vpc_id for subnet in subnets} - {vpc_id}):
        raise RejectedInputError(
            f"FunctionSubnetIds {given} are in {', '.join(others)}, but the load balancer is in"
            f" {vpc_id}: give subnets of {vpc_id}, or leave FunctionSubnetIds out."
        )
    by_zone: dict[str, str] = {}
    for subnet in sorted(subnets, key=lambda it: (not it.free_addresses, it.id)):
        by_zone.setdefault(subnet.zone, subnet.id)
    return [by_zone[zone] for zone in sorted(by_zone)]


def _check_zones(by_zone: Collection[str], vpc_id: str, database: Database | None) -> None:
    """Reject a missing zone: a target there gets no traffic (NLB user guide)."""
    if database is None or database.vpc_id != vpc_id:
        return
    if missing := sorted(database.zones.difference(by_zone)):
        raise RejectedInputError(
            f"SubnetIds leaves out {', '.join(missing)}, where {database.identifier} has a"
            " server, which would get no traffic there: add a subnet of that zone to SubnetIds."
        )


def check_vpc(vpc_id: str, networks: Sequence[IPNetwork] | None) -> tuple[IPNetwork, ...]:
    """Return the networks of a VPC, if it exists."""
    if not networks:
        raise RejectedInputError(
            f"VpcId {vpc_id} has no IPv4 network in this account and Region: give the ID of an"
            " existing VPC."
        )
    return tuple(networks)


def lookup_attributes(
    named: NamedEndpoint, database: Database | None, overrides: Overrides, network: Network
) -> Mapping[str, object]:
    """Return the attributes of the custom resource."""
    kind = named.kind
    allowed = _allowed_networks(named, overrides, network)
    groups = sorted(database.security_group_ids) if database else []
    events = database.event_resources if database else ()
    return {
        "Kind": str(kind),
        "Endpoint": database.names[kind] if database and kind else named.endpoint,
        "Identifier": database.identifier if database else named.identifier,
        "Port": str(_port(database, overrides)),
        "VpcId": network.vpc_id,
        "SubnetIds": list(network.subnet_ids),
        "LeftOutZones": _describe_left_out(network.left_out),
        "IngressGroups": _ingress_groups(groups, database, overrides, network),
        "IngressNote": _ingress_note(groups, database, overrides, network),
        "SecurityGroupIds": ",".join(groups),
        "DatabaseVpcId": database.vpc_id if database else "",
        "DatabaseSubnetIds": ",".join(sorted(database.subnet_ids)) if database else "",
        "VpcNetworks": ",".join(map(str, network.networks)),
        "AllowedNetworks": ",".join(map(str, allowed)),
        "EventResources": list(events or NO_RESOURCES),
        "Warning": _warning(database),
    }


def _is_foreign(database: Database | None, overrides: Overrides, network: Network) -> bool:
    """Return whether no rule of the database may name the load balancer's security group.

    A group of another VPC may be named over a peering connection only, so then a person has to say
    that there is one.
    """
    in_one_vpc = database is None or database.vpc_id == network.vpc_id
    return not in_one_vpc and overrides.manage_ingress != "true"


def _ingress_groups(
    groups: Sequence[str], database: Database | None, overrides: Overrides, network: Network
) -> str:
    """Return the group that gets the rule for the load balancer, and a comma.

    It is empty if the database gets no rule. The template appends the load balancer's own group and
    takes the first item, because CloudFormation has no condition on a looked-up value.
    """
    if not groups or _is_foreign(database, overrides, network):
        return ""
    return f"{groups[0]},"


def _ingress_note(
    groups: Sequence[str], database: Database | None, overrides: Overrides, network: Network
) -> str:
    if overrides.manage_ingress != "auto" or not groups:
        return ""
    if not _is_foreign(database, overrides, network):
        return ""
    sources = _list(sorted(network.subnet_networks, key=str))
    return (
        "The stack adds no rule to the database's security group, because the load balancer is in"
        f" another VPC: allow {sources} on port {_port(database, overrides)} in {groups[0]}, or, if"
        " the two VPCs are peered, set ManageDatabaseIngress=true."
    )


def _describe_left_out(zones: Mapping[str, str]) -> str:
    """Return the text of an output of the stack."""
    if not zones:
        return "none"
    return (
        f"{_zone_names(zones)}: AWS offers no Network Load Balancer there. Cross-zone load"
        " balancing reaches a database there from the other zones."
    )


def _warning(database: Database | None) -> str:
    if not database or not database.pauses:
        return "none"
    return (
        f"{database.identifier} has a minimum of 0 ACUs, but the load balancer's health checks"
        " connect every 5 seconds, so it does not pause and is charged all the time."
    )


def _port(database: Database | None, overrides: Overrides) -> int:
    if not database or not database.port:
        return overrides.port or DEFAULT_PORT
    if overrides.port and overrides.port != database.port:
        raise RejectedInputError(
            f"DatabasePort is {overrides.port}, but {database.identifier} listens on"
            f" {database.port}: leave DatabasePort out, or set {database.port}."
        )
    return database.port


def _allowed_networks(
    named: NamedEndpoint, overrides: Overrides, network: Network
) -> tuple[IPNetwork, ...]:
    allowed = overrides.allowed_networks or network.database_networks or TARGET_NETWORKS
    if network.database_networks and not _overlap(allowed, network.database_networks):
        raise RejectedInputError(
            f"AllowedNetworks {_list(allowed)} has no address of the database's VPC"
            f" ({_list(network.database_networks)}), so no target can be registered:"
            " leave AllowedNetworks out, or give networks of that VPC."
        )
    if named.kind is DatabaseKind.STATIC:
        static = addresses(named.endpoint)
        if outside := [a for a in static if not any(a in net for net in allowed)]:
            raise RejectedInputError(
                f"DatabaseEndpoint {_list(outside)} is outside AllowedNetworks"
                f" {_list(allowed)}: give private addresses of the database, or extend"
                " AllowedNetworks."
            )
    return allowed


def _overlap(some: Iterable[IPNetwork], others: Sequence[IPNetwork]) -> bool:
    return any(one.overlaps(other) for one in some for other in others)


def _list(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
