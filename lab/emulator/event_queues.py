"""The age of the messages in SQS queues."""

from collections.abc import Mapping
from typing import Any

from ministack.services import sqs

from lab.emulator.errors import ApiError


def age_messages(*, queue_url: str, seconds: float) -> int:
    """Make the messages of a queue older.

    Returns:
        The number of older messages.

    Raises:
        ApiError: There is no such queue.
    """
    name = queue_url.rpartition("/")[2]
    found = [q for q in sqs._queues._data.values() if q["name"] == name]
    if not found:
        raise ApiError("QueueDoesNotExist", f"there is no queue {name}")
    (queue,) = found
    with sqs._queues_lock:
        for message in queue["messages"]:
            for moment in message.keys() & {"sent_at", "visible_at", "enqueued_at"}:
                message[moment] -= seconds
        return len(queue["messages"])


def oldest_age(queue: Mapping[str, Any], now: float) -> float:
    """``ApproximateAgeOfOldestMessage``: seconds since the oldest message was sent, or 0."""
    return max((now - m.get("enqueued_at", m["sent_at"]) for m in queue["messages"]), default=0.0)
