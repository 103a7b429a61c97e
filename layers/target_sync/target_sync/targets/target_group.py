"""Target groups and their tags, behind the ELBv2 API."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi
from target_sync.model import IPNetwork, Target, TargetGroup, TargetHealth, TargetState

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import TargetDescriptionTypeDef

#: The targets in one call. The API takes no more reliably. A group usually has one to three.
CHUNK = 200

_ELB = AwsApi("elasticloadbalancing")
_KNOWN_STATES = frozenset(TargetState)


class ElbTargetGroup:
    """One target group. Implements ``target_sync.ports.TargetGroupPort``.

    Args:
        client: A client of the ELBv2 API.
        arn: The ARN of the group.
        vpc_networks: The networks of the group's VPC; empty if all targets are in the VPC.
    """

    def __init__(
        self,
        client: "ElasticLoadBalancingv2Client",
        arn: str,
        vpc_networks: Sequence[IPNetwork] = (),
    ) -> None:
        self._client = client
        self._arn = arn
        self._vpc_networks = tuple(vpc_networks)

    def describe(self) -> TargetGroup:
        """Return the targets, by one call, because DescribeTargetHealth has no pages."""

        def read() -> TargetGroup:
            reply = self._client.describe_target_health(TargetGroupArn=self._arn)
            return TargetGroup(tuple(map(_target_health, reply["TargetHealthDescriptions"])))

        return _ELB.read("DescribeTargetHealth", read)

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets, each with its port. Targets outside the VPC are for all zones.

        AWS finds the zone of an address in the VPC, and requires a zone for any other address
        (ELBv2 API reference, TargetDescription, AvailabilityZone).
        """
        for chunk in _chunks([self._registration(target) for target in targets]):
            _ELB.call(
                "RegisterTargets",
                self._client.register_targets,
                TargetGroupArn=self._arn,
                Targets=chunk,
            )

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets, each with its port. AWS uses the group's port otherwise."""
        for chunk in _chunks([_identity(target) for target in targets]):
            _ELB.call(
                "DeregisterTargets",
                self._client.deregister_targets,
                TargetGroupArn=self._arn,
                Targets=chunk,
            )

    def _registration(self, target: Target) -> "TargetDescriptionTypeDef":
        description = _identity(target)
        is_inside = any(target.address in network for network in self._vpc_networks)
        if self._vpc_networks and not is_inside:
            description["AvailabilityZone"] = "all"
        return description


class ElbGroupTags:
    """Tags on target groups. Implements ``target_sync.fleet.ports.GroupTagsPort``."""

    def __init__(self, client: "ElasticLoadBalancingv2Client") -> None:
        self._client = client

    def write(self, arn: str, key: str, value: str) -> None:
        """Set one tag. An existing tag with this key gets the new value."""
        _ELB.call(
            "AddTags",
            self._client.add_tags,
            ResourceArns=[arn],
            Tags=[{"Key": key, "Value": value}],
        )


def _identity(target: Target) -> "TargetDescriptionTypeDef":
    return {"Id": str(target.address), "Port": target.port}


def _chunks(
    descriptions: Sequence["TargetDescriptionTypeDef"],
) -> Iterator[Sequence["TargetDescriptionTypeDef"]]:
    for start in range(0, len(descriptions), CHUNK):
        yield descriptions[start : start + CHUNK]


def _target_health(item: Mapping[str, Any]) -> TargetHealth:
    target, health = item["Target"], item["TargetHealth"]
    state = health["State"]
    return TargetHealth(
        Target(ip_address(target["Id"]), int(target["Port"])),
        TargetState(state) if state in _KNOWN_STATES else TargetState.UNKNOWN,
        health.get("Reason", ""),
    )
