"""SQS queues as event sources of functions, and the age of their messages.

ministack handles one batch of a FIFO queue at a time, receives at most ten messages at once and has
no batching window. Sources: Lambda developer guide, "Configuring scaling behavior for SQS
event source mappings" (a batch of a FIFO queue may have messages of several groups) and "Using
Lambda with Amazon SQS" (window and batch size); SQS developer guide, "FIFO delivery logic" (no
message of a group while another one of it is in flight).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ministack.services import lambda_svc, sqs

from lab.emulator.errors import ApiError

#: The number of batches with which Lambda starts on a queue.
_FIRST_BATCHES = 5

_Receive = Callable[[str, int], list[dict[str, Any]]]

_held = set[str]()
_held_lock = threading.Lock()


def install() -> None:
    """Let event source mappings receive messages like Lambda's pollers."""
    lambda_svc._sqs_esm_concurrency = _concurrency
    lambda_svc._run_sqs_batch = _holding(lambda_svc._run_sqs_batch)
    sqs._receive_messages_for_esm = _in_batches(sqs._receive_messages_for_esm)


def age_messages(*, queue_url: str, seconds: float) -> int:
    """Make the messages of a queue older, except those in a run, which would be duplicated.

    The messages of a dead run return to the queue. Copies of sent messages are new messages.

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
    with sqs._queues_lock, _held_lock:
        idle = [message for message in queue["messages"] if message["id"] not in _held]
        for message in idle:
            for moment in message.keys() & {"sent_at", "visible_at", "enqueued_at"}:
                message[moment] -= seconds
        for entry in queue["dedup_cache"].values():
            entry["expire"] -= seconds
    return len(idle)


def oldest_age(queue: Mapping[str, Any], now: float) -> float:
    """``ApproximateAgeOfOldestMessage``: seconds since the oldest message was sent, or 0."""
    return max((now - m.get("enqueued_at", m["sent_at"]) for m in queue["messages"]), default=0.0)


def _concurrency(mapping: Mapping[str, Any], function: Any, config: Any, _queue: Any = None) -> int:
    given = (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency")
    # A value from a parameter is text.
    limit = int(given) if given else _FIRST_BATCHES
    reserved = lambda_svc._reserved_concurrency(function, config)
    return limit if reserved is None else min(limit, reserved)


def _holding(run: Callable[..., None]) -> Callable[..., None]:
    """Record the messages of each run."""

    def wrapped(
        mapping: Any, function: Any, event: Any, batch: Sequence[Mapping[str, Any]], *rest: Any
    ) -> None:
        messages = {str(message["id"]) for message in batch}
        with _held_lock:
            _held.update(messages)
        try:
            run(mapping, function, event, batch, *rest)
        finally:
            with _held_lock:
                _held.difference_update(messages)

    return wrapped


def _in_batches(receive: _Receive) -> _Receive:
    def wrapped(queue_url: str, size: int) -> list[dict[str, Any]]:
        queue = sqs._queues[queue_url]
        if _gathers(queue, size):
            return []
        batch = receive(queue_url, size)
        # Several calls fill a batch, except of a FIFO queue with at most ten messages.
        while batch and len(batch) < size and not queue["is_fifo"]:
            more = receive(queue_url, size - len(batch))
            if not more:
                break
            batch += more
        return batch

    return wrapped


def _gathers(queue: Mapping[str, Any], size: int) -> bool:
    """Return whether a batching window is open: not full, and its first message still waits."""
    window = max(
        (
            mapping.get("MaximumBatchingWindowInSeconds") or 0
            for mapping in lambda_svc._esms.values()
            if mapping["EventSourceArn"] == queue["attributes"]["QueueArn"]
        ),
        default=0,
    )
    now = time.time()
    waited = [now - m["visible_at"] for m in queue["messages"] if m["visible_at"] <= now]
    return bool(waited) and len(waited) < size and max(waited) < window
