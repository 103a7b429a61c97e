"""Reads target groups, listeners and load balancers from the ELBv2 API."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from botocore import xform_name

from target_sync.aws import AwsApi, items_of, port
from target_sync.model import TargetState
from target_sync.status.facts import DescribedTarget, GroupDetails, Listener, LoadBalancer
from target_sync.targets.group_settings import HEALTH_CHECK

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client

_Reply: TypeAlias = Mapping[str, Any]
_T = TypeVar("_T")

_ELB = AwsApi("elasticloadbalancing")


class ElbLoadBalancers:
    """Implements ``target_sync.status.ports.LoadBalancersPort``.

    Each method returns None for a resource that does not exist.
    """

    def __init__(self, client: "ElasticLoadBalancingv2Client") -> None:
        self._client = client

    def targets(self, group_arn: str) -> tuple[DescribedTarget, ...] | None:
        """Return every target of a group, including draining ones."""
        return self._find("DescribeTargetHealth", _targets, TargetGroupArn=group_arn)

    def group(self, arn: str) -> GroupDetails | None:
        """Return a target group."""
        return self._find("DescribeTargetGroups", _group, TargetGroupArns=[arn])

    def group_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a target group."""
        return self._find("DescribeTargetGroupAttributes", _attributes, TargetGroupArn=arn)

    def load_balancer(self, arn: str) -> LoadBalancer | None:
        """Return a load balancer."""
        return self._find("DescribeLoadBalancers", _balancer, LoadBalancerArns=[arn])

    def load_balancer_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a load balancer."""
        return self._find("DescribeLoadBalancerAttributes", _attributes, LoadBalancerArn=arn)

    def listeners(self, balancer_arn: str) -> tuple[Listener, ...] | None:
        """Return the listeners of a load balancer from all pages."""
        operation = "DescribeListeners"
        return _ELB.find(
            operation,
            lambda: tuple(
                _listener(item)
                for item in items_of(
                    self._client, operation, "Listeners", LoadBalancerArn=balancer_arn
                )
            ),
        )

    def listener_attributes(self, arn: str) -> Mapping[str, str] | None:
        """Return the attributes of a listener."""
        return self._find("DescribeListenerAttributes", _attributes, ListenerArn=arn)

    def _find(self, operation: str, read: Callable[[_Reply], _T], **arguments: Any) -> _T | None:
        """Return what a function reads from the reply; None if the resource does not exist."""
        method = getattr(self._client, xform_name(operation))
        return _ELB.find(operation, lambda: read(method(**arguments)))


def _attributes(reply: _Reply) -> Mapping[str, str]:
    return {item["Key"]: item["Value"] for item in reply["Attributes"]}


def _targets(reply: _Reply) -> tuple[DescribedTarget, ...]:
    return tuple(map(_target, reply["TargetHealthDescriptions"]))


def _target(item: Mapping[str, Any]) -> DescribedTarget:
    target, health = item["Target"], item["TargetHealth"]
    return DescribedTarget(
        id=target["Id"],
        port=port(target["Port"]),
        state=TargetState.of(health["State"]),
        reason=health.get("Reason", ""),
    )


def _group(reply: _Reply) -> GroupDetails:
    item = reply["TargetGroups"][0]
    return GroupDetails(
        target_type=item["TargetType"],
        protocol=item["Protocol"],
        health_check={name: item[name] for name in HEALTH_CHECK},
        load_balancer_arns=tuple(item.get("LoadBalancerArns", ())),
    )


def _balancer(reply: _Reply) -> LoadBalancer:
    item = reply["LoadBalancers"][0]
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
        port=port(item["Port"]),
        target_group_arns=frozenset(filter(None, forwarded)),
    )
