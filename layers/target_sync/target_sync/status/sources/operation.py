"""Reads the schedule and the dead-letter queues from EventBridge Scheduler and SQS."""

from typing import TYPE_CHECKING

from target_sync.aws import AwsApi
from target_sync.errors import AwsNotFoundError
from target_sync.sqs import count_messages

if TYPE_CHECKING:
    from mypy_boto3_scheduler.client import EventBridgeSchedulerClient
    from mypy_boto3_sqs.client import SQSClient

_SCHEDULER = AwsApi("scheduler")


class EventBridgeSchedule:
    """One schedule of the default group. Implements ``status.ports.SchedulePort``."""

    def __init__(self, client: "EventBridgeSchedulerClient", name: str) -> None:
        self._client = client
        self._name = name

    def is_enabled(self) -> bool | None:
        """Return whether the schedule is on; None if it does not exist."""
        return _SCHEDULER.find(
            "GetSchedule",
            lambda: self._client.get_schedule(Name=self._name).get("State") == "ENABLED",
        )


class SqsQueues:
    """Implements ``target_sync.status.ports.QueuesPort``."""

    def __init__(self, client: "SQSClient") -> None:
        self._client = client

    def messages(self, url: str) -> int | None:
        """Return the number of messages in a queue; None if it does not exist."""
        try:
            return count_messages(self._client, url)
        except AwsNotFoundError:
            return None
