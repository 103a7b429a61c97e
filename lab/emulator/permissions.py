"""IAM: the resources and condition keys of calls that differ in ministack.

Source: Service Authorization Reference for Amazon EC2, Elastic Load Balancing v2, Amazon RDS,
Amazon EC2 Auto Scaling and Amazon EventBridge.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core import iam_actions
from ministack.services import autoscaling

_ON_ENDPOINT_SERVICE = frozenset(
    {
        "AcceptVpcEndpointConnections",
        "RejectVpcEndpointConnections",
        "ModifyVpcEndpointServiceConfiguration",
        "ModifyVpcEndpointServicePermissions",
        "DescribeVpcEndpointServicePermissions",
        "DeleteVpcEndpointServiceConfigurations",
    }
)
# The kind of resource in the ARN, and the parameter with its name. For a call without a name AWS
# checks the ARN with a star.
_RDS_RESOURCES: Mapping[str, tuple[str, str]] = {
    "DescribeDBInstances": ("db", "DBInstanceIdentifier"),
    "DescribeDBClusters": ("cluster", "DBClusterIdentifier"),
    "DescribeDBClusterEndpoints": ("cluster-endpoint", "DBClusterEndpointIdentifier"),
    "DescribeDBProxies": ("db-proxy", "DBProxyName"),
    "DescribeDBProxyEndpoints": ("db-proxy-endpoint", "DBProxyEndpointName"),
    "DescribeDBSubnetGroups": ("subgrp", "DBSubnetGroupName"),
}


def install() -> None:
    """Correct the resource ARNs and condition keys of calls."""
    iam_actions.extract_resource_arn = _correcting(iam_actions.extract_resource_arn)
    iam_actions.request_tag_context = _with_sources(iam_actions.request_tag_context)


def _with_sources(context: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Add the condition key ``events:source`` of PutEvents: the sources of its entries."""

    def wrapped(service: str, action: str, body: bytes, *rest: Any) -> dict[str, Any]:
        keys = context(service, action, body, *rest)
        if action != "events:PutEvents":
            return keys
        entries = json.loads(body)["Entries"]
        return {**keys, "events:source": [entry["Source"] for entry in entries]}

    return wrapped


def _correcting(extract: Callable[..., str]) -> Callable[..., str]:
    def wrapped(service: str, *request: Any) -> str:
        _method, _path, _headers, _body, query_params, region, account_id = request
        action = iam_actions._query_param(query_params, "Action")
        # No Describe action of Elastic Load Balancing has a resource level: only "*" allows it.
        if service == "elasticloadbalancing" and action.startswith("Describe"):
            return "*"
        if service == "rds" and action in _RDS_RESOURCES:
            kind, parameter = _RDS_RESOURCES[action]
            name = iam_actions._query_param(query_params, parameter) or "*"
            return f"arn:aws:rds:{region}:{account_id}:{kind}:{name}"
        if service == "autoscaling":
            return _auto_scaling_group(action, query_params)
        if service == "ec2" and action in _ON_ENDPOINT_SERVICE:
            id_ = iam_actions._query_param(query_params, "ServiceId")
            id_ = id_ or iam_actions._query_param(query_params, "ServiceId.1")
            return f"arn:aws:ec2:{region}:{account_id}:vpc-endpoint-service/{id_}"
        # No other Describe action of EC2 has a resource level.
        if service == "ec2" and action.startswith("Describe"):
            return "*"
        return extract(service, *request)

    return wrapped


def _auto_scaling_group(action: str, query_params: Mapping[str, Any]) -> str:
    """Return the ARN of the group that a call changes; a Describe action has no resource level."""
    name = iam_actions._query_param(query_params, "AutoScalingGroupName")
    group = autoscaling._asgs.get(name)
    if action.startswith("Describe") or group is None:
        return "*"
    return str(group["AutoScalingGroupARN"])
