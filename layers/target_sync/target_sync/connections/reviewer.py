"""The sequence of a run: list the connections, decide, act, notify, report."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from target_sync.connections.decisions import ConnectionAction, ConnectionPolicy, Decision, decide
from target_sync.connections.result import ReviewResult
from target_sync.errors import AwsCallError, AwsUnavailableError, RequestsFailedError
from target_sync.ports import Clock, EndpointServicePort, Reporter
from target_sync.triggers import Trigger, TriggerKind

#: The longest time of one call with its retries.
CALL_SECONDS = 24.0
#: The longest time of one notification.
NOTIFICATION_SECONDS = 6.0
#: The time kept for the report.
RESERVE_SECONDS = 2.0


class ConnectionNotifier(Protocol):
    """Notifies people and programs."""

    def notify(self, decision: Decision) -> tuple[str, ...]:
        """Notify of one decision, without a retry. Return a sentence for each failure."""


#: A decision that was not carried out, and the error of the call.
_FailedDecision = tuple[Decision, AwsCallError]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionReviewer:
    """Accepts and rejects the requests to one endpoint service. Runs may overlap."""

    service: EndpointServicePort
    policy: ConnectionPolicy
    notifier: ConnectionNotifier
    reporter: Reporter[ReviewResult]
    clock: Clock

    def run(self, trigger: Trigger, *, remaining_seconds: float) -> ReviewResult:
        """Review the pending requests until the time is up. The next run reviews the others.

        A request that fails does not block the others. If the API is unavailable, the run stops:
        each further call would take long and fail, too.

        Raises:
            AwsCallError: The connections could not be listed.
            RequestsFailedError: A later call failed. The message names each failure.
        """
        end = self.clock.now() + remaining_seconds - RESERVE_SECONDS
        result = ReviewResult(trigger=trigger.to_document(), dry_run=trigger.dry_run)
        try:
            connections = self.service.connections()
        except AwsCallError as error:
            self.reporter.report(replace(result, failures=(str(error),)))
            raise
        result = replace(result, decisions=tuple(decide(c, self.policy) for c in connections))
        if not trigger.dry_run:
            result = self._apply(result, end)
            # A scheduled run finds the same waiting request each time and would repeat the message.
            if trigger.kind is TriggerKind.NOTIFICATION:
                result = self._notify(result, result.waiting, end)
        self.reporter.report(result)
        if result.failures:
            raise RequestsFailedError(result.failures)
        return result

    def _apply(self, result: ReviewResult, end: float) -> ReviewResult:
        """Carry out the decisions, and notify of each at once, because the run may be killed."""
        calls_end = end - NOTIFICATION_SECONDS - CALL_SECONDS
        failed: list[_FailedDecision] = []
        for decision in result.planned:
            if self.clock.now() >= calls_end:
                result = replace(result, is_unfinished=True)
                break
            try:
                self._accept_or_reject(decision)
            except AwsCallError as error:
                failed.append((decision, error))
                if isinstance(error, AwsUnavailableError):
                    break
            else:
                result = self._notify(result.after(decision), [decision], end)
        if failed and self.clock.now() < calls_end:
            applied_after_all, failed = self._check_again(failed)
            result = self._notify(result.after(*applied_after_all), applied_after_all, end)
        failures = tuple(f"{d.connection.endpoint_id}: {error}" for d, error in failed)
        return replace(result, failures=failures)

    def _accept_or_reject(self, decision: Decision) -> None:
        is_accepted = decision.action is ConnectionAction.ACCEPT
        call = self.service.accept if is_accepted else self.service.reject
        call(decision.connection.endpoint_id)

    def _check_again(
        self, failed: list[_FailedDecision]
    ) -> tuple[list[Decision], list[_FailedDecision]]:
        """Return the decisions that took effect after all, and those that still failed.

        AWS may have acted although its reply was lost. A concurrent run or a person may have
        decided first, or the consumer may have deleted the endpoint. None of these is a failure.
        """
        try:
            current = {c.endpoint_id: c for c in self.service.connections()}
        except AwsCallError:
            return [], failed
        applied: list[Decision] = []
        still_failed: list[_FailedDecision] = []
        for decision, error in failed:
            connection = current.get(decision.connection.endpoint_id)
            if connection is None:
                continue
            if decision.is_applied_in(connection):
                applied.append(decision)
            elif connection.is_request:
                still_failed.append((decision, error))
        return applied, still_failed

    def _notify(
        self, result: ReviewResult, decisions: Iterable[Decision], end: float
    ) -> ReviewResult:
        undelivered = list(result.undelivered_notifications)
        for decision in decisions:
            if self.clock.now() < end - NOTIFICATION_SECONDS:
                undelivered += self.notifier.notify(decision)
            else:
                endpoint = decision.connection.endpoint_id
                undelivered.append(f"not delivered: the time of the run was up, for {endpoint}")
        return replace(result, undelivered_notifications=tuple(undelivered))
