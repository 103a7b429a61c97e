"""Reads target groups, listeners and load balancers from the ELBv2 API."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from target_sync.aws import AwsApi
from target_sync.model import TargetState
from target_sync.status.facts import DescribedTarget, GroupDetails, Listener, LoadBalancer

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client

_ELB = AwsApi("elasticloadbalancing")
_KNOWN_STATES = frozenset(TargetState)


class ElbLoadBalancers:
    """Implements ``target_sync.status.ports.LoadBalancersPort``.

    Each method returns None for a resource that does not exist.
    """

    def __init__(self, client: "ElasticLoadBalancingv2Client") -> None:
        self._client = client

    def targets(self, group_arn: str) -> tuple[DescribedTarget, ...] | None:
        """Return every target of a group, including draining ones."""

        def read() -> tuple[DescribedTarget, ...]:
            reply = self._client.describe_target_health(TargetGroupArn=group_arn)
            return tuple(map(_target, reply["TargetHealthDescriptions"]))

        return _ELB.find("DescribeTargetHealth", read)

    def group(self, arn: str) -> GroupDetails | None:
        """Return a target group."""

        def read() -> GroupDetails:
            reply = self._client.describe_target_groups(TargetGroupArns=[arn])
            return _group(reply["TargetGroups"][0])

        return _ELB.find("DescribeTargetGroups", read)

    def group_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a target group."""
        return _ELB.find(
            "DescribeTargetGroupAttributes",
            lambda: _attributes(self._client.describe_target_group_attributes(TargetGroupArn=arn)),
        )

    def load_balancer(self, arn: str) -> LoadBalancer | None:
        """Return a load balancer."""

        def read() -> LoadBalancer:
            reply = self._client.describe_load_balancers(LoadBalancerArns=[arn])
            return _balancer(reply["LoadBalancers"][0])

        return _ELB.find("DescribeLoadBalancers", read)

    def load_balancer_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a load balancer."""
        return _ELB.find(
            "DescribeLoadBalancerAttributes",
            lambda: _attributes(
                self._client.describe_load_balancer_attributes(LoadBalancerArn=arn)
            ),
        )

    def listeners(self, balancer_arn: str) -> tuple[Listener, ...] | None:
        """Return the listeners of a load balancer from all pages."""
        pages = self._client.get_paginator("describe_listeners").paginate(
            LoadBalancerArn=balancer_arn
        )
        return _ELB.find(
            "DescribeListeners",
            lambda: tuple(_listener(item) for page in pages for item in page["Listeners"]),
        )

    def listener_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a listener."""
        return _ELB.find(
            "DescribeListenerAttributes",
            lambda: _attributes(self._client.describe_listener_attributes(ListenerArn=arn)),
        )


def _attributes(reply: Mapping[str, Any]) -> Mapping[str, str]:
    return {item["Key"]: item["Value"] for item in reply["Attributes"]}


def _target(item: Mapping[str, Any]) -> DescribedTarget:
    target, health = item["Target"], item["TargetHealth"]
    state = health["State"]
    return DescribedTarget(
        id=target["Id"],
        port=int(target["Port"]),
        state=TargetState(state) if state in _KNOWN_STATES else TargetState.UNKNOWN,
        reason=health.get("Reason", ""),
    )


def _group(item: Mapping[str, Any]) -> GroupDetails:
    return GroupDetails(
        target_type=item["TargetType"],
        protocol=item["Protocol"],
        health_check_protocol=item["HealthCheckProtocol"],
        health_check_port=item["HealthCheckPort"],
        health_check_interval=item["HealthCheckIntervalSeconds"],
        unhealthy_threshold=item["UnhealthyThresholdCount"],
        load_balancer_arns=tuple(item.get("LoadBalancerArns", ())),
    )


def _balancer(item: Mapping[str, Any]) -> LoadBalancer:
    enforcement = item.get("EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic", "off")
    return LoadBalancer(
        arn=item["LoadBalancerArn"],
        state=item["State"]["Code"],
        vpc_id=item["VpcId"],
        zones={zone["ZoneName"]: zone["SubnetId"] for zone in item["AvailabilityZones"]},
        security_groups=tuple(item.get("SecurityGroups", ())),
        enforces_inbound_rules=enforcement == "on",
    )


def _listener(item: Mapping[str, Any]) -> Listener:
    actions = item.get("DefaultActions", ())
    forwarded = [
        group.get("TargetGroupArn")
        for action in actions
        for group in (action, *action.get("ForwardConfig", {}).get("TargetGroups", ()))
    ]
    return Listener(
        arn=item["ListenerArn"],
        protocol=item["Protocol"],
        port=item["Port"],
        target_group_arns=frozenset(filter(None, forwarded)),
    )
