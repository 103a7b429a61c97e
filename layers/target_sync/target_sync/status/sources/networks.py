"""Subnets, their routes and a VPC's interface endpoints, as the EC2 API tells them."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi
from target_sync.status.facts import FunctionNetwork, SubnetNetwork, SubnetRoute

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_EC2 = AwsApi("ec2")
_EVERYWHERE = "0.0.0.0/0"
#: Where a default route may lead (EC2 API reference, Route). An internet gateway is left out: the
#: network interface of a function has no public address (Lambda guide, *Internet access for
#: VPC-connected functions*).
_GATEWAYS = (
    "NatGatewayId",
    "TransitGatewayId",
    "NetworkInterfaceId",
    "InstanceId",
    "VpcPeeringConnectionId",
    "LocalGatewayId",
    "CoreNetworkArn",
)


class Ec2Networks:
    """Implements ``target_sync.status.ports.NetworksPort``."""

    def __init__(self, client: "EC2Client") -> None:
        self._client = client

    def subnets(self, vpc_id: str) -> tuple[SubnetNetwork, ...]:
        """The subnets of a VPC."""
        return _EC2.read(
            "DescribeSubnets",
            lambda: tuple(
                SubnetNetwork(ip_network(item["CidrBlock"]), item["AvailabilityZone"])
                for item in self._of_vpc("describe_subnets", "Subnets", vpc_id)
            ),
        )

    def of_function(self, subnet_ids: Sequence[str]) -> FunctionNetwork:
        """What leads from these subnets, all of one VPC, to AWS."""
        vpc_id = _EC2.read(
            "DescribeSubnets",
            lambda: self._client.describe_subnets(SubnetIds=list(subnet_ids))["Subnets"][0][
                "VpcId"
            ],
        )

        def routes() -> tuple[SubnetRoute, ...]:
            tables = self._of_vpc("describe_route_tables", "RouteTables", vpc_id)
            return tuple(SubnetRoute(id_, _default_route(id_, tables)) for id_ in subnet_ids)

        def services() -> frozenset[str]:
            endpoints = self._of_vpc("describe_vpc_endpoints", "VpcEndpoints", vpc_id)
            return frozenset(map(_service, filter(_serves_everyone, endpoints)))

        return FunctionNetwork(
            _EC2.read("DescribeRouteTables", routes), _EC2.read("DescribeVpcEndpoints", services)
        )

    def _of_vpc(self, method: str, key: str, vpc_id: str) -> list[Any]:
        client: Any = self._client
        pages = client.get_paginator(method).paginate(
            Filters=[{"Name": "vpc-id", "Values": [vpc_id]}]
        )
        return [item for page in pages for item in page[key]]


def _default_route(subnet_id: str, tables: Iterable[Mapping[str, Any]]) -> str:
    """Where a subnet's default route leads; its own table goes before the VPC's main one."""
    own = [t for t in tables if any(a.get("SubnetId") == subnet_id for a in t["Associations"])]
    main = [t for t in tables if any(a.get("Main") for a in t["Associations"])]
    for table in (own or main)[:1]:
        for route in table["Routes"]:
            active = route.get("State", "active") == "active"
            if route.get("DestinationCidrBlock") == _EVERYWHERE and active:
                return next((route[name] for name in _GATEWAYS if route.get(name)), "")
    return ""


def _serves_everyone(endpoint: Mapping[str, Any]) -> bool:
    """Whether the service's public name leads to the endpoint."""
    return (
        endpoint["VpcEndpointType"] == "Interface"
        and endpoint["State"].lower() == "available"
        and bool(endpoint.get("PrivateDnsEnabled"))
    )


def _service(endpoint: Mapping[str, Any]) -> str:
    """The name after the Region: ``com.amazonaws.eu-west-1.ec2``."""
    return str(endpoint["ServiceName"].rpartition(".")[2])
