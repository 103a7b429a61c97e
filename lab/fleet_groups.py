"""Creates target groups outside the fleet: by a CloudFormation stack, and by API calls."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.aws import Account, Network

if TYPE_CHECKING:
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import TagTypeDef, TargetGroupAttributeTypeDef

#: The tag that a person writes on a target group.
ENDPOINT_TAG = "privatelink-sync:endpoint"
_STACK = "private-databases"
_FIRST_PORT = 6001
_DATABASE_PORT = 5432
#: The settings that docs/fleet.md asks for. With others a group has a finding.
_ATTRIBUTES: "list[TargetGroupAttributeTypeDef]" = [
    {"Key": "deregistration_delay.timeout_seconds", "Value": "0"},
    {"Key": "deregistration_delay.connection_termination.enabled", "Value": "true"},
]
_HEALTH_CHECK: Mapping[str, Any] = {
    "HealthCheckPort": "traffic-port",
    "HealthCheckIntervalSeconds": 5,
    "HealthCheckTimeoutSeconds": 4,
    "HealthyThresholdCount": 2,
}


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A target group to create; without an endpoint it has no tag."""

    name: str
    endpoint: str | None

    @property
    def tags(self) -> "list[TagTypeDef]":
        """The tags at its creation."""
        return [] if self.endpoint is None else [{"Key": ENDPOINT_TAG, "Value": self.endpoint}]


def create_by_stack(
    account: Account, network: Network, groups: Sequence[NewGroup]
) -> Mapping[str, str]:
    """Create groups with a load balancer by a template like CDK's; return their ARNs by name."""
    formation = account.client("cloudformation")
    template = json.dumps(_template(network, groups))
    formation.create_stack(StackName=_STACK, TemplateBody=template)
    formation.get_waiter("stack_create_complete").wait(
        StackName=_STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    outputs = formation.describe_stacks(StackName=_STACK)["Stacks"][0]["Outputs"]
    arns = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    return {group.name: arns[_logical(group)] for group in groups}


def create_by_calls(
    account: Account, network: Network, groups: Sequence[NewGroup]
) -> Mapping[str, str]:
    """Create groups with a load balancer by API calls; return their ARNs by name."""
    elb = account.client("elbv2")
    balancer = elb.create_load_balancer(
        Name="by-calls", Type="network", Scheme="internal", Subnets=list(network.subnet_ids)
    )["LoadBalancers"][0]["LoadBalancerArn"]
    made = {group.name: create_group(elb, network, group) for group in groups}
    for port, arn in enumerate(made.values(), start=_FIRST_PORT):
        elb.create_listener(
            LoadBalancerArn=balancer,
            Protocol="TCP",
            Port=port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
        )
    return made


def create_group(elb: "ElasticLoadBalancingv2Client", network: Network, group: NewGroup) -> str:
    """Create one group without a listener; return its ARN."""
    made = elb.create_target_group(
        Name=group.name,
        Protocol="TCP",
        Port=_DATABASE_PORT,
        VpcId=network.vpc_id,
        TargetType="ip",
        **_HEALTH_CHECK,
    )
    arn = made["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=_ATTRIBUTES)
    if group.tags:
        elb.add_tags(ResourceArns=[arn], Tags=group.tags)
    return arn


def _template(network: Network, groups: Sequence[NewGroup]) -> Mapping[str, Any]:
    resources: dict[str, Any] = {
        "LoadBalancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {
                "Type": "network",
                "Scheme": "internal",
                "Subnets": list(network.subnet_ids),
            },
        }
    }
    for port, group in enumerate(groups, start=_FIRST_PORT):
        arn = {"Ref": _logical(group)}
        resources[_logical(group)] = {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "Properties": {
                "Name": group.name,
                "Protocol": "TCP",
                "Port": _DATABASE_PORT,
                "VpcId": network.vpc_id,
                "TargetType": "ip",
                **_HEALTH_CHECK,
                "TargetGroupAttributes": _ATTRIBUTES,
                "Tags": group.tags,
            },
        }
        resources[f"{_logical(group)}Listener"] = {
            "Type": "AWS::ElasticLoadBalancingV2::Listener",
            "Properties": {
                "LoadBalancerArn": {"Ref": "LoadBalancer"},
                "Protocol": "TCP",
                "Port": port,
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": arn}],
            },
        }
    outputs = {_logical(group): {"Value": {"Ref": _logical(group)}} for group in groups}
    return {"Resources": resources, "Outputs": outputs}


def _logical(group: NewGroup) -> str:
    return "".join(word.capitalize() for word in group.name.split("-"))
