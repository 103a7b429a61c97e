"""The triggers of a sweep (the schedule, a person) and of a watch (the queue of RDS events)."""

import json
from collections.abc import Mapping

from target_sync.errors import TriggerError
from target_sync.fleet.ports import DatabaseEvent
from target_sync.triggers import Trigger, as_object, scheduled_or_manual

_USAGE = "invoke the sweep with {} instead"


def parse_sweep(event: object) -> Trigger:
    """Return the trigger that a payload stands for.

    Raises:
        TriggerError: The payload is invalid. The message names the key.
    """
    return scheduled_or_manual(as_object(event))


def parse_watch(event: object) -> tuple[DatabaseEvent, ...]:
    """Return the RDS events of a batch. Lambda deletes them from the queue after the run.

    Raises:
        TriggerError: The payload is not a batch of SQS messages.
    """
    event = as_object(event, usage=_USAGE)
    records = event.get("Records")
    if not isinstance(records, list) or not all(_is_message(record) for record in records):
        raise TriggerError(f"the payload must be a batch of SQS messages; {_USAGE}")
    return tuple(DatabaseEvent(database_of(record["body"])) for record in records)


def _is_message(record: object) -> bool:
    """Return whether SQS sent a record (Lambda guide, *Using Lambda with Amazon SQS*)."""
    return (
        isinstance(record, Mapping)
        and record.get("eventSource") == "aws:sqs"
        and isinstance(record.get("body"), str)
    )


def database_of(body: str) -> str:
    """Return the identifier of the instance or cluster in an RDS event, as endpoints name it.

    An event only says which database to check, so nothing else of it is read. The identifier is
    empty if the body is no RDS event.
    """
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(event, Mapping) or event.get("source") != "aws.rds":
        return ""
    detail = event.get("detail")
    name = detail.get("SourceIdentifier") if isinstance(detail, Mapping) else None
    # Some events have "rds:" before it.
    return name.rpartition(":")[2].strip().lower() if isinstance(name, str) else ""
