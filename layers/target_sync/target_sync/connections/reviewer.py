"""The sequence of a run: list the connections, decide, act, notify, report."""

from dataclasses import dataclass, replace
from typing import Protocol

from target_sync.connections.decisions import ConnectionAction, ConnectionPolicy, Decision, decide
from target_sync.connections.result import ReviewResult
from target_sync.errors import AwsCallError, RequestsFailedError
from target_sync.ports import EndpointServicePort, Reporter
from target_sync.triggers import Trigger, TriggerKind


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

    def run(self, trigger: Trigger) -> ReviewResult:
        """Review every pending request. A request that fails does not block the others.

        Raises:
            AwsCallError: The connections could not be listed.
            RequestsFailedError: A later call failed. The message names each failure.
        """
        result = ReviewResult(trigger=trigger.to_document(), dry_run=trigger.dry_run)
        try:
            connections = self.service.connections()
        except AwsCallError as error:
            self.reporter.report(replace(result, failures=(str(error),)))
            raise
        result = replace(result, decisions=tuple(decide(c, self.policy) for c in connections))
        if not trigger.dry_run:
            result = self._notify(self._apply(result), trigger)
        self.reporter.report(result)
        if result.failures:
            raise RequestsFailedError(result.failures)
        return result

    def _apply(self, result: ReviewResult) -> ReviewResult:
        applied: list[Decision] = []
        failed: list[_FailedDecision] = []
        for decision in result.planned:
            try:
                self._accept_or_reject(decision)
            except AwsCallError as error:
                failed.append((decision, error))
            else:
                applied.append(decision)
        if failed:
            applied_after_all, failed = self._check_again(failed)
            applied += applied_after_all
        return replace(
            result,
            applied=tuple(applied),
            failures=tuple(f"{d.connection.endpoint_id}: {error}" for d, error in failed),
        )

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

    def _notify(self, result: ReviewResult, trigger: Trigger) -> ReviewResult:
        """Notify of each action, and of waiting requests if a notification started the run."""
        decisions = result.applied
        # A scheduled run finds the same waiting request each time and would repeat the message.
        if trigger.kind is TriggerKind.NOTIFICATION:
            decisions += result.waiting
        undelivered = (text for decision in decisions for text in self.notifier.notify(decision))
        return replace(result, undelivered_notifications=tuple(undelivered))
