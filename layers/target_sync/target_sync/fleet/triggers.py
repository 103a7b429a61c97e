"""What set a sweep or a watch off: the schedule, a person, or the queue of RDS events."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from target_sync.errors import TriggerError
from target_sync.fleet.events import identifier_of
from target_sync.fleet.ports import DatabaseEvent
from target_sync.triggers import as_object, options


class SweepTriggerKind(StrEnum):
    """Who asked for the sweep."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTrigger:
    """Why this sweep takes place, and what it was asked to do.

    Attributes:
        kind: Who asked.
        dry_run: Decide, and hand nothing out.
    """

    kind: SweepTriggerKind
    dry_run: bool = False

    def to_document(self) -> Mapping[str, object]:
        """The trigger as it stands in the result."""
        return {"kind": self.kind.value}


#: What a person may send, and what holds where it is not said.
_MANUAL_DEFAULTS: Mapping[str, bool] = {"dry_run": False}
#: What a person is told who sends anything to the watch.
_BY_HAND = "to look by hand invoke the sweep with {}"


def parse_sweep(event: object) -> SweepTrigger:
    """Tell the schedule from a person.

    Raises:
        TriggerError: The payload is neither's. The message names the key that is wrong.
    """
    event = as_object(event, by_hand='for a sweep by hand send {} or {"dry_run": true}')
    if event.get("source") == "aws.scheduler":
        return SweepTrigger(kind=SweepTriggerKind.SCHEDULE)
    asked = options(event, _MANUAL_DEFAULTS)
    return SweepTrigger(kind=SweepTriggerKind.MANUAL, dry_run=asked["dry_run"])


def parse_watch(event: object) -> tuple[DatabaseEvent, ...]:
    """The RDS events in a batch of the queue. Lambda itself takes them from it afterwards.

    Raises:
        TriggerError: This is no batch of a queue.
    """
    event = as_object(event, by_hand=_BY_HAND)
    records = event.get("Records")
    if not isinstance(records, list) or not all(_is_message(record) for record in records):
        raise TriggerError(f"the payload must be a batch of SQS messages; {_BY_HAND}")
    return tuple(DatabaseEvent(identifier_of(record["body"])) for record in records)


def _is_message(record: object) -> bool:
    """Whether Lambda got it from a queue (Lambda guide, *Using Lambda with Amazon SQS*)."""
    return (
        isinstance(record, Mapping)
        and record.get("eventSource") == "aws:sqs"
        and isinstance(record.get("body"), str)
    )
