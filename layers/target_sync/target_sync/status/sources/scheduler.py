"""A schedule, as EventBridge Scheduler tells it."""

from typing import TYPE_CHECKING

from target_sync.aws import Failures
from target_sync.errors import StatusCallError, StatusCallUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_scheduler.client import EventBridgeSchedulerClient

_FAILURES = Failures(
    service="scheduler", other=StatusCallError, unavailable=StatusCallUnavailableError
)


class EventBridgeSchedule:
    """One schedule of the default group. Implements ``status.ports.SchedulePort``."""

    def __init__(self, client: "EventBridgeSchedulerClient", name: str) -> None:
        self._client = client
        self._name = name

    def is_enabled(self) -> bool | None:
        """Whether it is switched on; None if it does not exist."""
        try:
            reply = _FAILURES.call("GetSchedule", self._client.get_schedule, Name=self._name)
        except StatusCallError as error:
            if error.code == "ResourceNotFoundException":
                return None
            raise
        return reply.get("State") == "ENABLED"
