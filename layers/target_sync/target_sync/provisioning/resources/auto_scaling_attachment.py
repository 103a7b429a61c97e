"""``Custom::AutoScalingAttachment``: a group's instances as targets, registered by AWS."""

from dataclasses import dataclass

from target_sync.errors import RejectedInputError
from target_sync.provisioning.lookup import AutoScalingPort
from target_sync.provisioning.request import Attributes, Properties, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoScalingAttachment:
    """One target group attached to one Auto Scaling group."""

    groups: AutoScalingPort

    def apply(self, request: Request, deadline: float) -> Attributes:  # noqa: ARG002 - no loop
        """Attach the new pair, then detach the old one if it was another.

        Raises:
            RefusalError: There is no such Auto Scaling group.
            AwsCallError: A call failed.
        """
        wanted = _pair(request.properties)
        attached = self.groups.attached_target_groups(wanted[0])
        if attached is None:
            raise RejectedInputError(
                f"DatabaseEndpoint: there is no Auto Scaling group {wanted[0]} any more:"
                " give the name of an existing group."
            )
        if wanted[1] not in attached:
            self.groups.attach(*wanted)
        if request.old_properties.values and (old := _pair(request.old_properties)) != wanted:
            self._detach(*old)
        return {}

    def delete(self, request: Request, deadline: float) -> None:  # noqa: ARG002 - no loop
        """Detach; a group that is gone, or was never attached, is fine.

        Raises:
            AwsCallError: A call failed.
        """
        self._detach(*_pair(request.properties))

    def _detach(self, group: str, target_group_arn: str) -> None:
        if target_group_arn in (self.groups.attached_target_groups(group) or ()):
            self.groups.detach(group, target_group_arn)


def _pair(properties: Properties) -> tuple[str, str]:
    return properties.required("AutoScalingGroupName"), properties.required("TargetGroupArn")
