"""Clients of AWS APIs, and one call to them, its failures told apart by AWS's code."""

import functools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import botocore.exceptions
import botocore.session
from botocore.config import Config
from botocore.loaders import Loader

from target_sync.errors import AwsCallError
from target_sync.model import IPNetwork

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: How AWS's APIs say slow down (common error codes of the AWS APIs).
THROTTLED_CODES = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
#: What passes by itself, after the client's own retries.
_UNAVAILABLE = THROTTLED_CODES | {"RequestTimeout"}
_SERVER_ERROR = 500

#: Short time-outs: a function that cannot reach the API must say so within seconds. The
#: retries are botocore's, with its back-off; there are none on top of them.
CLIENT_CONFIG = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
)


def make_client(service: str, config: Config = CLIENT_CONFIG) -> Any:
    """A client of an API, for the adapter that knows its type.

    botocore without boto3: the same client for less import time (docs/adr/0006).
    """
    # Lambda gives the root logger the level of LogLevel. At DEBUG botocore would write every
    # request with its headers, the role's session token among them.
    logging.getLogger("botocore").setLevel(logging.INFO)
    return _session().create_client(service, config=config)


@functools.cache
def _session() -> botocore.session.Session:
    """The one session of this container: each new one would read botocore's tables again."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _DataLoader())
    return session


class _DataLoader(Loader):
    """botocore's loader of its own data, without what no client of ours needs."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's
        """The services that have a folder, whatever is in it.

        botocore looks into more than 400 folders twice for each kind of client, only to find out
        whether it knows the service. One that has no model still fails, where it is loaded.
        """
        folders = (path for path in self.search_paths if Path(path).is_dir())
        return sorted({entry.name for folder in folders for entry in os.scandir(folder)})

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """Data by its name, and where it is from.

        The endpoints of every service, 1.2 MB of JSON, are left out. They are from before each
        service had rules for its endpoints, by which botocore sends and signs requests today: it
        looks a service up here first and needs no answer, as for a Region that is newer than it.
        """
        if name == "endpoints":
            return {"version": 3, "partitions": []}, self.BUILTIN_DATA_PATH
        return super().load_data_with_path(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How the failures of one API become errors of ours.

    Attributes:
        service: The API's name in interface endpoints, for example ``elasticloadbalancing``.
        other: The error for a code that is not known.
        unavailable: The error for what passes by itself: throttled, timed out, unreachable.
        by_code: The error for each code that has a remedy of its own.
    """

    service: str
    other: type[AwsCallError]
    unavailable: type[AwsCallError]
    by_code: Mapping[str, type[AwsCallError]] = field(default_factory=dict)

    def call(
        self, operation: str, method: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
    ) -> _R:
        """Make one call. The client's own retries are the only ones.

        Raises:
            AwsCallError: One of the errors above.
        """
        try:
            return method(*args, **kwargs)
        except botocore.exceptions.ClientError as error:
            raise self._translated(operation, error) from error
        except (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError) as error:
            raise self.unavailable(
                operation,
                type(error).__name__,
                f"{error}. A function inside a VPC needs an interface endpoint for"
                f" {self.service}, or a NAT gateway.",
            ) from error

    def read(self, operation: str, read: Callable[[], _R]) -> _R:
        """Make calls while reading their replies, as with pages.

        Raises:
            AwsCallError: One of the errors above; ``other`` if a reply does not have the
                documented shape.
        """
        try:
            return self.call(operation, read)
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            botocore.exceptions.PaginationError,
        ) as error:
            raise self.other.wrong_reply(operation, error) from error

    def _translated(self, operation: str, error: botocore.exceptions.ClientError) -> AwsCallError:
        code = error.response.get("Error", {}).get("Code", "Unknown")
        message = error.response.get("Error", {}).get("Message", str(error))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = self.by_code.get(code, self.other)
        if code in _UNAVAILABLE or (code not in self.by_code and status >= _SERVER_ERROR):
            kind = self.unavailable
        return kind(operation, code, message)


def networks_of(vpc: Mapping[str, Any]) -> tuple[IPNetwork, ...]:
    """The IPv4 networks of a VPC that hold, in order."""
    blocks = {
        block["CidrBlock"]
        for block in vpc.get("CidrBlockAssociationSet", [])
        if block.get("CidrBlockState", {}).get("State") == "associated"
    }
    return tuple(ip_network(block) for block in sorted(blocks))
