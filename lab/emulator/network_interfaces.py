"""Network interfaces: those of RDS, and DescribeNetworkInterfaces with its filters.

Sources: EC2 API reference, "DescribeNetworkInterfaces", and user guide, "Requester-managed network
interfaces": each server of a DB instance has one in the database's network. What RDS writes into
its fields was seen in replies of AWS. AWS does not document when they come and go; here a server
that loses its address gets another one, as if its host had been replaced.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ministack.services import ec2, rds

from lab.addresses import AddressPlan
from lab.emulator import instances
from lab.emulator.endpoint_services import matches
from lab.emulator.errors import ApiError, answering_errors
from lab.emulator.messages import NetworkInterface
from lab.emulator.scope import find_anywhere
from lab.emulator.wire import elements

_RDS = "amazon-rds"
#: The key of an RDS interface's record that tells whose it is: DB instance and subnet.
_SERVER = "_Server"
_Server = tuple[str, str]
_Record = dict[str, Any]
#: Requests are served side by side; an address must be given only once.
_lock = threading.Lock()


def install(plan: AddressPlan) -> None:
    """Show the interfaces of RDS, and let filters filter."""
    ec2._eni_fields_xml = _with_requester(ec2._eni_fields_xml)
    ec2._ACTION_MAP["DescribeNetworkInterfaces"] = answering_errors(
        lambda params: _describe(params, plan), lambda code, message: ec2._error(code, message, 400)
    )


def put(wanted: NetworkInterface) -> None:
    """Let an address belong to this interface. Whoever had it loses it.

    Raises:
        ApiError: `InvalidSubnetID.NotFound`, `InvalidParameterValue` for an address outside the
            subnet.
    """
    found = find_anywhere(ec2._subnets, wanted.subnet_id)
    if found is None:
        raise ApiError("InvalidSubnetID.NotFound", f"There is no subnet {wanted.subnet_id}.")
    scope, subnet = found
    if IPv4Address(wanted.address) not in IPv4Network(subnet["CidrBlock"]):
        raise ApiError("InvalidParameterValue", f"{wanted.address} is not in {wanted.subnet_id}.")
    with _lock, scope.entered():
        for interface in list(ec2._network_interfaces.values()):
            place = (interface["VpcId"], interface["PrivateIpAddress"])
            if place == (subnet["VpcId"], wanted.address):
                del ec2._network_interfaces[interface["NetworkInterfaceId"]]
        _add(
            subnet,
            address=wanted.address,
            groups=wanted.security_group_ids,
            description=wanted.description,
            requester=wanted.requester,
        )


def _describe(params: Mapping[str, Any], plan: AddressPlan) -> Any:
    with _lock:
        _follow_rds(plan)
    wanted = ec2._parse_member_list(params, "NetworkInterfaceId")
    for id_ in wanted:
        if id_ not in ec2._network_interfaces:
            raise ApiError(
                "InvalidNetworkInterfaceID.NotFound", f"The networkInterface '{id_}' does not exist"
            )
    filters = ec2._parse_filters(params)
    items = "".join(
        ec2._eni_fields_xml(interface)
        for interface in ec2._network_interfaces.values()
        if (not wanted or interface["NetworkInterfaceId"] in wanted)
        and matches(_filterable(interface), filters)
    )
    return ec2._xml(
        200,
        "DescribeNetworkInterfacesResponse",
        f"<networkInterfaceSet>{items}</networkInterfaceSet>",
    )


def _filterable(interface: _Record) -> Mapping[str, str | list[str]]:
    return {
        "addresses.private-ip-address": interface["PrivateIpAddress"],
        "availability-zone": interface["AvailabilityZone"],
        "description": interface["Description"],
        "group-id": [group["GroupId"] for group in interface["Groups"]],
        "interface-type": interface["InterfaceType"],
        "network-interface-id": interface["NetworkInterfaceId"],
        "private-ip-address": interface["PrivateIpAddress"],
        "requester-id": _requester(interface),
        "requester-managed": str(_is_managed(interface)).lower(),
        "status": interface["Status"],
        "subnet-id": interface["SubnetId"],
        "vpc-id": interface["VpcId"],
    }


def _follow_rds(plan: AddressPlan) -> None:
    """Give each server of the account's DB instances its interface, and those of no server none."""
    wanted = dict(_servers())
    present = set()
    for interface in list(ec2._network_interfaces.values()):
        server = interface.get(_SERVER)
        if server in wanted:
            present.add(server)
            interface["Groups"] = _groups(_groups_of(wanted[server]))
        elif server is not None:
            del ec2._network_interfaces[interface["NetworkInterfaceId"]]
    for server, database in wanted.items():
        if server not in present:
            subnet = ec2._subnets[server[1]]
            interface = _add(
                subnet,
                address=str(instances.free_address(subnet, plan)),
                groups=_groups_of(database),
                description="RDSNetworkInterface",
                requester=_RDS,
            )
            interface[_SERVER] = server


