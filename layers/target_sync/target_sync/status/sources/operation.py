"""Reads the schedule and the dead-letter queues from EventBridge Scheduler and SQS."""

from typing import TYPE_CHECKING, Final

from target_sync.aws import AwsApi

if TYPE_CHECKING:
    from mypy_boto3_scheduler.client import EventBridgeSchedulerClient
    from mypy_boto3_sqs.client import SQSClient

_SCHEDULER, _SQS = AwsApi("scheduler"), AwsApi("sqs")
#: Whether a schedule is on (EventBridge Scheduler API reference, GetSchedule, State).
_STATES = {"ENABLED": True, "DISABLED": False}
_WAITING: Final = "ApproximateNumberOfMessages"
_IN_FLIGHT: Final = "ApproximateNumberOfMessagesNotVisible"


class EventBridgeSchedule:
    """One schedule of the default group. Implements ``status.ports.SchedulePort``."""

    def __init__(self, client: "EventBridgeSchedulerClient", name: str) -> None:
        self._client = client
        self._name = name

    def is_enabled(self) -> bool | None:
        """Return whether the schedule is on; None if it does not exist."""
        return _SCHEDULER.find(
            "GetSchedule",
            lambda: _STATES[self._client.get_schedule(Name=self._name)["State"]],
        )


class SqsQueues:
    """Implements ``target_sync.status.ports.QueuesPort``."""

    def __init__(self, client: "SQSClient") -> None:
        self._client = client

    def messages(self, url: str) -> int | None:
        """Return the number of messages, with those in flight; None if it does not exist."""

        def count() -> int:
            found = self._client.get_queue_attributes(
                QueueUrl=url, AttributeNames=[_WAITING, _IN_FLIGHT]
            )["Attributes"]
            return int(found[_WAITING]) + int(found[_IN_FLIGHT])

        return _SQS.find("GetQueueAttributes", count)
