"""Runs queries in parallel, and returns the fact of each before one common deadline."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Generic, TypeVar

from target_sync.errors import AwsAccessDeniedError, AwsCallError
from target_sync.status.facts import Fact, FactUnavailableError, Unknown

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Query(Generic[_T]):
    """A query that runs in a thread of its own.

    Attributes:
        subject: What the query reads, in words: `the listeners`.
        service: The prefix of the IAM actions that it needs, for example `ec2`.
        deadline: The reading of `now` after which the fact is unknown.
        now: A monotonic clock in seconds.
    """

    subject: str
    service: str
    future: Future[_T]
    deadline: float
    now: Callable[[], float]

    def fact(self) -> Fact[_T]:
        """Return the fact. Waits until the deadline at most."""
        try:
            return self.future.result(timeout=max(0.0, self.deadline - self.now()))
        except FutureTimeoutError:
            return Unknown(
                f"It took too long to read {self.subject}.",
                "Ask for the status again. If it stays unknown, check that the function reaches"
                f" {self.service}.",
            )
        except FactUnavailableError as error:
            return error.fact
        except AwsCallError as error:
            return _unknown(error, self.service)


class ParallelQueries:
    """Starts each query in a thread of its own, so that a query can wait for another one.

    Nothing waits for a thread that hangs. The time-out of its call ends it.
    """

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        self._now = now
        self._deadline = now() + seconds

    def start(self, subject: str, service: str, read: Callable[[], _T]) -> Query[_T]:
        """Start a query and return it at once."""
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(read())
            except BaseException as error:  # noqa: BLE001 - Query.fact raises it again
                future.set_exception(error)

        threading.Thread(target=run, name=subject, daemon=True).start()
        return Query(subject, service, future, self._deadline, self._now)


def _unknown(error: AwsCallError, service: str) -> Unknown:
    reason = str(error)
    if isinstance(error, AwsAccessDeniedError):
        action = f"{service}:{error.operation}"
        return Unknown(
            f"The function may not call {action}: {reason}",
            f"Give the role of ReportStatusFunction the permission {action}: deploy the stack"
            " again, and check that no permissions boundary or policy of the organization denies"
            " it.",
        )
    if error.retryable:
        return Unknown(
            reason,
            "Ask for the status again in a minute. If it stays unknown, check that the function"
            " reaches AWS.",
        )
    return Unknown(reason, "Read the error, which comes from AWS, and ask for the status again.")
