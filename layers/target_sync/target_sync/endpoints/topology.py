"""What can go wrong when an AWS API is asked which servers a database has.

These errors never leave an adapter: each becomes an observation that failed.
"""

from collections.abc import Iterable
from typing import ClassVar

from target_sync.aws import Failures
from target_sync.errors import DENIED_CODES, AwsCallError
from target_sync.model import FailedObservation, LookupFailure


class TopologyError(AwsCallError):
    """The API could not be asked: throttled, unreachable, or an error of its own."""

    failure: ClassVar[LookupFailure] = LookupFailure.API_UNAVAILABLE
    remedy: ClassVar[str] = ""

    def to_observation(self, name: str, at: float) -> FailedObservation:
        """The failed look at the endpoint of this name."""
        detail = f"{name}: {self} {self.remedy}".rstrip()
        return FailedObservation(name=name, failure=self.failure, detail=detail, at=at)


class TopologyDeniedError(TopologyError):
    """The role may not make the call."""

    failure = LookupFailure.ACCESS_DENIED
    remedy = "Give the function's role this permission."


class TopologyMissingError(TopologyError):
    """The API does not know the identifier."""

    failure = LookupFailure.NAME_DOES_NOT_EXIST
    remedy = "Was the database renamed or deleted? Then deploy the stack with its new endpoint."


class TopologyReplyError(TopologyError):
    """The reply does not have the documented shape. Nothing is decided from it."""

    failure = LookupFailure.BAD_ANSWER


def topology_failures(service: str, missing_codes: Iterable[str]) -> Failures:
    """How the failures of one API become the errors above.

    Args:
        service: The API's name in interface endpoints.
        missing_codes: Its codes for an identifier that it does not know.
    """
    return Failures(
        service=service,
        other=TopologyError,
        unavailable=TopologyError,
        by_code={
            **dict.fromkeys(DENIED_CODES, TopologyDeniedError),
            **dict.fromkeys(missing_codes, TopologyMissingError),
        },
    )
