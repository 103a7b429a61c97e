"""Auto Scaling groups behind their API."""

from collections.abc import Mapping
from typing import Any, Protocol

from target_sync.aws import Failures
from target_sync.errors import StackCallError, StackCallUnavailableError

_FAILURES = Failures(
    service="autoscaling", other=StackCallError, unavailable=StackCallUnavailableError
)


class AutoScalingClient(Protocol):
    """As much of botocore's client as is used here."""

    def describe_auto_scaling_groups(
        self,
        *,
        AutoScalingGroupNames: list[str],  # noqa: N803 - AWS's name
    ) -> Mapping[str, Any]:
        """DescribeAutoScalingGroups."""
        ...

    def attach_load_balancer_target_groups(
        self,
        *,
        AutoScalingGroupName: str,  # noqa: N803 - AWS's name
        TargetGroupARNs: list[str],  # noqa: N803 - AWS's name
    ) -> object:
        """AttachLoadBalancerTargetGroups."""
        ...

    def detach_load_balancer_target_groups(
        self,
        *,
        AutoScalingGroupName: str,  # noqa: N803 - AWS's name
        TargetGroupARNs: list[str],  # noqa: N803 - AWS's name
    ) -> object:
        """DetachLoadBalancerTargetGroups."""
        ...


class AutoScalingGroups:
    """Implements ``target_sync.provisioning.lookup.AutoScalingPort``."""

    def __init__(self, client: AutoScalingClient) -> None:
        self._client = client

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        """ARNs of the target groups of an Auto Scaling group; None if it does not exist."""
        reply = _FAILURES.call(
            "DescribeAutoScalingGroups",
            self._client.describe_auto_scaling_groups,
            AutoScalingGroupNames=[group],
        )
        for found in reply["AutoScalingGroups"]:
            return frozenset(found.get("TargetGroupARNs", ()))
        return None

    def attach(self, group: str, target_group_arn: str) -> None:
        """Attach a target group: AWS registers every instance, now and in future."""
        _FAILURES.call(
            "AttachLoadBalancerTargetGroups",
            self._client.attach_load_balancer_target_groups,
            AutoScalingGroupName=group,
            TargetGroupARNs=[target_group_arn],
        )

    def detach(self, group: str, target_group_arn: str) -> None:
        """Detach a target group: AWS deregisters the group's instances."""
        _FAILURES.call(
            "DetachLoadBalancerTargetGroups",
            self._client.detach_load_balancer_target_groups,
            AutoScalingGroupName=group,
            TargetGroupARNs=[target_group_arn],
        )
