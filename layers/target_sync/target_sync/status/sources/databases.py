"""Reads what RDS and EC2 say about the database now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from target_sync.aws import AwsApi
from target_sync.model import DatabaseKind
from target_sync.status.facts import Database

_RDS, _EC2 = AwsApi("rds"), AwsApi("ec2")
_Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AwsDatabase:
    """Implements ``target_sync.status.ports.DatabasePort``.

    Every call names its resource, so that the role can be limited to it.

    Attributes:
        client: A client of EC2 for an instance of EC2, or else of RDS.
        endpoint: The name that the stack follows. It distinguishes the endpoints of a proxy.
    """

    kind: DatabaseKind
    identifier: str
    endpoint: str
    client: Any

    def database(self) -> Database | None:
        """Return the database; None if there is none with this identifier."""
        if self.kind is DatabaseKind.EC2_INSTANCE:
            return _EC2.find("DescribeInstances", self._ec2_instance)
        reads: Mapping[DatabaseKind, tuple[str, Callable[[], Database]]] = {
            DatabaseKind.RDS_INSTANCE: ("DescribeDBInstances", self._instance),
            DatabaseKind.RDS_PROXY: ("DescribeDBProxies", self._proxy),
        }
        return _RDS.find(*reads.get(self.kind, ("DescribeDBClusters", self._cluster)))

    def _instance(self) -> Database:
        reply = self.client.describe_db_instances(DBInstanceIdentifier=self.identifier)
        item = reply["DBInstances"][0]
        subnets = item.get("DBSubnetGroup", {}).get("Subnets", ())
        return Database(
            state=item["DBInstanceStatus"],
            port=item.get("Endpoint", {}).get("Port"),
            security_groups=_security_groups(item),
            subnets=frozenset(subnet["SubnetIdentifier"] for subnet in subnets),
        )

    def _cluster(self) -> Database:
        reply = self.client.describe_db_clusters(DBClusterIdentifier=self.identifier)
        item = reply["DBClusters"][0]
        return Database(
            state=item["Status"], port=item.get("Port"), security_groups=_security_groups(item)
        )

    def _proxy(self) -> Database:
        item = self.client.describe_db_proxies(DBProxyName=self.identifier)["DBProxies"][0]
        if item["Endpoint"].lower() != self.endpoint:
            item = _RDS.call("DescribeDBProxyEndpoints", self._proxy_endpoint)
        return Database(
            state=item["Status"], security_groups=tuple(item.get("VpcSecurityGroupIds", ()))
        )

    def _proxy_endpoint(self) -> _Item:
        """Return an additional endpoint, which has security groups of its own."""
        reply = self.client.describe_db_proxy_endpoints(DBProxyName=self.identifier)
        found: Mapping[str, _Item] = {
            item["Endpoint"].lower(): item for item in reply["DBProxyEndpoints"]
        }
        return found[self.endpoint]

    def _ec2_instance(self) -> Database:
        reply = self.client.describe_instances(InstanceIds=[self.identifier])
        item = reply["Reservations"][0]["Instances"][0]
        groups = tuple(group["GroupId"] for group in item.get("SecurityGroups", ()))
        return Database(state=item["State"]["Name"], security_groups=groups)


def _security_groups(item: _Item) -> tuple[str, ...]:
    """Return the groups that apply. RDS still lists a group that it is removing."""
    return tuple(
        group["VpcSecurityGroupId"]
        for group in item.get("VpcSecurityGroups", ())
        if group.get("Status") != "removing"
    )
