"""Zones, the free addresses of subnets, and the subnets that a Network Load Balancer accepts.

ministack has three zones in each Region and constant numbers, and accepts every subnet. Sources:
EC2 API reference (Subnet, AvailabilityZone), and Network Load Balancer guide, "Update the
Availability Zones".
"""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ministack.services import alb, ec2

from lab.emulator.errors import ApiError, Handler
from lab.emulator.wire import element

#: AWS reserves the first four addresses of a subnet and the last one.
_RESERVED = 5
#: The free addresses that AWS requires in each subnet of a new load balancer.
_MIN_FREE_ADDRESSES = 8
#: The zones of us-east-1, by name, with their IDs: AWS shuffles the names in each account.
_ZONES = {
    "us-east-1a": "use1-az1",
    "us-east-1b": "use1-az2",
    "us-east-1c": "use1-az4",
    "us-east-1d": "use1-az6",
    "us-east-1e": "use1-az3",
    "us-east-1f": "use1-az5",
    "us-east-1-bos-1a": "use1-bos1-az1",
}
_CONSTRAINED_ZONE = "use1-az3"
_LOCAL_ZONE = "use1-bos1-az1"


def install() -> None:
    """Compute the free addresses in DescribeSubnets, and add zones to us-east-1."""
    ec2._subnet_fields_xml = _with_free_addresses(ec2._subnet_fields_xml)
    ec2._az_id_for_zone_name = _with_ids(ec2._az_id_for_zone_name)
    actions = ec2._ACTION_MAP
    actions["DescribeAvailabilityZones"] = _describing(actions["DescribeAvailabilityZones"])


def check_subnets(ids: Iterable[str]) -> None:
    """Check that a Network Load Balancer can get these subnets.

    Raises:
        ApiError: `InvalidSubnet`, `ValidationError` for its zone.
    """
    for id_ in ids:
        subnet = ec2._subnets.get(id_)
        if subnet is None:
            continue
        if subnet["AvailabilityZoneId"] in {_CONSTRAINED_ZONE, _LOCAL_ZONE}:
            raise ApiError(
                "ValidationError",
                "Load balancers with type 'network' are not supported in "
                f"{subnet['AvailabilityZone']}",
            )
        if _free_addresses(subnet) < _MIN_FREE_ADDRESSES:
            raise ApiError(
                "InvalidSubnet",
                f"Not enough IP space available in {id_}. ELB requires at least "
                f"{_MIN_FREE_ADDRESSES} free IP addresses in each subnet.",
            )


def _free_addresses(subnet: Mapping[str, Any]) -> int:
    network = IPv4Network(subnet["CidrBlock"])
    taken = {
        IPv4Address(holder["PrivateIpAddress"])
        for holders in (ec2._instances, ec2._network_interfaces)
        for holder in holders.values()
        if holder["VpcId"] == subnet["VpcId"] and holder["PrivateIpAddress"]
    }
    balancers = sum(subnet["SubnetId"] in it["Subnets"] for it in alb._lbs.values())
    used = sum(address in network for address in taken) + balancers
    return network.num_addresses - _RESERVED - used


def _with_ids(zone_id: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: _ZONES.get(name) or zone_id(name)


def _describing(describe: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        if ec2.get_region() != "us-east-1":
            return describe(params)
        zones = [
            {
                "zoneName": name,
                "zoneState": "available",
                "regionName": "us-east-1",
                "zoneId": id_,
                "zoneType": "local-zone" if id_ == _LOCAL_ZONE else "availability-zone",
            }
            for name, id_ in _ZONES.items()
        ]
        return ec2._xml(
            200, "DescribeAvailabilityZonesResponse", element("availabilityZoneInfo", zones)
        )

    return handler


def _with_free_addresses(render: Callable[..., str]) -> Callable[..., str]:
    def wrapped(subnet: Mapping[str, Any], tag: str = "item") -> str:
        counted = {**subnet, "AvailableIpAddressCount": _free_addresses(subnet)}
        return render(counted, tag=tag)

    return wrapped
