"""Auto Scaling groups with instances, attached to target groups.

Source: Amazon EC2 Auto Scaling API reference (AttachLoadBalancerTargetGroups,
DetachLoadBalancerTargetGroups, DescribeLoadBalancerTargetGroups) and user guide, "Attach your
load balancer". Simplified: attaching and detaching take no time, and so does the replacement of a
terminated instance.
"""

import itertools
from collections.abc import Mapping
from typing import Any

from ministack.services import autoscaling as service
from ministack.services import ec2

from lab.emulator import instances
from lab.emulator.errors import ApiError, Handler, rendering_errors
from lab.emulator.target_group import TargetRequest
from lab.emulator.target_groups import TargetGroups, find_record
from lab.emulator.wire import element

_ATTACHED = "TargetGroupARNs"


def install(groups: TargetGroups) -> None:
    """Make ministack's Auto Scaling run instances and register them."""
    service._reconcile_instances = lambda group: _reconcile(group, groups)
    actions = service._ACTION_MAP
    for name, handler in (
        ("AttachLoadBalancerTargetGroups", lambda params: _attach(params, groups)),
        ("DetachLoadBalancerTargetGroups", lambda params: _detach(params, groups)),
        ("DescribeLoadBalancerTargetGroups", _describe),
    ):
        actions[name] = rendering_errors(handler, service._error)
    actions["DescribeAutoScalingGroups"] = _naming_target_groups(
        actions["DescribeAutoScalingGroups"]
    )
    actions["DeleteAutoScalingGroup"] = _terminating(actions["DeleteAutoScalingGroup"], groups)
    ec2._ACTION_MAP["TerminateInstances"] = _replacing(ec2._ACTION_MAP["TerminateInstances"])


def _reconcile(group: dict[str, Any], groups: TargetGroups) -> None:
    """Launch or terminate instances until the group has its desired capacity."""
    members = group["Instances"]
    members[:] = [m for m in members if _runs(m["InstanceId"])]
    subnets = [name.strip() for name in group["VPCZoneIdentifier"].split(",") if name.strip()]
    for subnet_id in itertools.islice(
        itertools.cycle(subnets or [ec2._DEFAULT_SUBNET_ID]),
        len(members),
        max(group["DesiredCapacity"], len(members)),
    ):
        members.append(_member(instances.launch(subnet_id), subnet_id, group))
    for member in members[group["DesiredCapacity"] :]:
        members.remove(member)
        instances.terminate(member["InstanceId"])
    for arn in group.get(_ATTACHED, ()):
        groups.get(arn).register(_requests(group))


def _runs(instance_id: str) -> bool:
    record = ec2._instances.get(instance_id)
    return record is not None and record["State"]["Name"] == "running"


def _member(instance_id: str, subnet_id: str, group: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "InstanceId": instance_id,
        "LifecycleState": "InService",
        "HealthStatus": "Healthy",
        "AvailabilityZone": ec2._subnets[subnet_id]["AvailabilityZone"],
        "ProtectedFromScaleIn": group["NewInstancesProtectedFromScaleIn"],
        "LaunchTemplate": group.get("LaunchTemplate") or {},
        "LaunchConfigurationName": group.get("LaunchConfigurationName", ""),
    }


def _requests(group: Mapping[str, Any]) -> list[TargetRequest]:
    return [TargetRequest(id=member["InstanceId"]) for member in group["Instances"]]


def _group(params: Mapping[str, Any]) -> dict[str, Any]:
    name = service._p(params, "AutoScalingGroupName")
    group: dict[str, Any] | None = service._asgs.get(name)
    if group is None:
        raise ApiError("ValidationError", f"AutoScalingGroup name not found - {name}")
    return group


def _attach(params: Mapping[str, Any], groups: TargetGroups) -> Any:
    group = _group(params)
    arns = service._parse_member_list(params, _ATTACHED)
    for arn in arns:
        if find_record(arn)["TargetType"] != "instance":
            raise ApiError(
                "ValidationError",
                "Provided Target Groups may not be valid. Please ensure they exist and have the "
                "target type instance.",
            )
    for arn in arns:
        groups.get(arn).register(_requests(group))
    group[_ATTACHED] = list(dict.fromkeys([*group.get(_ATTACHED, ()), *arns]))
    return _response("AttachLoadBalancerTargetGroups", "")


def _detach(params: Mapping[str, Any], groups: TargetGroups) -> Any:
    group = _group(params)
    arns = service._parse_member_list(params, _ATTACHED)
    attached = group.get(_ATTACHED, ())
    missing = [arn for arn in arns if arn not in attached]
    if missing:
        raise ApiError(
            "ValidationError", f"Trying to remove Target Groups that are not attached: {missing}"
        )
    group[_ATTACHED] = [arn for arn in attached if arn not in arns]
    for arn in arns:
        groups.get(arn).deregister(_requests(group))
    return _response("DetachLoadBalancerTargetGroups", "")


def _describe(params: Mapping[str, Any]) -> Any:
    states = [
        {"LoadBalancerTargetGroupARN": arn, "State": "InService"}
        for arn in _group(params).get(_ATTACHED, ())
    ]
    return _response(
        "DescribeLoadBalancerTargetGroups",
        element("LoadBalancerTargetGroups", states, item="member"),
    )


def _naming_target_groups(describe: Handler) -> Handler:
    def handler(params: Mapping[str, Any]) -> Any:
        status, headers, body = describe(params)
        text = body.decode()
        for group in service._asgs.values():
            arn = element("AutoScalingGroupARN", group["AutoScalingGroupARN"])
            attached = element(_ATTACHED, group.get(_ATTACHED, []), item="member")
            text = text.replace(arn, arn + attached)
        return status, headers, text.encode()

    return handler


def _terminating(delete: Handler, groups: TargetGroups) -> Handler:
    """Delete a group with instances only with ForceDelete, as AWS does."""

    def handler(params: Mapping[str, Any]) -> Any:
        group = service._asgs.get(service._p(params, "AutoScalingGroupName"))
        if group is not None and group["Instances"]:
            if service._p(params, "ForceDelete").lower() != "true":
                return service._error(
                    "ResourceInUse",
                    "You cannot delete an AutoScalingGroup while there are instances still in it",
                )
            group["DesiredCapacity"] = 0
            _reconcile(group, groups)
        return delete(params)

    return handler


def _replacing(terminate: Handler) -> Handler:
    """Replace a terminated member of a group."""

    def handler(params: Mapping[str, Any]) -> Any:
        response = terminate(params)
        gone = set(ec2._parse_member_list(params, "InstanceId"))
        for group in service._asgs.values():
            if gone & {member["InstanceId"] for member in group["Instances"]}:
                service._reconcile_instances(group)
        return response

    return handler


def _response(action: str, body: str) -> Any:
    return service._xml(200, f"{action}Response", f"<{action}Result>{body}</{action}Result>")
