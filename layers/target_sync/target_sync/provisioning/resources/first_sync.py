"""``Custom::FirstSync``: the target group is right before the stack is reported complete."""

from collections.abc import Mapping
from dataclasses import dataclass

from target_sync.errors import RejectedInputError
from target_sync.ports import Clock
from target_sync.provisioning.progress import FirstSync, FunctionError, FunctionPort, read_result
from target_sync.provisioning.request import Attributes, Request

#: Seconds to wait for health. It is only reported, so it must not hold up a deployment for long.
HEALTH_SECONDS = 60.0
#: Seconds for which the sync function may lack its permissions: its policy is as fresh as ours.
POLICY_SECONDS = 20.0
_PAUSE_SECONDS = 5.0
_ACCESS_ERRORS = frozenset({"AwsAccessDeniedError", "ObservationDeniedError"})
#: Which parameter to correct, by the class of the sync function's error.
_REMEDIES: Mapping[str, str] = {
    "ObservationError": (
        " Correct DatabaseEndpoint, or set Resolvers to the DNS servers that know it, and deploy"
        " again."
    ),
    "AwsNotFoundError": (
        " Set ExistingTargetGroupArn to a target group of this account and Region, and deploy"
        " again."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSyncResource:
    """Runs the sync function once and again, until the targets are healthy or a minute is up."""

    functions: FunctionPort
    clock: Clock

    def apply(self, request: Request, deadline: float) -> Attributes:
        """Sync, wait a while for health, and report it.

        Raises:
            RefusalError: The sync function failed, or refused what the database's name gave.
            AwsCallError: The invocation failed.
        """
        name = request.properties.required("FunctionName")
        end = min(deadline, self.clock.now() + HEALTH_SECONDS)
        reached = self._first(name, end)
        while not reached.complete and self.clock.now() < end:
            self.clock.sleep_until(min(end, self.clock.now() + _PAUSE_SECONDS))
            answer = self._run(name)
            # The deployment is right already: a run that fails now is for its own alarms.
            if not isinstance(answer, FunctionError):
                reached = read_result(answer)
        return reached.to_attributes()

    def delete(self, request: Request, deadline: float) -> None:
        """Nothing was made: the targets go with their group."""

    def _first(self, name: str, end: float) -> FirstSync:
        patience = min(end, self.clock.now() + POLICY_SECONDS)
        answer = self._run(name)
        while (
            isinstance(answer, FunctionError)
            and answer.type in _ACCESS_ERRORS
            and self.clock.now() < patience
        ):
            self.clock.sleep_until(min(patience, self.clock.now() + _PAUSE_SECONDS))
            answer = self._run(name)
        return _read(answer)

    def _run(self, name: str) -> Mapping[str, object] | FunctionError:
        return self.functions.invoke(name, {"dry_run": False, "wait_for_healthy": False})


def _read(answer: Mapping[str, object] | FunctionError) -> FirstSync:
    if isinstance(answer, FunctionError):
        raise RejectedInputError(
            f"The first sync of DatabaseEndpoint failed ({answer.type}): {answer.message}"
            f"{_REMEDIES.get(answer.type, '')}"
        )
    return read_result(answer)
