"""The target groups of Auto Scaling groups, behind the Auto Scaling API."""

from typing import Any

from botocore import xform_name

from target_sync.aws import AwsApi

_AUTO_SCALING = AwsApi("autoscaling")


class AutoScalingGroups:
    """Implements ``target_sync.provisioning.ports.AutoScalingPort``.

    The client is untyped, because the project has no stubs for Auto Scaling.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def attached_target_groups(self, group: str) -> frozenset[str] | None:
        """Return the ARNs of a group's target groups, or None if the group does not exist."""
        described = _AUTO_SCALING.call(
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
        """Attach a target group, so that AWS registers all current and future instances."""
        self._change("AttachLoadBalancerTargetGroups", group, target_group_arn)

    def detach(self, group: str, target_group_arn: str) -> None:
        """Detach a target group, so that AWS deregisters the instances."""
        self._change("DetachLoadBalancerTargetGroups", group, target_group_arn)

    def _change(self, operation: str, group: str, target_group_arn: str) -> None:
        method = getattr(self._client, xform_name(operation))
        arns = [target_group_arn]
        _AUTO_SCALING.call(operation, method, AutoScalingGroupName=group, TargetGroupARNs=arns)
