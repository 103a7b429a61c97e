"""An account on the lab's AWS, and the resources that tests create in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from target_sync.targets.group_settings import GROUP_ATTRIBUTES, HEALTH_CHECK
from tests.lab.emulator_process import Emulator

PORT = 5432
#: The identifier of the cluster, and its members.
CLUSTER, MEMBERS = "sales", ("sales-1", "sales-2")


@dataclass(kw_only=True)
class Account:
    """The account of the emulator that runs the functions under test."""

    emulator: Emulator
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    def client(self, service: str) -> Any:
        """Return a client of an API, with the account's root user."""
        if service not in self._clients:
            self._clients[service] = self.emulator.client(service)
        return self._clients[service]

    def create_cluster(self, subnet_group: str, subnets: Sequence[str]) -> None:
        """Create a cluster with a writer and a reader, and its subnet group."""
        rds = self.client("rds")
        rds.create_db_subnet_group(
            DBSubnetGroupName=subnet_group, DBSubnetGroupDescription="x", SubnetIds=subnets
        )
        rds.create_db_cluster(
            DBClusterIdentifier=CLUSTER,
            Engine="aurora-postgresql",
            DBSubnetGroupName=subnet_group,
            MasterUsername="owner",
            MasterUserPassword="not-secret",
        )
        for member in MEMBERS:
            rds.create_db_instance(
                DBInstanceIdentifier=member,
                Engine="aurora-postgresql",
                DBClusterIdentifier=CLUSTER,
                DBInstanceClass="db.r6g.large",
                DBSubnetGroupName=subnet_group,
            )

    def create_target_group(
        self, name: str, vpc: str, target_type: str = "ip", tags: Mapping[str, str] | None = None
    ) -> str:
        """Create a target group with the settings of a stack's, and return its ARN."""
        elbv2 = self.client("elbv2")
        given = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        arn: str = elbv2.create_target_group(
            Name=name,
            Protocol="TCP",
            Port=PORT,
            TargetType=target_type,
            VpcId=vpc,
            **HEALTH_CHECK,
            **({"Tags": given} if given else {}),
        )["TargetGroups"][0]["TargetGroupArn"]
        attributes = [{"Key": key, "Value": value} for key, value in GROUP_ATTRIBUTES.items()]
        elbv2.modify_target_group_attributes(TargetGroupArn=arn, Attributes=attributes)
        return arn

    def endpoint(self, member: str) -> str:
        """Return the name of an instance's endpoint."""
        (found,) = self.client("rds").describe_db_instances(DBInstanceIdentifier=member)[
            "DBInstances"
        ]
        return str(found["Endpoint"]["Address"])
