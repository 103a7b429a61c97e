"""A VPC as the EC2 API tells it."""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from target_sync.core.model import IPNetwork


def networks_of(vpc: Mapping[str, Any]) -> tuple[IPNetwork, ...]:
    """The IPv4 networks of a VPC that hold, in order."""
    blocks = {
        block["CidrBlock"]
        for block in vpc.get("CidrBlockAssociationSet", [])
        if block.get("CidrBlockState", {}).get("State") == "associated"
    }
    return tuple(ip_network(block) for block in sorted(blocks))
