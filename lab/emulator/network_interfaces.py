"""The network interfaces of RDS, and DescribeNetworkInterfaces with its filters.

Sources: EC2 API reference, "DescribeNetworkInterfaces", and user guide, "Requester-managed network
interfaces": each server of a DB instance has one in the database's network. The values of RDS's
fields are from replies of AWS. AWS does not document their life cycle; here a server without its
address gets another one, as after a replacement of its host.
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
from lab.emulator.errors import ApiError, rendering_errors
from lab.emulator.messages import NetworkInterface
from lab.emulator.scope import find_anywhere
from lab.emulator.wire import elements

_RDS = "amazon-rds"
#: The key of an interface's record with its DB instance and subnet.
_SERVER = "_Server"
_Server = tuple[str, str]
_Record = dict[str, Any]
#: Requests run concurrently, and an address may have one interface only.
_lock = threading.Lock()


def install(plan: AddressPlan) -> None:
    """Add the interfaces of RDS, and filters."""
    ec2._eni_fields_xml = _with_requester(ec2._eni_fields_xml)
    ec2._ACTION_MAP["DescribeNetworkInterfaces"] = rendering_errors(
        lambda params: _describe(params, plan), lambda code, message: ec2._error(code, message, 400)
    )


def put(new: NetworkInterface) -> None:
    """Give an address to a new interface, and remove the interface that had it.

    Raises:
        ApiError: `InvalidSubnetID.NotFound`, `InvalidParameterValue` for an address outside the
            subnet.
    """
    found = find_anywhere(ec2._subnets, new.subnet_id)
    if found is None:
        raise ApiError("InvalidSubnetID.NotFound", f"There is no subnet {new.subnet_id}.")
    scope, subnet = found
    if IPv4Address(new.address) not in IPv4Network(subnet["CidrBlock"]):
        raise ApiError("InvalidParameterValue", f"{new.address} is not in {new.subnet_id}.")
    with _lock, scope.entered():
        for interface in list(ec2._network_interfaces.values()):
            key = (interface["VpcId"], interface["PrivateIpAddress"])
            if key == (subnet["VpcId"], new.address):
                del ec2._network_interfaces[interface["NetworkInterfaceId"]]
        _add(
            subnet,
            address=new.address,
            groups=new.security_group_ids,
            description=new.description,
            requester=new.requester,
        )


def _describe(params: Mapping[str, Any], plan: AddressPlan) -> Any:
    with _lock:
        _update_rds(plan)
    filters = ec2._parse_filters(params)
    items = "".join(
        ec2._eni_fields_xml(interface)
        for interface in ec2._network_interfaces.values()
        if matches(_filterable(interface), filters)
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


def _update_rds(plan: AddressPlan) -> None:
    """Add the interfaces of new servers of DB instances, and remove those of deleted ones."""
    servers = dict(_servers())
    present = set()
    for interface in list(ec2._network_interfaces.values()):
        server = interface.get(_SERVER)
        if server in servers:
            present.add(server)
            interface["Groups"] = _groups(_groups_of(servers[server]))
        elif server is not None:
            del ec2._network_interfaces[interface["NetworkInterfaceId"]]
    for server, database in servers.items():
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
    """Return each server: its DB instance and the first subnet of its zone.

    A DB instance without a subnet group has no network and no interface.
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
    """Add an interface of a requester; None: the account."""
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
    """Add the requester of an interface and the owner of its attachment."""

    def wrapped(interface: _Record, tag: str = "item") -> str:
        requester = _requester(interface)
        managed = _is_managed(interface)
        more = elements({"requesterId": requester, "requesterManaged": managed})
        xml = render(interface, tag=tag).replace("<interfaceType>", f"{more}<interfaceType>", 1)
        owner = f"<instanceOwnerId>{requester}</instanceOwnerId>"
        return xml.replace("<instanceId></instanceId>", owner, 1)

    return wrapped
