"""IAM: the resources that AWS checks a call against, where ministack names another.

Source: Service Authorization Reference for Amazon EC2 and Elastic Load Balancing v2.
"""

from collections.abc import Callable
from typing import Any

from ministack.core import iam_actions

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


def install() -> None:
    """Correct which resource ARN a policy must allow."""
    iam_actions.extract_resource_arn = _correcting(iam_actions.extract_resource_arn)


def _correcting(extract: Callable[..., str]) -> Callable[..., str]:
    def wrapped(service: str, *request: Any) -> str:
        _method, _path, _headers, _body, query_params, region, account_id = request
        action = iam_actions._query_param(query_params, "Action")
        # No Describe action of Elastic Load Balancing has a resource level: only "*" allows it.
        if service == "elasticloadbalancing" and action.startswith("Describe"):
            return "*"
        if service == "ec2" and action in _ON_ENDPOINT_SERVICE:
            id_ = iam_actions._query_param(query_params, "ServiceId")
            id_ = id_ or iam_actions._query_param(query_params, "ServiceId.1")
            return f"arn:aws:ec2:{region}:{account_id}:vpc-endpoint-service/{id_}"
        return extract(service, *request)

    return wrapped
