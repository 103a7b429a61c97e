"""The free addresses of subnets, and the subnets that a Network Load Balancer accepts.

ministack has constant numbers, and accepts every subnet. Sources: EC2 API reference (Subnet), and
Network Load Balancer guide, "Update the Availability Zones".
"""

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ministack.services import alb, ec2

from lab.emulator.errors import ApiError

#: AWS reserves the first four addresses of a subnet and the last one.
_RESERVED = 5
#: The free addresses that AWS requires in each subnet of a new load balancer.
_MIN_FREE_ADDRESSES = 8


def install() -> None:
    """Compute the free addresses in DescribeSubnets."""
    ec2._subnet_fields_xml = _with_free_addresses(ec2._subnet_fields_xml)


def check_subnets(ids: Iterable[str]) -> None:
    """Check that a Network Load Balancer can get these subnets.

    Raises:
        ApiError: `InvalidSubnet`.
    """
    for id_ in ids:
        subnet = ec2._subnets.get(id_)
        if subnet is not None and _free_addresses(subnet) < _MIN_FREE_ADDRESSES:
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


def _with_free_addresses(render: Callable[..., str]) -> Callable[..., str]:
    def wrapped(subnet: Mapping[str, Any], tag: str = "item") -> str:
        counted = {**subnet, "AvailableIpAddressCount": _free_addresses(subnet)}
        return render(counted, tag=tag)

    return wrapped
