"""Observes a database on an EC2 instance, by the EC2 API."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from target_sync.aws import AwsApi
from target_sync.endpoints.failures import failed_observation
from target_sync.errors import AwsCallError
from target_sync.model import FailedObservation, IPAddress, LookupFailure, Observation

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

_EC2 = AwsApi("ec2")
#: An instance in these states loses its private address. A stopped instance keeps it (EC2 user
#: guide, *Instance lifecycle*).
_GONE = frozenset({"shutting-down", "terminated"})


@dataclass(frozen=True, slots=True)
class InstanceEndpoint:
    """The private address of one instance. Implements ``target_sync.ports.Endpoint``."""

    instance_id: str
    client: "EC2Client"
    now: Callable[[], float]

    def observe(self) -> Observation | FailedObservation:
        """Describe the instance once."""
        try:
            state, address = self._describe()
        except AwsCallError as error:
            return failed_observation(error, self.instance_id, self.now())
        if address is None or state in _GONE:
            return FailedObservation(
                name=self.instance_id,
                failure=LookupFailure.NO_ADDRESS,
                detail=f"The instance {self.instance_id} is {state} and has no private address."
                " If another instance replaced it, deploy the stack with the ID of that instance.",
                at=self.now(),
            )
        return Observation(
            name=self.instance_id,
            addresses=frozenset({address}),
            source="ec2",
            ttl=None,
            at=self.now(),
        )

    def _describe(self) -> tuple[str, IPAddress | None]:
        def read() -> tuple[str, IPAddress | None]:
            reply = self.client.describe_instances(InstanceIds=[self.instance_id])
            instance = reply["Reservations"][0]["Instances"][0]
            address = instance.get("PrivateIpAddress")
            return instance["State"]["Name"], ip_address(address) if address else None

        return _EC2.call("DescribeInstances", read)
