"""Reads subnets, security groups, routes and interface endpoints from the EC2 API."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi, items_of, zones_without_load_balancers
from target_sync.status.facts import (
    FunctionNetwork,
    Rule,
    SecurityGroup,
    SubnetNetwork,
    SubnetRoute,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_EC2 = AwsApi("ec2")
_EVERYWHERE = "0.0.0.0/0"
#: The possible gateways of a default route (EC2 API reference, Route), without an internet gateway:
#: a function has no public address (Lambda guide, *Internet access for VPC-connected functions*).
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
        """Return the subnets of a VPC."""
        excluded = _EC2.call(
            "DescribeAvailabilityZones",
            lambda: zones_without_load_balancers(
                self._client.describe_availability_zones()["AvailabilityZones"]
            ),
        )
        return _EC2.call(
            "DescribeSubnets",
            lambda: tuple(
                SubnetNetwork(
                    ip_network(item["CidrBlock"]),
                    zone := item["AvailabilityZone"],
                    accepts_load_balancers=zone not in excluded,
                    id=item["SubnetId"],
                )
                for item in self._all("DescribeSubnets", "Subnets", "vpc-id", [vpc_id])
            ),
        )

    def security_groups(self, ids: Iterable[str]) -> Mapping[str, SecurityGroup]:
        """Return the security groups that exist, by ID.

        The call filters by ID, because a call that names a missing group fails.
        """
        names = sorted(set(ids))
        return _EC2.call(
            "DescribeSecurityGroups",
            lambda: {
                group["GroupId"]: SecurityGroup(
                    inbound=_rules(group["IpPermissions"]),
                    outbound=_rules(group["IpPermissionsEgress"]),
                    vpc_id=group["VpcId"],
                )
                for group in self._all(
                    "DescribeSecurityGroups", "SecurityGroups", "group-id", names
                )
                if group["GroupId"] in names
            },
        )

    def of_function(self, subnet_ids: Sequence[str]) -> FunctionNetwork:
        """Return how a function in these subnets of one VPC reaches AWS."""

        def vpc() -> list[str]:
            subnets = self._client.describe_subnets(SubnetIds=list(subnet_ids))["Subnets"]
            return [subnets[0]["VpcId"]]

        def routes() -> tuple[SubnetRoute, ...]:
            tables = self._all("DescribeRouteTables", "RouteTables", "vpc-id", vpc_ids)
            return tuple(SubnetRoute(id_, _default_gateway(id_, tables)) for id_ in subnet_ids)

        def interface_endpoints() -> frozenset[str]:
            endpoints = self._all("DescribeVpcEndpoints", "VpcEndpoints", "vpc-id", vpc_ids)
            return frozenset(map(_service, filter(_has_private_dns, endpoints)))

        vpc_ids = _EC2.call("DescribeSubnets", vpc)
        return FunctionNetwork(
            _EC2.call("DescribeRouteTables", routes),
            _EC2.call("DescribeVpcEndpoints", interface_endpoints),
        )

    def _all(self, operation: str, key: str, name: str, values: Sequence[str]) -> list[Any]:
        """Return the resources whose attribute `name` has one of the values."""
        filters = [{"Name": name, "Values": list(values)}]
        return list(items_of(self._client, operation, key, Filters=filters))


def _rules(permissions: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            protocol=item["IpProtocol"],
            first_port=item.get("FromPort"),
            last_port=item.get("ToPort"),
            networks=tuple(
                ip_network(entry[key])
                for ranges, key in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6"))
                for entry in item.get(ranges, ())
            ),
            groups=tuple(pair["GroupId"] for pair in item.get("UserIdGroupPairs", ())),
            prefix_lists=tuple(entry["PrefixListId"] for entry in item.get("PrefixListIds", ())),
        )
        for item in permissions
    )


def _default_gateway(subnet_id: str, tables: Iterable[Mapping[str, Any]]) -> str:
    """Return where a subnet's default route leads, by its own table or else the main one."""
    routes = _route_table(subnet_id, tables).get("Routes", ())
    default: Mapping[str, Any] = next(filter(_is_active_default, routes), {})
    return next((default[name] for name in _GATEWAYS if default.get(name)), "")


def _route_table(subnet_id: str, tables: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    own = [t for t in tables if any(a.get("SubnetId") == subnet_id for a in t["Associations"])]
    main = [t for t in tables if any(a.get("Main") for a in t["Associations"])]
    return next(iter(own or main), {})


def _is_active_default(route: Mapping[str, Any]) -> bool:
    active = route.get("State", "active") == "active"
    return active and route.get("DestinationCidrBlock") == _EVERYWHERE


def _has_private_dns(endpoint: Mapping[str, Any]) -> bool:
    """Return whether the service's public name resolves to the endpoint."""
    return (
        endpoint["VpcEndpointType"] == "Interface"
        and endpoint["State"].lower() == "available"
        and bool(endpoint.get("PrivateDnsEnabled"))
    )


def _service(endpoint: Mapping[str, Any]) -> str:
    """Return the last part of a name such as ``com.amazonaws.eu-west-1.ec2``."""
    return str(endpoint["ServiceName"].rpartition(".")[2])
