"""The RDS and EC2 APIs as a catalog of databases and networks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from target_sync.aws import AwsApi, networks_of
from target_sync.errors import AwsCallError, AwsNotFoundError
from target_sync.model import AwsScope, DatabaseKind, IPNetwork
from target_sync.provisioning.lookup import DEFAULT_PORT, Database, Subnet

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_rds.client import RDSClient

_R = TypeVar("_R")
_Item = Mapping[str, Any]

_RDS, _EC2 = AwsApi("rds"), AwsApi("ec2")
_TERMINATED = frozenset({"shutting-down", "terminated"})


class AwsDatabaseCatalog:
    """Implements ``target_sync.provisioning.lookup.DatabaseCatalog``.

    Every call names what it wants, so that the role needs no more than to describe.
    """

    def __init__(self, rds: "RDSClient", ec2: "EC2Client", place: AwsScope) -> None:
        self._rds = rds
        self._ec2 = ec2
        self._place = place

    def instance(self, identifier: str) -> Database | None:
        """An RDS instance by its identifier; one that is still being created has no name."""
        found = self._first(
            "DescribeDBInstances", "DBInstances", "describe_db_instances", identifier
        )
        if found is None or "Endpoint" not in found:
            return None
        group = found.get("DBSubnetGroup", {})
        return Database(
            identifier=found["DBInstanceIdentifier"],
            names={DatabaseKind.RDS_INSTANCE: found["Endpoint"]["Address"].lower()},
            port=found["Endpoint"].get("Port"),
            vpc_id=group.get("VpcId", ""),
            subnet_ids=_subnets_of(group),
            security_group_ids=_security_groups(found),
            zones=_zones([found]),
            public=bool(found.get("PubliclyAccessible")),
            member_of=found.get("DBClusterIdentifier") or "",
            event_resources=(found["DBInstanceArn"],),
        )

    def cluster(self, identifier: str) -> Database | None:
        """An Aurora or Multi-AZ DB cluster by its identifier."""
        found = self._first("DescribeDBClusters", "DBClusters", "describe_db_clusters", identifier)
        return None if found is None else self._cluster(found)

    def cluster_of_custom_endpoint(self, identifier: str) -> Database | None:
        """The cluster to which a custom endpoint belongs, with that endpoint as an alias."""
        found = _unless_not_found(
            lambda: self._pages(
                "DescribeDBClusterEndpoints",
                "DBClusterEndpoints",
                "describe_db_cluster_endpoints",
                DBClusterEndpointIdentifier=identifier,
            )
        )
        for endpoint in found or ():
            cluster = self._first(
                "DescribeDBClusters",
                "DBClusters",
                "describe_db_clusters",
                endpoint["DBClusterIdentifier"],
            )
            if cluster is not None:
                return self._cluster(cluster, aliases=(endpoint["Endpoint"].lower(),))
        return None

    def proxy(self, name: str) -> Database | None:
        """An RDS proxy by its name."""
        found = self._proxy(name)
        return None if found is None else self._proxy_seen_through(found, found)

    def proxy_of_endpoint(self, name: str) -> Database | None:
        """The proxy to which an additional endpoint belongs, seen through that endpoint."""
        found = _unless_not_found(
            lambda: self._pages(
                "DescribeDBProxyEndpoints",
                "DBProxyEndpoints",
                "describe_db_proxy_endpoints",
                DBProxyEndpointName=name,
            )
        )
        for endpoint in found or ():
            proxy = self._proxy(endpoint["DBProxyName"])
            if proxy is not None:
                return self._proxy_seen_through(proxy, endpoint)
        return None

    def ec2_instance(self, identifier: str) -> Database | None:
        """An EC2 instance that is not terminated and has a private address."""
        reply = _unless_not_found(
            lambda: _EC2.call(
                "DescribeInstances", self._ec2.describe_instances, InstanceIds=[identifier]
            )
        )
        found = [
            instance
            for reservation in (reply["Reservations"] if reply else ())
            for instance in reservation.get("Instances", ())
            if instance["State"]["Name"] not in _TERMINATED and instance.get("PrivateIpAddress")
        ]
        return self._machine(found[0]) if found else None

    def subnets(self, identifiers: Sequence[str]) -> tuple[Subnet, ...] | None:
        """These subnets; None if one of them is not there."""
        reply = _unless_not_found(
            lambda: _EC2.call(
                "DescribeSubnets", self._ec2.describe_subnets, SubnetIds=list(identifiers)
            )
        )
        if reply is None:
            return None
        return tuple(
            Subnet(
                id=subnet["SubnetId"],
                vpc_id=subnet["VpcId"],
                zone=subnet["AvailabilityZone"],
                usable=subnet.get("State") == "available" and not subnet.get("OutpostArn"),
            )
            for subnet in reply["Subnets"]
        )

    def networks(self, vpc_id: str) -> tuple[IPNetwork, ...] | None:
        """The IPv4 networks of a VPC, in order; None if it is not there."""
        reply = _unless_not_found(
            lambda: _EC2.call("DescribeVpcs", self._ec2.describe_vpcs, VpcIds=[vpc_id])
        )
        if reply is None:
            return None
        return tuple(network for vpc in reply["Vpcs"] for network in networks_of(vpc))

    def _first(self, operation: str, key: str, method: str, identifier: str) -> _Item | None:
        names = {"DBInstances": "DBInstanceIdentifier", "DBClusters": "DBClusterIdentifier"}
        found = _unless_not_found(
            lambda: self._pages(operation, key, method, **{names[key]: identifier})
        )
        return found[0] if found else None

    def _pages(self, operation: str, key: str, method: str, **wanted: Any) -> list[_Item]:
        paginator: Any = self._rds.get_paginator(method)  # type: ignore[call-overload]
        return _RDS.call(
            operation,
            lambda: [item for page in paginator.paginate(**wanted) for item in page[key]],
        )

    def _cluster(self, found: _Item, *, aliases: tuple[str, ...] = ()) -> Database:
        members = self._members(found)
        subnet_group = members[0].get("DBSubnetGroup", {}) if members else {}
        names = {
            DatabaseKind.RDS_CLUSTER_WRITER: found.get("Endpoint"),
            DatabaseKind.RDS_CLUSTER_READERS: found.get("ReaderEndpoint"),
        }
        return Database(
            identifier=found["DBClusterIdentifier"],
            names={kind: name.lower() for kind, name in names.items() if name},
            aliases=aliases,
            port=found.get("Port"),
            vpc_id=subnet_group.get("VpcId", ""),
            subnet_ids=_subnets_of(subnet_group),
            security_group_ids=_security_groups(found),
            zones=_zones(members),
            public=bool(found.get("PubliclyAccessible"))
            or any(member.get("PubliclyAccessible") for member in members),
            event_resources=(
                found["DBClusterArn"],
                *sorted(member["DBInstanceArn"] for member in members),
            ),
        )

    def _members(self, cluster: _Item) -> list[_Item]:
        """The cluster's instances, which know its network; DescribeDBClusters does not."""
        return self._pages(
            "DescribeDBInstances",
            "DBInstances",
            "describe_db_instances",
            Filters=[{"Name": "db-cluster-id", "Values": [cluster["DBClusterIdentifier"]]}],
        )

    def _proxy(self, name: str) -> _Item | None:
        found = _unless_not_found(
            lambda: self._pages(
                "DescribeDBProxies", "DBProxies", "describe_db_proxies", DBProxyName=name
            )
        )
        return found[0] if found else None

    @staticmethod
    def _proxy_seen_through(proxy: _Item, endpoint: _Item) -> Database:
        return Database(
            identifier=proxy["DBProxyName"],
            names={DatabaseKind.RDS_PROXY: endpoint["Endpoint"].lower()},
            # The API does not say it; a proxy for PostgreSQL always listens there (RDS user
            # guide, "Connecting to a database through RDS Proxy").
            port=DEFAULT_PORT,
            vpc_id=endpoint["VpcId"],
            subnet_ids=tuple(endpoint["VpcSubnetIds"]),
            security_group_ids=tuple(endpoint.get("VpcSecurityGroupIds", ())),
            event_resources=(proxy["DBProxyArn"],),
        )

    def _machine(self, instance: _Item) -> Database:
        identifier = instance["InstanceId"]
        place = self._place
        return Database(
            identifier=identifier,
            names={DatabaseKind.EC2_INSTANCE: identifier},
            vpc_id=instance["VpcId"],
            security_group_ids=tuple(
                group["GroupId"] for group in instance.get("SecurityGroups", ())
            ),
            zones=frozenset({instance["Placement"]["AvailabilityZone"]}),
            event_resources=(
                f"arn:{place.partition}:ec2:{place.region}:{place.account}:instance/{identifier}",
            ),
        )


def _unless_not_found(call: Callable[[], _R]) -> _R | None:
    try:
        return call()
    except AwsNotFoundError:
        return None
    except AwsCallError as error:
        # A name with characters that no identifier may have.
        if error.code == "InvalidParameterValue":
            return None
        raise


def _subnets_of(group: _Item) -> tuple[str, ...]:
    return tuple(
        subnet["SubnetIdentifier"]
        for subnet in group.get("Subnets", ())
        if subnet.get("SubnetStatus", "Active") == "Active"
    )


def _security_groups(found: _Item) -> tuple[str, ...]:
    return tuple(group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", ()))


def _zones(instances: Iterable[_Item]) -> frozenset[str]:
    """Where servers are now, the standby of a Multi-AZ instance among them."""
    return frozenset(
        zone
        for instance in instances
        for key in ("AvailabilityZone", "SecondaryAvailabilityZone")
        if (zone := instance.get(key))
    )
