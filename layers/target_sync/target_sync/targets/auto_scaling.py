"""Auto Scaling groups behind their API."""

from collections.abc import Mapping
from typing import Any, Protocol

from target_sync.aws import AwsApi

_AUTO_SCALING = AwsApi("autoscaling")


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
    """Implements ``target_sync.provisioning.ports.AutoScalingPort``."""

    def __init__(self, client: AutoScalingClient) -> None:
        self._client = client

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        """ARNs of the target groups of an Auto Scaling group; None if it does not exist."""
        described = _AUTO_SCALING.read(
            "DescribeAutoScalingGroups",
            lambda: [
                frozenset(item.get("TargetGroupARNs", ()))
                for item in self._client.describe_auto_scaling_groups(
                    AutoScalingGroupNames=[group]
                )["AutoScalingGroups"]
            ],
        )
        return described[0] if described else None

    def attach(self, group: str, target_group_arn: str) -> None:
        """Attach a target group: AWS registers every instance, now and in future."""
        _AUTO_SCALING.call(
            "AttachLoadBalancerTargetGroups",
            self._client.attach_load_balancer_target_groups,
            AutoScalingGroupName=group,
            TargetGroupARNs=[target_group_arn],
        )

    def detach(self, group: str, target_group_arn: str) -> None:
        """Detach a target group: AWS deregisters the group's instances."""
        _AUTO_SCALING.call(
            "DetachLoadBalancerTargetGroups",
            self._client.detach_load_balancer_target_groups,
            AutoScalingGroupName=group,
            TargetGroupARNs=[target_group_arn],
        )
