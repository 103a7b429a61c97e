"""The type of database that the text of DatabaseEndpoint names.

The conditions of ``template.yaml`` decide the same before the look-up, by the same marks, because
CloudFormation evaluates conditions before it creates a custom resource.

Source of the forms: RDS and Aurora user guides, "DB instance endpoint", "Aurora endpoint
connections", "RDS Proxy endpoints". In China ``rds`` comes before the Region in today's names; the
user guides do not describe this, but AWS's drivers accept both orders.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, ip_address

from target_sync.errors import RejectedInputError
from target_sync.model import DatabaseKind


class EndpointType(StrEnum):
    """The type of the named database, in the words of the rejection messages."""

    INSTANCE = "an RDS instance"
    CLUSTER_WRITER = "the writer of an RDS cluster"
    CLUSTER_READERS = "the readers of an RDS cluster"
    CLUSTER_CUSTOM = "a custom endpoint of an RDS cluster"
    PROXY = "an RDS proxy"
    PROXY_ENDPOINT = "an additional endpoint of an RDS proxy"
    NAME = "a DNS name outside RDS"
    ADDRESSES = "addresses"
    EC2_INSTANCE = "an EC2 instance"
    AUTO_SCALING_GROUP = "an Auto Scaling group"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEndpoint:
    """The database that DatabaseEndpoint names.

    Attributes:
        kind: The kind to follow it by; None if a person has to choose.
        endpoint: The text in its normal form.
        identifier: Its identifier in the API; empty for a plain name and for addresses.
    """

    type: EndpointType
    kind: DatabaseKind | None
    endpoint: str
    identifier: str = ""


#: The values of DatabaseKind that each type accepts, the default first. `hostname` follows any RDS
#: name by DNS alone.
_KINDS: Mapping[EndpointType, tuple[DatabaseKind, ...]] = {
    EndpointType.INSTANCE: (DatabaseKind.RDS_INSTANCE, DatabaseKind.HOSTNAME),
    EndpointType.CLUSTER_WRITER: (
        DatabaseKind.RDS_CLUSTER_WRITER,
        DatabaseKind.RDS_CLUSTER_READERS,
        DatabaseKind.HOSTNAME,
    ),
    **dict.fromkeys(
        (EndpointType.CLUSTER_READERS, EndpointType.CLUSTER_CUSTOM),
        (DatabaseKind.RDS_CLUSTER_READERS, DatabaseKind.RDS_CLUSTER_WRITER, DatabaseKind.HOSTNAME),
    ),
    EndpointType.PROXY: (DatabaseKind.RDS_PROXY, DatabaseKind.HOSTNAME),
    EndpointType.PROXY_ENDPOINT: (DatabaseKind.RDS_PROXY, DatabaseKind.HOSTNAME),
    EndpointType.NAME: (DatabaseKind.HOSTNAME,),
    EndpointType.ADDRESSES: (DatabaseKind.STATIC,),
    EndpointType.EC2_INSTANCE: (DatabaseKind.EC2_INSTANCE,),
    EndpointType.AUTO_SCALING_GROUP: (DatabaseKind.EC2_ASG,),
}
_TYPES_BY_LABEL: Mapping[str, EndpointType] = {
    "": EndpointType.INSTANCE,
    "cluster-": EndpointType.CLUSTER_WRITER,
    "cluster-ro-": EndpointType.CLUSTER_READERS,
    "cluster-custom-": EndpointType.CLUSTER_CUSTOM,
    "proxy-": EndpointType.PROXY,
}
#: A name that contains these is an RDS name. No user's own name does.
_RDS_MARKS = (".rds.", ".amazonaws.")
_RDS_NAME = re.compile(
    r"(?P<identifier>[a-z0-9-]+)\.(?P<endpoint>endpoint\.)?"
    r"(?P<label>cluster-ro-|cluster-custom-|cluster-|proxy-|)[a-z0-9]+"
    r"\.(rds\.(?P<last>[a-z0-9-]+)|(?P<first>[a-z0-9-]+)\.rds)"
    r"\.amazonaws\.(com|com\.cn|eu)"
)
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)
_EC2_INSTANCE = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
_GROUP_NAME = re.compile(r"[^,\s:][^,:]{0,254}")


def classify(text: str, kind: DatabaseKind | None, region: str) -> NamedEndpoint:
    """Return the database that DatabaseEndpoint names. The kind is None for ``auto``.

    Raises:
        RejectedInputError: The text has an unknown form, names a database in another Region, or
            contradicts DatabaseKind.
    """
    if kind is DatabaseKind.EC2_ASG:
        return _auto_scaling_group(text)
    named = _classify_by_form(text, kind, region)
    if kind is None:
        return named
    if kind not in _KINDS[named.type]:
        accepted = ", ".join(["auto", *_KINDS[named.type]])
        raise RejectedInputError(
            f"DatabaseKind is {kind}, but DatabaseEndpoint {named.endpoint} is {named.type}:"
            f" set DatabaseKind to one of {accepted}, or give the endpoint of another database."
        )
    return replace(named, kind=kind)


def _classify_by_form(text: str, kind: DatabaseKind | None, region: str) -> NamedEndpoint:
    given = text.strip()
    normal = given.rstrip(".").lower()
    if _EC2_INSTANCE.fullmatch(given):
        return _named(EndpointType.EC2_INSTANCE, given, identifier=given)
    if all(mark in normal for mark in _RDS_MARKS) and kind is not DatabaseKind.HOSTNAME:
        return _rds_name(normal, region)
    if _has_addresses(normal):
        return _named(EndpointType.ADDRESSES, ",".join(map(str, addresses(normal))))
    if _HOST_NAME.fullmatch(normal):
        return _named(EndpointType.NAME, normal)
    raise RejectedInputError(
        f"DatabaseEndpoint {text!r} is not a DNS name, a list of addresses or an EC2 instance ID:"
        " give for example orders.abc123.eu-west-1.rds.amazonaws.com, 10.0.1.11,10.0.2.12 or"
        " i-0123456789abcdef0; for an Auto Scaling group also set DatabaseKind=ec2-asg."
    )


def _named(type_: EndpointType, endpoint: str, *, identifier: str = "") -> NamedEndpoint:
    # A custom endpoint has chosen members, which no kind follows.
    kind = None if type_ is EndpointType.CLUSTER_CUSTOM else _KINDS[type_][0]
    return NamedEndpoint(type=type_, kind=kind, endpoint=endpoint, identifier=identifier)


def _rds_name(name: str, region: str) -> NamedEndpoint:
    match = _RDS_NAME.fullmatch(name)
    if match is None or (match["endpoint"] and match["label"] != "proxy-"):
        raise RejectedInputError(
            f"DatabaseEndpoint {name} is an RDS name that cannot be followed (a global or another"
            " special endpoint): give the endpoint of one instance, cluster or proxy in this"
            " Region, or set DatabaseKind=hostname with VpcId and SubnetIds to follow its DNS."
        )
    named_region = match["first"] or match["last"]
    if named_region != region:
        raise RejectedInputError(
            f"DatabaseEndpoint {name} is in {named_region}, but this stack is in {region}:"
            f" deploy the stack in {named_region}, or give an endpoint in {region}."
        )
    type_ = EndpointType.PROXY_ENDPOINT if match["endpoint"] else _TYPES_BY_LABEL[match["label"]]
    return _named(type_, name, identifier=match["identifier"])


def _has_addresses(text: str) -> bool:
    return "," in text or ":" in text or re.fullmatch(r"[\d.]+", text) is not None


def addresses(text: str) -> tuple[IPv4Address, ...]:
    """Return the addresses of a comma-separated list, each once, in order.

    Raises:
        RejectedInputError: An item is not an IPv4 address.
    """
    found = set()
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            address = ip_address(item)
        except ValueError:
            raise RejectedInputError(
                f"DatabaseEndpoint has {item!r} in a list of addresses: give one DNS name, or"
                " IPv4 addresses only, separated by commas."
            ) from None
        if not isinstance(address, IPv4Address):
            raise RejectedInputError(
                f"DatabaseEndpoint has the IPv6 address {item}, which an IPv4 target group does not"
                " accept: give the database's IPv4 address."
            )
        found.add(address)
    return tuple(sorted(found))


def _auto_scaling_group(text: str) -> NamedEndpoint:
    name = text.strip()
    if not _GROUP_NAME.fullmatch(name):
        raise RejectedInputError(
            f"DatabaseEndpoint {text!r} is not the name of one Auto Scaling group, as"
            " DatabaseKind=ec2-asg needs: give the group's name, not its ARN."
        )
    return _named(EndpointType.AUTO_SCALING_GROUP, name, identifier=name)
