"""What set a run off: a connection notification, the schedule, or a person.

A notification only means "look now". Nothing in it is believed, and its text is not even read:
who asks, and for what, is what EC2 says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from target_sync.triggers import as_object, options


class ConnectionTriggerKind(StrEnum):
    """Who asked for the run."""

    NOTIFICATION = "notification"
    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTrigger:
    """Why this run takes place, and what it was asked to do.

    Attributes:
        kind: Who asked.
        dry_run: Decide, and change nothing.
    """

    kind: ConnectionTriggerKind
    dry_run: bool = False

    def to_document(self) -> Mapping[str, object]:
        """The trigger as it stands in the result."""
        return {"kind": self.kind.value}


#: What a person may send, and what holds where it is not said.
_MANUAL_DEFAULTS: Mapping[str, bool] = {"dry_run": False}


def parse_trigger(event: object) -> ConnectionTrigger:
    """Tell the three triggers apart.

    Raises:
        TriggerError: The payload is none of them. The message names the key that is wrong.
    """
    event = as_object(event, by_hand='to look by hand send {} or {"dry_run": true}')
    if _is_notification(event.get("Records")):
        return ConnectionTrigger(kind=ConnectionTriggerKind.NOTIFICATION)
    if event.get("source") == "aws.scheduler":
        return ConnectionTrigger(kind=ConnectionTriggerKind.SCHEDULE)
    asked = options(event, _MANUAL_DEFAULTS)
    return ConnectionTrigger(kind=ConnectionTriggerKind.MANUAL, dry_run=asked["dry_run"])


def _is_notification(records: object) -> bool:
    """Whether this is how SNS invokes a function (Lambda guide, *Using Lambda with SNS*)."""
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(r, Mapping) and r.get("EventSource") == "aws:sns" for r in records)
    )
