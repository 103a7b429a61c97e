"""The trigger of a review: a connection notification, the schedule, or a person.

A notification only starts a run. Its text is not read: the requests and their accounts come from
EC2, so a forged notification has no effect. Every feature reads its triggers in a module of this
name.
"""

from collections.abc import Mapping

from target_sync.triggers import Trigger, TriggerKind, as_object, scheduled_or_manual


def parse_trigger(event: object) -> Trigger:
    """Return the trigger that a payload stands for.

    Raises:
        TriggerError: The payload is invalid. The message names the key.
    """
    event = as_object(event)
    if _is_notification(event.get("Records")):
        return Trigger(kind=TriggerKind.NOTIFICATION)
    return scheduled_or_manual(event)


def _is_notification(records: object) -> bool:
    """Return whether SNS sent the payload (Lambda guide, *Using Lambda with SNS*)."""
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(r, Mapping) and r.get("EventSource") == "aws:sns" for r in records)
    )
