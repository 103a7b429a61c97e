"""A target group behind the ELBv2 API."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import botocore.exceptions

from target_sync.core.model import Target, TargetGroup, TargetHealth, TargetState
from target_sync.errors import (
    TargetGroupAccessError,
    TargetGroupError,
    TargetGroupNotFoundError,
    TargetGroupReplyError,
    TargetGroupUnavailableError,
    TargetRefusedError,
)

if TYPE_CHECKING:
    from mypy_boto3_elbv2.client import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import TargetDescriptionTypeDef

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Targets in one call. The API takes no more than this reliably; a group has one to three.
CHUNK = 200

_ERRORS_BY_CODE: Mapping[str, type[TargetGroupError]] = {
    "TargetGroupNotFound": TargetGroupNotFoundError,
    "AccessDenied": TargetGroupAccessError,
    "AccessDeniedException": TargetGroupAccessError,
    "UnauthorizedOperation": TargetGroupAccessError,
    "InvalidTarget": TargetRefusedError,
    "TooManyTargets": TargetRefusedError,
    "TooManyRegistrationsForTargetId": TargetRefusedError,
    "Throttling": TargetGroupUnavailableError,
    "ThrottlingException": TargetGroupUnavailableError,
    "RequestLimitExceeded": TargetGroupUnavailableError,
    "TooManyRequestsException": TargetGroupUnavailableError,
    "RequestTimeout": TargetGroupUnavailableError,
}
_SERVER_ERROR = 500
_KNOWN_STATES = frozenset(TargetState)


class ElbTargetGroup:
    """One target group, by ARN. Implements ``target_sync.core.ports.TargetGroupPort``.

    The client's own retries are the only ones. Errors are told apart by AWS's code, never by
    the text.
    """

    def __init__(self, client: "ElasticLoadBalancingv2Client", arn: str) -> None:
        self._client = client
        self._arn = arn

    def describe(self) -> TargetGroup:
        """List the targets. One call: DescribeTargetHealth has no pages."""
        reply = _call(
            "DescribeTargetHealth", self._client.describe_target_health, TargetGroupArn=self._arn
        )
        try:
            return TargetGroup(
                tuple(_target_health(item) for item in reply["TargetHealthDescriptions"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise TargetGroupReplyError(
                "DescribeTargetHealth",
                type(error).__name__,
                f"the reply does not have the documented shape: {error}",
            ) from error

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets, each with its port."""
        for chunk in _chunks(targets):
            _call(
                "RegisterTargets",
                self._client.register_targets,
                TargetGroupArn=self._arn,
                Targets=chunk,
            )

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets, each with its port: without it AWS would not find an override."""
        for chunk in _chunks(targets):
            _call(
                "DeregisterTargets",
                self._client.deregister_targets,
                TargetGroupArn=self._arn,
                Targets=chunk,
            )


def _chunks(targets: Sequence[Target]) -> Iterator[list["TargetDescriptionTypeDef"]]:
    described: list[TargetDescriptionTypeDef] = [
        {"Id": str(target.address), "Port": target.port} for target in targets
    ]
    for start in range(0, len(described), CHUNK):
        yield described[start : start + CHUNK]


def _target_health(item: Mapping[str, Any]) -> TargetHealth:
    target, health = item["Target"], item["TargetHealth"]
    state = health["State"]
    return TargetHealth(
        Target(ip_address(target["Id"]), int(target["Port"])),
        TargetState(state) if state in _KNOWN_STATES else TargetState.UNKNOWN,
        health.get("Reason", ""),
    )


def _call(operation: str, method: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    try:
        return method(*args, **kwargs)
    except botocore.exceptions.ClientError as error:
        raise _translated(operation, error) from error
    except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError) as error:
        raise TargetGroupUnavailableError(
            operation,
            type(error).__name__,
            f"{error}. A function inside a VPC needs an interface endpoint for"
            " elasticloadbalancing, or a NAT gateway.",
        ) from error


def _translated(operation: str, error: botocore.exceptions.ClientError) -> TargetGroupError:
    code = error.response.get("Error", {}).get("Code", "Unknown")
    message = error.response.get("Error", {}).get("Message", str(error))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = _ERRORS_BY_CODE.get(code)
    if kind is None:
        kind = TargetGroupUnavailableError if status >= _SERVER_ERROR else TargetGroupError
    return kind(operation, code, message)
