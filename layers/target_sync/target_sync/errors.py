"""The errors of this package, sorted by what to do about them.

A retryable error is raised so that Lambda retries the run. A final error is raised so that an
alarm rings. No error is ever turned into a successful result.
"""

#: The longest message of an API. The one of a denied call may have 2,000 characters.
_LONGEST_MESSAGE = 4000


class TargetSyncError(Exception):
    """The base of every error that this package raises on purpose."""

    retryable = False


class SettingsError(TargetSyncError):
    """An environment variable is missing or invalid. The message names it."""


class TriggerError(TargetSyncError):
    """The payload of an invocation is not supported. The message names the key."""


class ObservationError(TargetSyncError):
    """The endpoint gave no addresses. The run changed nothing."""

    retryable = True


class ObservationDeniedError(ObservationError):
    """The role lacks a permission for the API that lists the database's servers."""

    retryable = False


class AwsCallError(TargetSyncError):
    """A call to an AWS API failed. The subclasses need different handling.

    A failed Lambda invocation reports the name of the class as its ``errorType``, which
    ``Custom::FirstSync`` reads.

    Attributes:
        code: AWS's error code, or the name of the client-side error.
    """

    def __init__(self, operation: str, code: str, message: str) -> None:
        # The message may be a whole page of a proxy.
        text = " ".join(message.split())[:_LONGEST_MESSAGE]
        super().__init__(f"{operation} failed with {code}: {text}")
        self.operation = operation
        self.code = code


class AwsUnavailableError(AwsCallError):
    """The API throttled the call, timed out, or was unreachable, after the client's retries."""

    retryable = True


class AwsAccessDeniedError(AwsCallError):
    """The role lacks the permission for the call."""


class AwsNotFoundError(AwsCallError):
    """The resource that the call names does not exist."""


class AwsReplyError(AwsCallError):
    """The reply cannot be parsed, or lacks what is needed of it. Nothing is decided from it.

    It may come from a proxy, so a retry may help.
    """

    retryable = True

    def __init__(self, operation: str, error: Exception) -> None:
        missing = " is missing" if isinstance(error, KeyError) else ""
        super().__init__(
            operation,
            type(error).__name__,
            f"the reply does not have the documented shape: {error}{missing}",
        )


class RequestsFailedError(TargetSyncError):
    """The review of some connection requests failed. The others were reviewed."""

    retryable = True

    def __init__(self, failures: tuple[str, ...]) -> None:
        super().__init__("; ".join(failures))
        self.failures = failures


class CustomResourceRequestError(TargetSyncError):
    """The payload is not a request of CloudFormation, or names an unknown resource type."""


class CustomResourceResponseError(TargetSyncError):
    """CloudFormation did not take the response, after several tries."""

    retryable = True


class RejectedInputError(Exception):
    """The deployment cannot go on with these parameters.

    The message is one sentence that names the parameter and the remedy. People read it in the
    stack's events, so no prefix is added.
    """
