"""A stack for drills, as AWS's APIs describe it."""

from collections.abc import Mapping
from typing import Any

from drill.decisions import REQUIRED_RESOURCES, DrilledStack, Resource, recognise_stack
from tests.support.notifications import GROUP_ARN

ENDPOINT = "orders.abc123.eu-west-1.rds.amazonaws.com"
CLUSTER_ENDPOINT = "shop.cluster-abc123.eu-west-1.rds.amazonaws.com"
BALANCER_ARN = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:loadbalancer/net/orders/01ef"


def described_stack(
    *,
    status: str = "UPDATE_COMPLETE",
    outputs: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """A stack as DescribeStacks describes it."""
    given = {"DatabaseEndpoint": ENDPOINT, "StandbyTargets": "none", **(parameters or {})}
    made = {
        "DatabaseKind": "rds-instance",
        "TargetGroupArn": GROUP_ARN,
        "ReconcileTargetsFunctionName": "physical-ReconcileTargetsFunction",
        "ReportStatusFunctionName": "physical-ReportStatusFunction",
        "LoadBalancerDnsName": "orders.elb.eu-west-1.amazonaws.com",
        **(outputs or {}),
    }
    return {
        "StackName": "orders-privatelink",
        "StackId": "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders-privatelink/1-2-3",
        "StackStatus": status,
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in made.items()],
        "Parameters": [
            {"ParameterKey": key, "ParameterValue": value} for key, value in given.items()
        ],
    }


def stack_resources(**changed: Resource | None) -> Mapping[str, Resource]:
    """The resources of such a stack; None removes one."""
    found: dict[str, Resource | None] = {
        **{
            name: Resource(type=kind, id=f"physical-{name}")
            for name, kind in REQUIRED_RESOURCES.items()
        },
        "DatabaseTargetGroup": Resource(
            type="AWS::ElasticLoadBalancingV2::TargetGroup", id=GROUP_ARN
        ),
        "LoadBalancer": Resource(type="AWS::ElasticLoadBalancingV2::LoadBalancer", id=BALANCER_ARN),
        **changed,
    }
    return {name: resource for name, resource in found.items() if resource is not None}


def instance_stack() -> DrilledStack:
    """A stack of an RDS instance."""
    return recognise_stack(described_stack(), stack_resources())


def cluster_stack() -> DrilledStack:
    """A stack of a cluster's writer."""
    described = described_stack(
        outputs={"DatabaseKind": "rds-cluster-writer"},
        parameters={"DatabaseEndpoint": CLUSTER_ENDPOINT},
    )
    return recognise_stack(described, stack_resources())


def instance(**changed: object) -> Mapping[str, Any]:
    """The stack's instance as DescribeDBInstances describes it."""
    return {
        "DBInstanceIdentifier": "orders",
        "DBInstanceStatus": "available",
        "Endpoint": {"Address": ENDPOINT, "Port": 5432},
        "MultiAZ": True,
        **changed,
    }


def cluster(**changed: object) -> Mapping[str, Any]:
    """The stack's cluster as DescribeDBClusters describes it."""
    return {
        "DBClusterIdentifier": "shop",
        "Status": "available",
        "Endpoint": CLUSTER_ENDPOINT,
        "Engine": "aurora-postgresql",
        "DBClusterMembers": [
            {"DBInstanceIdentifier": "shop-1", "IsClusterWriter": True},
            {"DBInstanceIdentifier": "shop-2", "IsClusterWriter": False},
        ],
        **changed,
    }
