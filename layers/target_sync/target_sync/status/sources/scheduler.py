"""A schedule, as EventBridge Scheduler tells it."""

from typing import TYPE_CHECKING

from target_sync.aws import AwsApi

if TYPE_CHECKING:
    from mypy_boto3_scheduler.client import EventBridgeSchedulerClient

_SCHEDULER = AwsApi("scheduler")


class EventBridgeSchedule:
    """One schedule of the default group. Implements ``status.ports.SchedulePort``."""

    def __init__(self, client: "EventBridgeSchedulerClient", name: str) -> None:
        self._client = client
        self._name = name

    def is_enabled(self) -> bool | None:
        """Whether it is switched on; None if it does not exist."""
        return _SCHEDULER.find(
            "GetSchedule",
            lambda: self._client.get_schedule(Name=self._name).get("State") == "ENABLED",
        )
