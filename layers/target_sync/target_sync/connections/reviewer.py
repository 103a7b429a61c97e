"""The only sequencing: look, decide, answer, tell, report."""

from dataclasses import dataclass, replace
from typing import Protocol

from target_sync.connections.decisions import (
    ConnectionAction,
    ConnectionPolicy,
    Decision,
    ReviewResult,
    decide,
)
from target_sync.connections.triggers import ConnectionTrigger, ConnectionTriggerKind
from target_sync.errors import EndpointServiceError, RequestsFailedError
from target_sync.ports import EndpointServicePort


class ConnectionNotifier(Protocol):
    """Who tells people and programs."""

    def notify(self, decision: Decision) -> tuple[str, ...]:
        """Tell of one decision, at most once, and answer with what may have reached nobody."""
        ...


class ReviewReporter(Protocol):
    """Where the result of a run goes, beside the caller."""

    def report(self, result: ReviewResult) -> None:
        """Write the one record of this run."""
        ...


#: A decision that could not be carried out, and what went wrong.
_Failed = tuple[Decision, EndpointServiceError]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionReviewer:
    """Answers the requests to one endpoint service. Runs may overlap.

    Attributes:
        teller: Who tells people and programs.
    """

    service: EndpointServicePort
    policy: ConnectionPolicy
    notifier: ConnectionNotifier
    reporter: ReviewReporter

    def run(self, trigger: ConnectionTrigger) -> ReviewResult:
        """Answer every request that waits. One that fails holds up no other.

        Raises:
            EndpointServiceError: The connections could not be listed.
            UnansweredError: Something failed after that. The message names each failure.
        """
        result = ReviewResult(trigger=trigger.to_document(), dry_run=trigger.dry_run)
        try:
            connections = self.service.connections()
        except EndpointServiceError as error:
            self.reporter.report(replace(result, failures=(str(error),)))
            raise
        result = replace(result, decisions=tuple(decide(c, self.policy) for c in connections))
        if not trigger.dry_run:
            result = self._answer(result)
            result = self._tell(result, trigger)
        self.reporter.report(result)
        if result.failures:
            raise RequestsFailedError(result.failures)
        return result

    def _answer(self, result: ReviewResult) -> ReviewResult:
        given: list[Decision] = []
        failed: list[_Failed] = []
        for decision in result.planned:
            try:
                self._give(decision)
            except EndpointServiceError as error:
                failed.append((decision, error))
            else:
                given.append(decision)
        if failed:
            late, failed = self._looked_again(failed)
            given += late
        return replace(
            result,
            answered=tuple(given),
            failures=tuple(f"{d.connection.endpoint_id}: {error}" for d, error in failed),
        )

    def _give(self, decision: Decision) -> None:
        act = (
            self.service.accept
            if decision.answer is ConnectionAction.ACCEPT
            else self.service.reject
        )
        act(decision.connection.endpoint_id)

    def _looked_again(self, failed: list[_Failed]) -> tuple[list[Decision], list[_Failed]]:
        """Sort what failed by what is so now: the answers that were given, and what is left.

        A reply may have been lost after the answer was given, a run beside this one may have
        been faster, and the consumer may have deleted its endpoint: none of them is a failure.
        """
        try:
            now = {c.endpoint_id: c for c in self.service.connections()}
        except EndpointServiceError:
            return [], failed
        given: list[Decision] = []
        left: list[_Failed] = []
        for decision, error in failed:
            connection = now.get(decision.connection.endpoint_id)
            if connection is None:
                continue
            if decision.shows_in(connection):
                given.append(decision)
            elif connection.is_request:
                left.append((decision, error))
        return given, left

    def _tell(self, result: ReviewResult, trigger: ConnectionTrigger) -> ReviewResult:
        """Tell people about each answer, and about who waits if that is news."""
        news = result.answered
        # The sweep would say it again each time it finds the same request.
        if trigger.kind is ConnectionTriggerKind.NOTIFICATION:
            news += result.waiting
        undelivered_notifications = [
            failure for decision in news for failure in self.notifier.notify(decision)
        ]
        return replace(result, undelivered_notifications=tuple(undelivered_notifications))
