"""What can go wrong, by what to do about it.

A retryable error is raised so that Lambda tries again; a final one so that a person looks.
Neither is ever turned into a result.
"""

from typing import Self


class TargetSyncError(Exception):
    """The root of every error that this package raises on purpose."""

    retryable = False


class SettingsError(TargetSyncError):
    """An environment variable is missing or wrong. The message names it."""


class TriggerError(TargetSyncError):
    """The payload of an invocation is not one that we know. The message names what is wrong."""


class ObservationError(TargetSyncError):
    """The endpoint gave no addresses. Nothing was changed."""

    retryable = True


class ObservationDeniedError(ObservationError):
    """The function may not ask the API that knows the database's servers."""

    retryable = False


#: What AWS's APIs call a missing permission, each in its own way.
DENIED_CODES = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


class AwsCallError(TargetSyncError):
    """A call to an AWS API failed.

    Attributes:
        operation: The API action, for example ``RegisterTargets``.
        code: AWS's error code, or the name of the client-side error.
    """

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation} failed with {code}: {message}")
        self.operation = operation
        self.code = code

    @classmethod
    def wrong_reply(cls, operation: str, error: Exception) -> Self:
        """The error for a reply that does not have the documented shape."""
        return cls(
            operation,
            type(error).__name__,
            f"the reply does not have the documented shape: {error}",
        )


class TargetGroupError(AwsCallError):
    """A call on the target group failed."""


class TargetGroupNotFoundError(TargetGroupError):
    """The target group does not exist (any more)."""


class TargetGroupAccessError(TargetGroupError):
    """The function may not make this call."""


class TargetRefusedError(TargetGroupError):
    """AWS does not take this target: a wrong kind of address, or too many targets."""


class TargetGroupReplyError(TargetGroupError):
    """AWS's reply does not have the documented shape. Nothing is decided from it."""


class TargetGroupUnavailableError(TargetGroupError):
    """Throttled, timed out, or unreachable, after the client's own retries."""

    retryable = True


class EndpointServiceError(AwsCallError):
    """A call on the endpoint service or on one of its connections failed."""


class EndpointServiceUnavailableError(EndpointServiceError):
    """Throttled, timed out, or unreachable, after the client's own retries."""

    retryable = True


class NotificationError(AwsCallError):
    """A topic or the event bus may not have taken a message. It is told, never raised by a run."""


class RequestsFailedError(TargetSyncError):
    """Some endpoint connections could not be answered. The others were.

    Attributes:
        failures: What failed, a sentence each.
    """

    retryable = True

    def __init__(self, failures: tuple[str, ...]) -> None:
        super().__init__("; ".join(failures))
        self.failures = failures


class StackCallError(AwsCallError):
    """A call that a custom resource of the stack needs failed."""


class StackCallUnavailableError(StackCallError):
    """Throttled, timed out, or unreachable, after the client's own retries."""

    retryable = True


class StatusCallError(AwsCallError):
    """A call that the diagnosis needs failed. The step that rests on it is then unknown."""


class StatusCallUnavailableError(StatusCallError):
    """Throttled, timed out, or unreachable, after the client's own retries."""

    retryable = True


class FleetCallError(AwsCallError):
    """A call that the fleet's sweep, its watch or its queues need failed."""


class FleetCallUnavailableError(FleetCallError):
    """Throttled, timed out, or unreachable, after the client's own retries."""

    retryable = True


class RateLimitExceededError(TargetSyncError):
    """The fleet's share of the calls had none left for this work in the time that it had."""

    retryable = True


class CustomResourceRequestError(TargetSyncError):
    """A payload that is no request of CloudFormation, or one for a resource that we do not have."""


class CustomResourceResponseError(TargetSyncError):
    """CloudFormation did not take the answer, after several tries."""

    retryable = True


class RejectedInputError(Exception):
    """The deployment cannot go on as asked.

    The message is one sentence that names the parameter and the remedy. It is what a person
    reads in the stack's events, so nothing is put in front of it.
    """
