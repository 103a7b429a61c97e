"""Subnets, their routes and a VPC's interface endpoints, as the EC2 API tells them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from target_sync.aws import Failures
from target_sync.errors import StatusCallError, StatusCallUnavailableError
from target_sync.status.facts import FunctionNetwork, SubnetNetwork, SubnetRoute

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_T = TypeVar("_T")
_FAILURES = Failures(service="ec2", other=StatusCallError, unavailable=StatusCallUnavailableError)
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
        operation = "DescribeSubnets"
        found = self._all(
            operation, "describe_subnets", "Subnets", [{"Name": "vpc-id", "Values": [vpc_id]}]
        )
        return _read(
            operation,
            lambda: tuple(
                SubnetNetwork(ip_network(item["CidrBlock"]), item["AvailabilityZone"])
                for item in found
            ),
        )

    def of_function(self, subnet_ids: Sequence[str]) -> FunctionNetwork:
        """What leads from these subnets, all of one VPC, to AWS."""
        operation = "DescribeSubnets"
        found = _FAILURES.call(operation, self._client.describe_subnets, SubnetIds=list(subnet_ids))
        vpc_id = _read(operation, lambda: found["Subnets"][0]["VpcId"])
        of_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}]
        tables = self._all("DescribeRouteTables", "describe_route_tables", "RouteTables", of_vpc)
        endpoints = self._all(
            "DescribeVpcEndpoints", "describe_vpc_endpoints", "VpcEndpoints", of_vpc
        )
        return FunctionNetwork(
            _read(
                "DescribeRouteTables",
                lambda: tuple(SubnetRoute(id_, _default_route(id_, tables)) for id_ in subnet_ids),
            ),
            _read(
                "DescribeVpcEndpoints",
                lambda: frozenset(map(_service, filter(_serves_everyone, endpoints))),
            ),
        )

    def _all(
        self, operation: str, method: str, key: str, filters: Sequence[Mapping[str, Any]]
    ) -> list[Any]:
        client: Any = self._client
        pages = client.get_paginator(method).paginate(Filters=filters)
        return _FAILURES.call(operation, lambda: [item for page in pages for item in page[key]])


def _read(operation: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise StatusCallError.wrong_reply(operation, error) from error


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
