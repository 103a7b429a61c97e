"""Target groups, behind the ELBv2 API."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi, port
from target_sync.model import IPNetwork, Target, TargetGroup, TargetHealth, TargetState

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import TargetDescriptionTypeDef

#: The targets in one call. The API takes no more reliably. A group usually has one to three.
CHUNK = 200

_ELB = AwsApi("elasticloadbalancing")


@dataclass(frozen=True, slots=True)
class ElbTargetGroup:
    """One target group. Implements ``target_sync.ports.TargetGroupPort``.

    Attributes:
        vpc_networks: The networks of the group's VPC; empty if all targets are in the VPC.
    """

    client: "ElasticLoadBalancingv2Client"
    arn: str
    vpc_networks: tuple[IPNetwork, ...] = ()

    def describe(self) -> TargetGroup:
        """Return the targets, by one call, because DescribeTargetHealth has no pages."""

        def read() -> TargetGroup:
            reply = self.client.describe_target_health(TargetGroupArn=self.arn)
            return TargetGroup(tuple(map(_target_health, reply["TargetHealthDescriptions"])))

        return _ELB.call("DescribeTargetHealth", read)

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets, each with its port. Targets outside the VPC are for all zones.

        AWS finds the zone of an address in the VPC, and requires a zone for any other address
        (ELBv2 API reference, TargetDescription, AvailabilityZone).
        """
        registrations = [self._registration(target) for target in targets]
        self._call_in_chunks("RegisterTargets", self.client.register_targets, registrations)

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets, each with its port. AWS uses the group's port otherwise."""
        identities = [_identity(target) for target in targets]
        self._call_in_chunks("DeregisterTargets", self.client.deregister_targets, identities)

    def _call_in_chunks(
        self,
        operation: str,
        method: Callable[..., object],
        targets: Sequence["TargetDescriptionTypeDef"],
    ) -> None:
        for start in range(0, len(targets), CHUNK):
            chunk = targets[start : start + CHUNK]
            _ELB.call(operation, method, TargetGroupArn=self.arn, Targets=chunk)

    def _registration(self, target: Target) -> "TargetDescriptionTypeDef":
        description = _identity(target)
        is_inside = any(target.address in network for network in self.vpc_networks)
        if self.vpc_networks and not is_inside:
            description["AvailabilityZone"] = "all"
        return description


def _identity(target: Target) -> "TargetDescriptionTypeDef":
    return {"Id": str(target.address), "Port": target.port}


def _target_health(item: Mapping[str, Any]) -> TargetHealth:
    target, health = item["Target"], item["TargetHealth"]
    return TargetHealth(
        Target(ip_address(target["Id"]), port(target["Port"])),
        TargetState.of(health["State"]),
        health.get("Reason", ""),
    )
