"""Asks many questions at once, and answers each within one deadline."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

from target_sync.errors import AwsAccessDeniedError, AwsCallError
from target_sync.status.facts import Fact, Skipped, Unknown

_T = TypeVar("_T")


class NoQueryError(Exception):
    """A question that does not arise, or that another one's answer leaves open.

    Attributes:
        fact: What stands instead of an answer.
    """

    def __init__(self, fact: Unknown | Skipped) -> None:
        super().__init__(fact.why)
        self.fact = fact


class Query(Generic[_T]):
    """One question that is being asked.

    Args:
        what: What is asked, for a person: `the listeners`.
        service: The prefix of the IAM actions that it needs, for example `ec2`.
        future: Holds the answer.
        until: The seconds of `now` at which it has to be there.
        now: A monotonic clock.
    """

    def __init__(
        self,
        what: str,
        service: str,
        future: "Future[_T]",
        until: float,
        now: Callable[[], float],
    ) -> None:
        self._what = what
        self._service = service
        self._future = future
        self._until = until
        self._now = now

    def fact(self) -> Fact[_T]:
        """The answer, or why there is none. Waits no longer than until the deadline."""
        try:
            return self._future.result(timeout=max(0.0, self._until - self._now()))
        except FutureTimeoutError:
            return Unknown(
                f"It took too long to find out {self._what}.",
                f"Look again; if it stays, see whether the function reaches {self._service}.",
            )
        except NoQueryError as error:
            return error.fact
        except AwsCallError as error:
            return _unknown(error, self._service)

    def needed(self) -> _T:
        """The answer, for a question that rests on it.

        Raises:
            NothingToAskError: There is none.
        """
        fact = self.fact()
        if isinstance(fact, Unknown | Skipped):
            raise NoQueryError(fact)
        return fact


class ParallelQueries:
    """Asks each question in a thread of its own, so that one may wait for another.

    A thread that hangs is left behind: its call ends by its own time-out, and nobody waits for it.
    """

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        self._now = now
        self._until = now() + seconds

    def ask(self, what: str, service: str, find_out: Callable[[], _T]) -> Query[_T]:
        """Begin to find something out."""
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(find_out())
            except BaseException as error:  # noqa: BLE001 - raised again where it is asked for
                future.set_exception(error)

        threading.Thread(target=run, name=what, daemon=True).start()
        return Query(what, service, future, self._until, self._now)


def _unknown(error: AwsCallError, service: str) -> Unknown:
    why = str(error)
    if isinstance(error, AwsAccessDeniedError):
        action = f"{service}:{error.operation}"
        return Unknown(
            f"The function may not call {action}: {why}",
            f"Give the role of ReportStatusFunction the permission {action}: deploy the stack"
            " again, and look for a boundary or an organization's policy that denies it.",
        )
    if error.retryable:
        return Unknown(why, "Look again in a minute; if it stays, see whether AWS is reachable.")
    return Unknown(why, "Read the error, which is AWS's own, and look again.")
