"""SQS queues as event sources of functions, and the age of their messages.

ministack works on one batch of a FIFO queue at a time, takes ten messages of any queue at once and
knows no batching window. Sources: Lambda developer guide, "Configuring scaling behavior for SQS
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

#: With how many batches Lambda begins on a queue.
_FIRST_BATCHES = 5

_Receive = Callable[[str, int], list[dict[str, Any]]]

_held = set[str]()
_held_lock = threading.Lock()


def install() -> None:
    """Let event source mappings take messages as Lambda's pollers do."""
    lambda_svc._sqs_esm_concurrency = _concurrency
    lambda_svc._run_sqs_batch = _holding(lambda_svc._run_sqs_batch)
    sqs._receive_messages_for_esm = _in_batches(sqs._receive_messages_for_esm)


def age_messages(*, queue_url: str, seconds: float) -> int:
    """Let so much time pass for the messages of a queue that no run has in hand.

    Those that a dead run had come back to the queue, and sent ones are no duplicates any more. Of a
    message that a run works on this would make two.

    Returns:
        How many messages are older now.

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
    """``ApproximateAgeOfOldestMessage``: seconds since the oldest message came, 0 without one."""
    return max((now - m.get("enqueued_at", m["sent_at"]) for m in queue["messages"]), default=0.0)


def _concurrency(mapping: Mapping[str, Any], function: Any, config: Any, _queue: Any = None) -> int:
    given = (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency")
    # A reference to a parameter is text.
    limit = int(given) if given else _FIRST_BATCHES
    reserved = lambda_svc._reserved_concurrency(function, config)
    return limit if reserved is None else min(limit, reserved)


def _holding(run: Callable[..., None]) -> Callable[..., None]:
    """Know which messages a run has in hand."""

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
        # Several calls fill a batch; one of a FIFO queue has never more than ten messages.
        while batch and len(batch) < size and not queue["is_fifo"]:
            more = receive(queue_url, size - len(batch))
            if not more:
                break
            batch += more
        return batch

    return wrapped


def _gathers(queue: Mapping[str, Any], size: int) -> bool:
    """Whether a window is open: it is as long as the first message waits, or until it is full."""
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