def _servers() -> Iterator[tuple[_Server, Mapping[str, Any]]]:
    """Return each server, told by its DB instance and its subnet: the first one of its zone.

    A DB instance without a subnet group is in no network here, and has none.
    """
    for database in rds._instances.values():
        subnets: dict[str, str] = {}
        for subnet in database["DBSubnetGroup"]["Subnets"]:
            zone = subnet["SubnetAvailabilityZone"]["Name"]
            subnets.setdefault(zone, subnet["SubnetIdentifier"])
        zones = [database["AvailabilityZone"]]
        if database["MultiAZ"]:
            zones.append(database["SecondaryAvailabilityZone"])
        for zone in zones:
            if zone in subnets:
                yield (database["DbiResourceId"], subnets[zone]), database


def _groups_of(database: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(group["VpcSecurityGroupId"] for group in database["VpcSecurityGroups"])


def _add(
    subnet: Mapping[str, Any],
    *,
    address: str,
    groups: tuple[str, ...],
    description: str,
    requester: str | None,
) -> _Record:
    """Add an interface that is attached to something of its requester; None: of the account."""
    id_ = f"eni-{secrets.token_hex(9)[:17]}"
    ec2._network_interfaces[id_] = record = {
        "NetworkInterfaceId": id_,
        "SubnetId": subnet["SubnetId"],
        "VpcId": subnet["VpcId"],
        "AvailabilityZone": subnet["AvailabilityZone"],
        "Description": description,
        "OwnerId": ec2.get_account_id(),
        "RequesterId": requester,
        "Status": "in-use",
        "PrivateIpAddress": address,
        "InterfaceType": "interface",
        "SourceDestCheck": True,
        "MacAddress": "02:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(5)),
        "Groups": _groups(groups),
        "Attachment": {
            "AttachmentId": f"eni-attach-{secrets.token_hex(9)[:17]}",
            "DeviceIndex": 1,
            "Status": "attached",
            "AttachTime": ec2._now_ts(),
        },
    }
    return record


def _groups(ids: tuple[str, ...]) -> list[dict[str, str]]:
    names = {id_: ec2._security_groups.get(id_, {}).get("GroupName", id_) for id_ in ids}
    return [{"GroupId": id_, "GroupName": name} for id_, name in names.items()]


def _is_managed(interface: _Record) -> bool:
    return interface.get("RequesterId") is not None


def _requester(interface: _Record) -> str:
    return str(interface.get("RequesterId") or interface["OwnerId"])


def _with_requester(render: Callable[..., str]) -> Callable[..., str]:
    """Tell who asked for an interface, and whose server it is attached to."""

    def wrapped(interface: _Record, tag: str = "item") -> str:
        requester = _requester(interface)
        managed = _is_managed(interface)
        more = elements({"requesterId": requester, "requesterManaged": managed})
        xml = render(interface, tag=tag).replace("<interfaceType>", f"{more}<interfaceType>", 1)
        owner = f"<instanceOwnerId>{requester}</instanceOwnerId>"
        return xml.replace("<instanceId></instanceId>", owner, 1)

    return wrapped
