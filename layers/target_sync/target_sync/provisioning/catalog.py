"""Databases and networks, from the RDS and EC2 APIs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, TypeVar

from botocore import xform_name

from target_sync.aws import AwsApi, items_of, networks_of, zones_without_load_balancers
from target_sync.errors import AwsCallError, AwsNotFoundError
from target_sync.model import AwsScope, DatabaseKind, IPNetwork
from target_sync.provisioning.ports import Database, Subnet

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_rds.client import RDSClient

_R = TypeVar("_R")
_Item = Mapping[str, Any]

_RDS, _EC2 = AwsApi("rds"), AwsApi("ec2")
_TERMINATED = frozenset({"shutting-down", "terminated"})


class AwsDatabaseCatalog:
    """Implements ``target_sync.provisioning.ports.DatabaseCatalog``.

    Every call names its resource, so that the role can be limited to it.
    """

    def __init__(self, rds: "RDSClient", ec2: "EC2Client", scope: AwsScope) -> None:
        self._rds = rds
        self._ec2 = ec2
        self._scope = scope

    @_RDS.reads("DescribeDBInstances")
    def instance(self, identifier: str) -> Database | None:
        """Return an RDS instance by its identifier."""
        for item in self._find("DBInstances", DBInstanceIdentifier=identifier):
            return _instance_database(item)
        return None

    @_RDS.reads("DescribeDBClusters")
    def cluster(self, identifier: str, *aliases: str) -> Database | None:
        """Return an Aurora or Multi-AZ DB cluster by its identifier, with these aliases."""
        for item in self._find("DBClusters", DBClusterIdentifier=identifier):
            # Only the members have the network; DescribeDBClusters does not return it.
            members = self._describe(
                "DBInstances",
                Filters=[{"Name": "db-cluster-id", "Values": [item["DBClusterIdentifier"]]}],
            )
            return _cluster_database(item, members, aliases)
        return None

    @_RDS.reads("DescribeDBClusterEndpoints")
    def cluster_of_custom_endpoint(self, identifier: str) -> Database | None:
        """Return the cluster of a custom endpoint, with that endpoint as an alias."""
        for item in self._find("DBClusterEndpoints", DBClusterEndpointIdentifier=identifier):
            aliases = [item["Endpoint"].lower()] if "Endpoint" in item else []
            cluster = self.cluster(item["DBClusterIdentifier"], *aliases)
            if cluster is not None:
                return cluster
        return None

    @_RDS.reads("DescribeDBProxies")
    def proxy(self, name: str) -> Database | None:
        """Return an RDS proxy by its name."""
        for item in self._find("DBProxies", DBProxyName=name):
            return _proxy_database(item, item)
        return None

    @_RDS.reads("DescribeDBProxyEndpoints")
    def proxy_of_endpoint(self, name: str) -> Database | None:
        """Return the proxy of an additional endpoint, with that endpoint's name and network."""
        for endpoint in self._find("DBProxyEndpoints", DBProxyEndpointName=name):
            for item in self._find("DBProxies", DBProxyName=endpoint["DBProxyName"]):
                return _proxy_database(item, endpoint)
        return None

    @_EC2.reads("DescribeInstances")
    def ec2_instance(self, identifier: str) -> Database | None:
        """Return an EC2 instance that is not terminated."""
        reply = self._call_ec2("DescribeInstances", InstanceIds=[identifier])
        for reservation in reply["Reservations"] if reply else ():
            for item in reservation.get("Instances", ()):
                if item["State"]["Name"] not in _TERMINATED:
                    return self._ec2_database(item)
        return None

    @_EC2.reads("DescribeSubnets")
    def subnets(self, identifiers: Sequence[str]) -> tuple[Subnet, ...] | None:
        """Return these subnets; None if one of them does not exist."""
        reply = self._call_ec2("DescribeSubnets", SubnetIds=list(identifiers))
        if reply is None:
            return None
        return tuple(
            Subnet(
                id=item["SubnetId"],
                vpc_id=item["VpcId"],
                zone=item["AvailabilityZone"],
                network=ip_network(item["CidrBlock"]) if item.get("CidrBlock") else None,
                usable=item.get("State") == "available" and not item.get("OutpostArn"),
                free_addresses=item["AvailableIpAddressCount"],
            )
            for item in reply["Subnets"]
        )

    def zones_without_load_balancers(self) -> Mapping[str, str]:
        """Return the zones that accept no Network Load Balancer: each ID by its name."""
        return _EC2.call(
            "DescribeAvailabilityZones",
            lambda: zones_without_load_balancers(
                self._ec2.describe_availability_zones()["AvailabilityZones"]
            ),
        )

    @_EC2.reads("DescribeVpcs")
    def networks(self, vpc_id: str) -> tuple[IPNetwork, ...] | None:
        """Return the IPv4 networks of a VPC, in order; None if it does not exist."""
        reply = self._call_ec2("DescribeVpcs", VpcIds=[vpc_id])
        if reply is None:
            return None
        return tuple(network for vpc in reply["Vpcs"] for network in networks_of(vpc))

    def _call_ec2(self, operation: str, **arguments: Any) -> _Item | None:
        method = getattr(self._ec2, xform_name(operation))
        return _unless_not_found(lambda: _EC2.call(operation, method, **arguments))

    def _find(self, key: str, **arguments: Any) -> list[_Item]:
        """Return the named items of an RDS API; none if a resource does not exist."""
        return _unless_not_found(lambda: self._describe(key, **arguments)) or []

    def _describe(self, key: str, **arguments: Any) -> list[_Item]:
        """Return all pages of a Describe operation of RDS, by the key of its reply."""
        operation = f"Describe{key}"
        return _RDS.call(operation, lambda: list(items_of(self._rds, operation, key, **arguments)))

    def _ec2_database(self, item: _Item) -> Database:
        identifier, scope = item["InstanceId"], self._scope
        followed = identifier if item.get("PrivateIpAddress") else None
        return Database(
            identifier=identifier,
            names=_names({DatabaseKind.EC2_INSTANCE: followed}),
            status=item["State"]["Name"],
            vpc_id=item.get("VpcId", ""),
            security_group_ids=tuple(group["GroupId"] for group in item.get("SecurityGroups", ())),
            zones=_zones([item["Placement"]]),
            event_resources=(
                f"arn:{scope.partition}:ec2:{scope.region}:{scope.account}:instance/{identifier}",
            ),
        )


