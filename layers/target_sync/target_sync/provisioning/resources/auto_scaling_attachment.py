"""``Custom::AutoScalingAttachment``: attaches a target group to an Auto Scaling group."""

from dataclasses import dataclass

from target_sync.errors import RejectedInputError
from target_sync.provisioning.ports import AutoScalingPort
from target_sync.provisioning.request import Attributes, Properties, ResourceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScalingAttachment:
    """Attaches a target group, so that AWS registers the instances of the Auto Scaling group."""

    groups: AutoScalingPort

    def apply(self, request: ResourceRequest, deadline: float) -> Attributes:  # noqa: ARG002 - no loop
        """Attach the new pair, then detach the old one if it differs."""
        new = group, target_group_arn = _pair(request.properties)
        attached = self.groups.attached_target_groups(group)
        if attached is None:
            raise RejectedInputError(
                f"DatabaseEndpoint: there is no Auto Scaling group {group} any more: give"
                " the name of an existing group."
            )
        if target_group_arn not in attached:
            self.groups.attach(group, target_group_arn)
        if request.old_properties.values and (old := _pair(request.old_properties)) != new:
            self._detach(*old)
        return {}

    def delete(self, request: ResourceRequest, deadline: float) -> None:  # noqa: ARG002 - no loop
        """Detach the target group, unless the group is deleted or was never attached."""
        self._detach(*_pair(request.properties))

    def _detach(self, group: str, target_group_arn: str) -> None:
        if target_group_arn in (self.groups.attached_target_groups(group) or ()):
            self.groups.detach(group, target_group_arn)


def _pair(properties: Properties) -> tuple[str, str]:
    return properties.required("AutoScalingGroupName"), properties.required("TargetGroupArn")
