"""The trigger of a run: a connection notification, the schedule, or a person.

A notification only starts a run. Its text is not read: the requests and their accounts come from
EC2, so a forged notification has no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from target_sync.triggers import as_object, options


class ConnectionTriggerKind(StrEnum):
    """What started the run."""

    NOTIFICATION = "notification"
    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTrigger:
    """What started the run, and its options.

    Attributes:
        kind: What started the run.
        dry_run: Decide only, and change nothing.
    """

    kind: ConnectionTriggerKind
    dry_run: bool = False

    def to_document(self) -> Mapping[str, object]:
        """Return the trigger as the result shows it."""
        return {"kind": self.kind.value}


#: The options of a manual payload, with their defaults.
_MANUAL_DEFAULTS: Mapping[str, bool] = {"dry_run": False}


def parse_trigger(event: object) -> ConnectionTrigger:
    """Return the trigger that a payload stands for.

    Raises:
        TriggerError: The payload is invalid. The message names the key.
    """
    event = as_object(event, by_hand='to start a review send {} or {"dry_run": true}')
    if _is_notification(event.get("Records")):
        return ConnectionTrigger(kind=ConnectionTriggerKind.NOTIFICATION)
    if event.get("source") == "aws.scheduler":
        return ConnectionTrigger(kind=ConnectionTriggerKind.SCHEDULE)
    requested = options(event, _MANUAL_DEFAULTS)
    return ConnectionTrigger(kind=ConnectionTriggerKind.MANUAL, dry_run=requested["dry_run"])


def _is_notification(records: object) -> bool:
    """Return whether SNS sent the payload (Lambda guide, *Using Lambda with SNS*)."""
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(r, Mapping) and r.get("EventSource") == "aws:sns" for r in records)
    )
