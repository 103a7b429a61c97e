"""Handles CloudFormation's requests. Every request gets a response, even after a time-out."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from target_sync.errors import (
    AwsAccessDeniedError,
    CustomResourceRequestError,
    RejectedInputError,
    TargetSyncError,
)
from target_sync.ports import Clock, Reporter
from target_sync.provisioning.ports import ResponsePort
from target_sync.provisioning.request import (
    Attributes,
    CustomResource,
    RequestOutcome,
    RequestType,
    ResourceRequest,
    failure_response,
    parse_request,
    success_response,
)

#: Seconds at the end of the function's time for the response with its retries.
RESERVE_SECONDS = 15.0
#: Seconds to retry a denied call: IAM applies a new policy only after a delay (IAM user guide,
#: "Changes that I make are not always immediately visible").
POLICY_SECONDS = 20.0
_POLICY_PAUSE_SECONDS = 2.0


@dataclass(slots=True)
class _Response:
    """The response to a request. Only the first one is sent."""

    request: ResourceRequest
    port: ResponsePort
    reporter: Reporter[RequestOutcome]
    deadline: float
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sent: bool = False

    def send_failure(self, reason: str) -> None:
        self.send(failure_response(self.request, reason), None, reason)

    def send(self, body: bytes, attributes: Attributes | None, reason: str = "") -> None:
        with self._lock:
            if self._sent:
                return
            self._sent = True
        self.reporter.report(RequestOutcome(self.request, attributes, reason))
        self.port.put(self.request.response_url, body, self.deadline)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackProvisioner:
    """Serves the custom resources of the stack.

    Attributes:
        resources: A factory for each type of resource, by its name in the template.
    """

    resources: Mapping[str, Callable[[], CustomResource]]
    responses: ResponsePort
    clock: Clock
    reporter: Reporter[RequestOutcome]

    def handle(self, event: object, *, remaining_seconds: float) -> None:
        """Handle one request, and send the response.

        A rejection or failure fails the deployment with its message. An unexpected exception does
        too, and is raised.

        Raises:
            CustomResourceRequestError: The payload is not a request. No response can be sent.
            CustomResourceResponseError: CloudFormation did not accept the response.
        """
        request = parse_request(event)
        end = self.clock.now() + remaining_seconds
        deadline = end - RESERVE_SECONDS
        response = _Response(request, self.responses, self.reporter, end)
        with _failing_at_time_out(response, remaining_seconds - RESERVE_SECONDS):
            try:
                attributes = self._handle_with_retries(request, deadline)
                body = success_response(request, attributes)
            except (RejectedInputError, TargetSyncError) as error:
                response.send_failure(str(error))
            except Exception as error:
                response.send_failure(
                    f"ProvisionStackFunction failed on {request.logical_id} with"
                    f" {type(error).__name__}: {error}. This is a bug: see the function's log."
                )
                raise
            else:
                response.send(body, attributes)

    def _handle_with_retries(self, request: ResourceRequest, deadline: float) -> Attributes:
        retry_until = min(deadline, self.clock.now() + POLICY_SECONDS)
        while True:
            try:
                return self._handle(request, deadline)
            except AwsAccessDeniedError:
                now = self.clock.now()
                if now >= retry_until:
                    raise
                self.clock.sleep_until(min(retry_until, now + _POLICY_PAUSE_SECONDS))

    def _handle(self, request: ResourceRequest, deadline: float) -> Attributes:
        make = self.resources.get(request.resource_type)
        if request.type == RequestType.DELETE:
            if make is not None:
                make().delete(request, deadline)
            return {}
        if make is None:
            raise CustomResourceRequestError(
                f"ProvisionStackFunction does not know the resource type {request.resource_type!r};"
                f" it serves {', '.join(sorted(self.resources))}"
            )
        if request.type not in {RequestType.CREATE, RequestType.UPDATE}:
            raise CustomResourceRequestError(f"unknown RequestType {request.type!r}")
        return make().apply(request, deadline)


@contextlib.contextmanager
def _failing_at_time_out(response: _Response, seconds: float) -> Iterator[None]:
    """Send a failure when the time is nearly up, even while a call hangs."""
    timer = threading.Timer(max(0.0, seconds), _send_time_out, [response])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _send_time_out(response: _Response) -> None:
    # If CloudFormation does not accept it, the log has the record and Lambda reports the time-out.
    with contextlib.suppress(TargetSyncError):
        response.send_failure(
            f"ProvisionStackFunction ran out of time on {response.request.logical_id}: see the"
            " function's log for the call that it waited for, and deploy again."
        )