def _instance_database(item: _Item) -> Database:
    subnet_group, endpoint = item.get("DBSubnetGroup", {}), item.get("Endpoint", {})
    return Database(
        identifier=item["DBInstanceIdentifier"],
        names=_names({DatabaseKind.RDS_INSTANCE: endpoint.get("Address")}),
        status=item.get("DBInstanceStatus", ""),
        engine=item.get("Engine", ""),
        port=endpoint.get("Port"),
        vpc_id=subnet_group.get("VpcId", ""),
        subnet_ids=_subnet_ids(subnet_group),
        security_group_ids=_security_group_ids(item),
        zones=_zones([item]),
        public=bool(item.get("PubliclyAccessible")),
        member_of=item.get("DBClusterIdentifier") or "",
        event_resources=(item["DBInstanceArn"],),
    )


def _cluster_database(item: _Item, members: Sequence[_Item], aliases: tuple[str, ...]) -> Database:
    subnet_group = members[0].get("DBSubnetGroup", {}) if members else {}
    names = {
        DatabaseKind.RDS_CLUSTER_WRITER: item.get("Endpoint"),
        DatabaseKind.RDS_CLUSTER_READERS: item.get("ReaderEndpoint"),
    }
    return Database(
        identifier=item["DBClusterIdentifier"],
        names=_names(names),
        aliases=aliases,
        status=item.get("Status", ""),
        engine=item.get("Engine", ""),
        port=item.get("Port"),
        vpc_id=subnet_group.get("VpcId", ""),
        subnet_ids=_subnet_ids(subnet_group),
        security_group_ids=_security_group_ids(item),
        zones=_zones(members),
        public=any(server.get("PubliclyAccessible") for server in (item, *members)),
        has_writer=any(it.get("IsClusterWriter") for it in item.get("DBClusterMembers", ())),
        pauses=_pauses(item, members),
        event_resources=(item["DBClusterArn"],),
    )


def _pauses(item: _Item, members: Sequence[_Item]) -> bool:
    """Return whether members pause (Aurora user guide, "Scaling to Zero ACUs")."""
    least = item.get("ServerlessV2ScalingConfiguration", {}).get("MinCapacity")
    return least == 0 and any(it.get("DBInstanceClass") == "db.serverless" for it in members)


def _proxy_database(item: _Item, endpoint: _Item) -> Database:
    return Database(
        identifier=item["DBProxyName"],
        names=_names({DatabaseKind.RDS_PROXY: endpoint.get("Endpoint")}),
        status=endpoint.get("Status", ""),
        engine=item.get("EngineFamily", ""),
        vpc_id=endpoint["VpcId"],
        subnet_ids=tuple(endpoint["VpcSubnetIds"]),
        security_group_ids=tuple(endpoint.get("VpcSecurityGroupIds", ())),
        event_resources=(item["DBProxyArn"],),
    )


def _names(endpoints: Mapping[DatabaseKind, str | None]) -> dict[DatabaseKind, str]:
    return {kind: name.lower() for kind, name in endpoints.items() if name}


def _unless_not_found(call: Callable[[], _R]) -> _R | None:
    try:
        return call()
    except AwsNotFoundError:
        return None
    except AwsCallError as error:
        # The name contains a character that no identifier can have.
        if error.code == "InvalidParameterValue":
            return None
        raise


def _subnet_ids(group: _Item) -> tuple[str, ...]:
    return tuple(
        subnet["SubnetIdentifier"]
        for subnet in group.get("Subnets", ())
        if subnet.get("SubnetStatus", "Active") == "Active"
    )


def _security_group_ids(item: _Item) -> tuple[str, ...]:
    """Return the groups that the database has, or gets if it has none yet."""
    groups = item.get("VpcSecurityGroups", ())
    for status in ("active", "adding"):
        if found := [
            g["VpcSecurityGroupId"] for g in groups if g.get("Status", "active") == status
        ]:
            return tuple(found)
    return ()


def _zones(servers: Iterable[_Item]) -> frozenset[str]:
    """Return the zones of the current servers, including the standby of a Multi-AZ instance."""
    return frozenset(
        zone
        for server in servers
        for key in ("AvailabilityZone", "SecondaryAvailabilityZone")
        if (zone := server.get(key))
    )
