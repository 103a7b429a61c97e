"""Clients of AWS APIs, and calls to them. Failures become errors by AWS's error code."""

import functools
import logging
import os.path
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, ParamSpec, TypeVar, cast

import botocore.exceptions
import botocore.session
from botocore import xform_name
from botocore.config import Config

from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsNotFoundError,
    AwsReplyError,
    AwsUnavailableError,
    TargetSyncError,
)
from target_sync.model import HIGHEST_PORT, IPNetwork

_P = ParamSpec("_P")
_R = TypeVar("_R")
_F = TypeVar("_F", bound=Callable[..., Any])

#: The error codes of throttling (common error codes of the AWS APIs).
THROTTLED_CODES = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
#: The codes of other errors that pass by themselves: of any API, of SQS (API reference,
#: GetQueueAttributes), and of the resource groups tagging API (GetResources).
_UNAVAILABLE_CODES = (
    "RequestTimeout",
    "RequestThrottled",
    "ThrottledException",
    "PaginationTokenExpiredException",
)
#: The codes that need another handling than a general failure (references of the APIs).
_ERRORS: Mapping[str, type[AwsCallError]] = {
    **dict.fromkeys((*THROTTLED_CODES, *_UNAVAILABLE_CODES), AwsUnavailableError),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"), AwsAccessDeniedError
    ),
    **dict.fromkeys(
        (
            "AWS.SimpleQueueService.NonExistentQueue",
            "DBClusterEndpointNotFoundFault",
            "DBClusterNotFoundFault",
            "DBInstanceNotFound",
            "DBProxyEndpointNotFoundFault",
            "DBProxyNotFoundFault",
            "InvalidGroup.NotFound",
            "InvalidGroupId.Malformed",
            "InvalidInstanceID.Malformed",
            "InvalidInstanceID.NotFound",
            "InvalidSubnetID.Malformed",
            "InvalidSubnetID.NotFound",
            "InvalidVpcEndpointServiceId.NotFound",
            "InvalidVpcID.Malformed",
            "InvalidVpcID.NotFound",
            "InvalidVpcId.Malformed",
            "ListenerNotFound",
            "LoadBalancerNotFound",
            "QueueDoesNotExist",
            "ResourceNotFoundException",
            "TargetGroupNotFound",
        ),
        AwsNotFoundError,
    ),
}
#: The statuses of errors that pass by themselves, whatever their code: a time-out, throttling, and
#: every failure of a server.
_UNAVAILABLE_STATUSES = frozenset({408, 429, *range(500, 600)})
#: Most pages of one reply. A page of the API with the smallest ones has 100 items.
_MOST_PAGES = 100

#: Short time-outs, because a function that cannot reach the API must say so within seconds. The
#: retries are botocore's, with its back-off; the project adds none.
CLIENT_CONFIG = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)


# One session for all clients of a container: each new one would read botocore's tables again.
_session = functools.cache(botocore.session.get_session)


#: Models of APIs with the operations of ReconcileTargetsFunction alone (ADR 0033).
_SMALL_MODELS = os.path.join(os.path.dirname(__file__), "aws_models")  # noqa: PTH118, PTH120 - pathlib is not imported yet


def use_small_models() -> None:
    """Let clients that are made later use this project's models, for the APIs that have one.

    Such a client has only the operations of the model. botocore's own model of EC2 has hundreds.
    """
    _session().set_config_variable("data_path", _SMALL_MODELS)


def make_client(service: str, config: Config = CLIENT_CONFIG) -> Any:
    """Return a client of an API. The adapter that gets it declares its type.

    botocore without boto3 gives the same client in less import time (ADR 0026).

    Raises:
        UnknownServiceError: Lambda's botocore does not have the API.
    """
    # Lambda sets the root logger to LogLevel. At DEBUG, botocore would log every request with its
    # headers, which contain the role's session token.
    logging.getLogger("botocore").setLevel(logging.INFO)
    return _session().create_client(service, config=config)


