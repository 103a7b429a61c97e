"""From a request to its answer: CloudFormation always gets one, whatever happens."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from target_sync.errors import (
    AwsAccessDeniedError,
    CustomResourceRequestError,
    RejectedInputError,
    TargetSyncError,
)
from target_sync.ports import Clock, Reporter
from target_sync.provisioning.request import (
    Attributes,
    CustomResource,
    Request,
    RequestOutcome,
    RequestType,
    failed,
    parse_request,
    succeeded,
)

#: Seconds kept back at the end of the function's time for the answer with its retries.
RESERVE_SECONDS = 15.0
#: Seconds for which a refused permission is tried again: a policy that CloudFormation has just
#: written takes some to hold everywhere (IAM user guide, "Changes that I make are not always
#: immediately visible").
POLICY_SECONDS = 20.0
_POLICY_PAUSE_SECONDS = 2.0


class ResponsePort(Protocol):
    """Where CloudFormation takes an answer."""

    def put(self, url: str, body: bytes, deadline: float) -> None:
        """Put the answer there, again and again until the deadline if need be.

        Raises:
            CustomResourceAnswerError: It was not taken.
        """
        ...


@dataclass(slots=True)
class _Response:
    """The one answer to a request: who comes second is not heard."""

    request: Request
    port: ResponsePort
    reporter: Reporter[RequestOutcome]
    deadline: float
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _given: bool = False

    def failure(self, reason: str) -> None:
        self.give(failed(self.request, reason), None, reason)

    def give(self, body: bytes, attributes: Attributes | None, reason: str) -> None:
        with self._lock:
            if self._given:
                return
            self._given = True
        self.reporter.report(RequestOutcome(self.request, attributes, reason))
        self.port.put(self.request.response_url, body, self.deadline)


@dataclass(frozen=True, slots=True, kw_only=True)
class StackManager:
    """Serves every custom resource of the stack.

    Attributes:
        resources: What makes each type of resource, by its name in the template.
        answers: Where the answers go.
        clock: The time.
        reporter: Where the record goes.
    """

    resources: Mapping[str, Callable[[], CustomResource]]
    answers: ResponsePort
    clock: Clock
    reporter: Reporter[RequestOutcome]

    def handle(self, event: object, *, remaining_seconds: float) -> None:
        """Do what CloudFormation asks, and answer it.

        A refusal or a failure is told to CloudFormation, which fails the deployment with it. A
        bug is told too, and raised.

        Raises:
            CustomResourceRequestError: The payload is no request, so nobody can be answered.
            CustomResourceAnswerError: CloudFormation did not take the answer.
        """
        request = parse_request(event)
        now = self.clock.now()
        answer = _Response(request, self.answers, self.reporter, now + remaining_seconds)
        with _answering_in_time(answer, remaining_seconds - RESERVE_SECONDS):
            try:
                attributes = self._carry_out(request, now + remaining_seconds - RESERVE_SECONDS)
                body = succeeded(request, attributes)
            except (RejectedInputError, TargetSyncError) as error:
                answer.failure(str(error))
            except Exception as error:
                answer.failure(
                    f"ProvisionStackFunction failed on {request.logical_id} with"
                    f" {type(error).__name__}: {error}. This is a bug: see the function's log."
                )
                raise
            else:
                answer.give(body, attributes, "")

    def _carry_out(self, request: Request, deadline: float) -> Attributes:
        patience = min(deadline, self.clock.now() + POLICY_SECONDS)
        while True:
            try:
                return self._once(request, deadline)
            except AwsAccessDeniedError:
                now = self.clock.now()
                if now >= patience:
                    raise
                self.clock.sleep_until(min(patience, now + _POLICY_PAUSE_SECONDS))

    def _once(self, request: Request, deadline: float) -> Attributes:
        make = self.resources.get(request.resource_type)
        if request.is_delete:
            if make is not None:
                make().delete(request, deadline)
            return {}
        if make is None:
            raise CustomResourceRequestError(
                f"ProvisionStackFunction does not know the resource type {request.resource_type!r};"
                f" it serves {', '.join(sorted(self.resources))}"
            )
        if request.kind not in {RequestType.CREATE, RequestType.UPDATE}:
            raise CustomResourceRequestError(f"unknown RequestType {request.kind!r}")
        return make().apply(request, deadline)


@contextlib.contextmanager
def _answering_in_time(answer: _Response, seconds: float) -> Iterator[None]:
    """Fail the resource when the time is nearly up, even while a call still hangs."""
    watchdog = threading.Timer(max(0.0, seconds), _time_is_up, [answer])
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _time_is_up(answer: _Response) -> None:
    # An answer that is not taken is in the record, and Lambda reports the time-out itself.
    with contextlib.suppress(TargetSyncError):
        answer.failure(
            f"ProvisionStackFunction ran out of time on {answer.request.logical_id}: see the"
            " function's log for what it waited for, and deploy again."
        )
