"""Databases in memory, behind the AWS APIs and DNS."""

from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from botocore.exceptions import ClientError

from target_sync.model import Alias, FailedObservation, LookupFailure, Observation
from tests.support.clock import FakeClock

CLUSTER = "orders"
_ZONE = "abc123.eu-west-1.rds.amazonaws.com"
WRITER_NAME = f"{CLUSTER}.cluster-{_ZONE}"
READER_NAME = f"{CLUSTER}.cluster-ro-{_ZONE}"
INSTANCE_ID = "i-0123456789abcdef0"


def instance_name(member: str) -> str:
    """Return the name of a member's own endpoint."""
    return f"{member}.{_ZONE}"


def api_error(operation: str, code: str, status: int = 400) -> ClientError:
    """Return the error that botocore raises for an error code of AWS."""
    return ClientError(
        {
            "Error": {"Code": code, "Message": "in AWS's words"},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "r",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        operation,
    )


class FakeRds:
    """The RDS client's two calls over one cluster.

    Attributes:
        members: The endpoint of each instance, in the API's order; None during its creation.
        writer: The member that the API reports as writer; None during a failover.
        calls: The number of calls of each operation.
        states: The status of each member that is not "available".
        fault: The error that every call raises.
    """

    def __init__(self, *members: str) -> None:
        self.members: dict[str, str | None] = {m: instance_name(m) for m in members}
        self.writer: str | None = members[0]
        self.states: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.fault: Exception | None = None

    def describe_db_clusters(self, **request: Any) -> Mapping[str, Any]:
        self._called("DescribeDBClusters")
        if request["DBClusterIdentifier"] != CLUSTER:
            raise api_error("DescribeDBClusters", "DBClusterNotFoundFault", 404)
        members = [
            {"DBInstanceIdentifier": member, "IsClusterWriter": member == self.writer}
            for member in self.members
        ]
        return {"DBClusters": [{"DBClusterIdentifier": CLUSTER, "DBClusterMembers": members}]}

    def describe_db_instances(self, **request: Any) -> Mapping[str, Any]:
        self._called("DescribeDBInstances")
        (requested,) = request["Filters"]
        if requested != {"Name": "db-cluster-id", "Values": [CLUSTER]}:
            return {"DBInstances": []}
        return {
            "DBInstances": [
                {
                    "DBInstanceIdentifier": member,
                    "DBInstanceStatus": self.states.get(member, "available"),
                }
                | ({"Endpoint": {"Address": endpoint, "Port": 5432}} if endpoint else {})
                for member, endpoint in self.members.items()
            ]
        }

    def _called(self, operation: str) -> None:
        self.calls[operation] += 1
        if self.fault is not None:
            raise self.fault


class FakeEc2:
    """The EC2 client's DescribeInstances for one instance."""

    def __init__(self, address: str, state: str = "running") -> None:
        self.address: str | None = address
        self.state = state
        self.fault: Exception | None = None

    def describe_instances(self, **request: Any) -> Mapping[str, Any]:
        if self.fault is not None:
            raise self.fault
        if request["InstanceIds"] != [INSTANCE_ID]:
            raise api_error("DescribeInstances", "InvalidInstanceID.NotFound")
        instance: dict[str, Any] = {"InstanceId": INSTANCE_ID, "State": {"Name": self.state}}
        if self.address:
            instance["PrivateIpAddress"] = self.address
        return {"Reservations": [{"Instances": [instance]}]}


class FakeDns:
    """Implements ``target_sync.ports.NameResolver`` with addresses that a test sets."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._answers: dict[str, tuple[frozenset[object], int]] = {}
        self._aliases: dict[str, str] = {}
        self._failures: dict[str, LookupFailure] = {}
        self.queries: list[str] = []

    def set_addresses(self, name: str, *addresses: object, ttl: int = 5) -> None:
        self._aliases.pop(name, None)
        self._answers[name] = frozenset(addresses), ttl
        self._failures.pop(name, None)

    def set_alias(self, name: str, target: str) -> None:
        self._aliases[name] = target

    def set_failure(self, name: str, failure: LookupFailure) -> None:
        self._failures[name] = failure

    def resolve(self, name: str) -> Observation | FailedObservation:
        self.queries.append(name)
        end = self._aliases.get(name, name)
        failure = self._failures.get(name)
        if failure is None and end not in self._answers:
            failure = LookupFailure.NAME_DOES_NOT_EXIST
        if failure is not None:
            detail = f"{name}: {failure.value}"
            return FailedObservation(
                name=name, failure=failure, detail=detail, at=self._clock.now()
            )
        addresses, ttl = self._answers[end]
        return Observation(
            name=name,
            addresses=frozenset(ip_address(str(address)) for address in addresses),
            source="dns",
            ttl=ttl,
            at=self._clock.now(),
            aliases=() if end == name else (Alias(name, end, ttl),),
        )