@dataclass(frozen=True, slots=True)
class AwsApi:
    """Calls to one API, whose failures become errors of this package.

    botocore's retries are the only ones.

    Attributes:
        service: The name of the API in interface endpoints, for example ``ec2``.
    """

    service: str

    def call(
        self, operation: str, method: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """Return the result of a call, or what a function reads from replies, as with `items_of`.

        Raises:
            AwsReplyError: The reply cannot be parsed, or does not have the documented shape.
            AwsCallError: The call failed for another reason.
        """
        try:
            return method(*args, **kwargs)
        except botocore.exceptions.ClientError as error:
            raise _error_of(operation, error) from error
        except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError) as error:
            raise AwsUnavailableError(
                operation,
                type(error).__name__,
                f"{error}. A function inside a VPC needs an interface endpoint for"
                f" {self.service}, or a NAT gateway.",
            ) from error
        except TargetSyncError:
            raise
        # Parsers raise more than ResponseParserError, for example a RecursionError.
        except Exception as error:
            raise AwsReplyError(operation, error) from error

    def reads(self, operation: str) -> Callable[[_F], _F]:
        """Let a function raise as `call`, also if a reply lacks what the function reads."""

        def decorate(function: _F) -> _F:
            @functools.wraps(function)
            def read(*args: Any, **kwargs: Any) -> Any:
                return self.call(operation, function, *args, **kwargs)

            return cast("_F", read)

        return decorate

    def find(self, operation: str, read: Callable[[], _R]) -> _R | None:
        """Return the same as `call`, or None if the resource does not exist.

        Raises:
            AwsCallError: A call failed for another reason.
        """
        try:
            return self.call(operation, read)
        except AwsNotFoundError:
            return None


def items_of(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    """Yield the items on all pages of a reply, for a function that `AwsApi.call` calls.

    Raises:
        ValueError: The pages do not end.
    """
    pages = client.get_paginator(xform_name(operation)).paginate(**arguments)
    for number, page in enumerate(pages):
        if number == _MOST_PAGES:
            raise ValueError(f"it has more than {_MOST_PAGES} pages")
        yield from page[key]


def text(value: object) -> str:
    """Return a text of a JSON document, whose fields may have any type.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def port(value: object) -> int:
    """Return a port.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, int) or not 0 < value <= HIGHEST_PORT:
        raise ValueError(f"{value!r} is no port")
    return value


def error_for(operation: str, code: str, message: str, *, http_status: int = 0) -> AwsCallError:
    """Return the error for an AWS error code."""
    is_unavailable = http_status in _UNAVAILABLE_STATUSES
    kind = _ERRORS.get(code, AwsUnavailableError if is_unavailable else AwsCallError)
    return kind(operation, code, message)


def _error_of(operation: str, error: botocore.exceptions.ClientError) -> AwsCallError:
    details = error.response.get("Error", {})
    return error_for(
        operation,
        str(details.get("Code") or "Unknown"),
        str(details.get("Message") or error),
        http_status=error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
    )


#: The IDs of the Availability Zones that accept no Network Load Balancer (NLB guide, "Update the
#: Availability Zones": constrained zones). No API lists them; reports of users name these.
_CONSTRAINED_ZONES = frozenset({"apne1-az3", "apne2-az2", "use1-az3", "usw1-az2"})


def zones_without_load_balancers(zones: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return the described zones that accept no Network Load Balancer: each ID by its name.

    These are the constrained zones, and every Local Zone and Wavelength Zone.
    """
    return {
        zone["ZoneName"]: zone["ZoneId"]
        for zone in zones
        if zone["ZoneType"] != "availability-zone" or zone["ZoneId"] in _CONSTRAINED_ZONES
    }


def networks_of(vpc: Mapping[str, Any]) -> tuple[IPNetwork, ...]:
    """Return the IPv4 networks that are associated with a VPC, in order."""
    blocks = {
        block["CidrBlock"]
        for block in vpc.get("CidrBlockAssociationSet", [])
        if block.get("CidrBlockState", {}).get("State") == "associated"
    }
    return tuple(ip_network(block) for block in sorted(blocks))
