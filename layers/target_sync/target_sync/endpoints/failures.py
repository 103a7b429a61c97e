"""Failed calls to an AWS API as failed observations.

A module of its own, because the endpoints of clusters and of EC2 instances share it, and a
container imports only one of the two.
"""

from target_sync.errors import AwsAccessDeniedError, AwsCallError, AwsNotFoundError, AwsReplyError
from target_sync.model import FailedObservation, LookupFailure

_FAILURES = {
    AwsAccessDeniedError: (
        LookupFailure.ACCESS_DENIED,
        " Give the function's role this permission.",
    ),
    AwsNotFoundError: (
        LookupFailure.NAME_DOES_NOT_EXIST,
        " Was the database renamed or deleted? Then deploy the stack with its new endpoint.",
    ),
    AwsReplyError: (LookupFailure.BAD_ANSWER, ""),
}
_OTHER = (LookupFailure.API_UNAVAILABLE, "")


def failed_observation(error: AwsCallError, name: str, at: float) -> FailedObservation:
    """Return the failed observation of the endpoint with this name, with a remedy if known."""
    failure, remedy = _FAILURES.get(type(error), _OTHER)
    return FailedObservation(name=name, failure=failure, detail=f"{name}: {error}{remedy}", at=at)
