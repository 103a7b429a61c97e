"""The payload of an invocation: what started the run, and the options of a manual run."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from target_sync.errors import TriggerError

#: Characters of a rejected value in an error.
_LONGEST_TEXT = 60


class TriggerKind(StrEnum):
    """What started the run."""

    RDS_EVENT = "rds_event"
    EC2_EVENT = "ec2_event"
    #: A connection notification of an endpoint service.
    NOTIFICATION = "notification"
    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What started the run, and whether the run changes nothing."""

    kind: TriggerKind
    dry_run: bool = False

    def to_document(self) -> Mapping[str, object]:
        """Return the trigger as the result shows it."""
        return {"kind": self.kind.value}


def as_object(
    payload: object, *, usage: str = 'send {} or {"dry_run": true}'
) -> Mapping[str, object]:
    """Return the payload of an invocation as a JSON object.

    Raises:
        TriggerError: The payload is another kind of JSON value. ``usage`` says what to send.
    """
    if isinstance(payload, Mapping):
        return payload
    raise TriggerError(f"the payload must be a JSON object, not {as_json(payload)}; {usage}")


def as_json(value: object) -> str:
    """Return a value of a payload as its sender wrote it, in one short line."""
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def is_scheduled(payload: Mapping[str, object]) -> bool:
    """Return whether the payload is that of a schedule (template.yaml, fleet.yaml)."""
    return payload.get("source") == "aws.scheduler"


def scheduled_or_manual(payload: Mapping[str, object]) -> Trigger:
    """Return the trigger of a payload from a schedule or a person. Raises like ``options``."""
    if is_scheduled(payload):
        return Trigger(kind=TriggerKind.SCHEDULE)
    given = options(payload, {"dry_run": False})
    return Trigger(kind=TriggerKind.MANUAL, dry_run=given["dry_run"])


def unknown_key(key: object, known: Iterable[str]) -> TriggerError:
    """Return the error for a key that the function does not support."""
    return TriggerError(f"unknown key {key!r} in the payload; known keys: {', '.join(known)}")


def options(payload: Mapping[str, object], defaults: Mapping[str, bool]) -> Mapping[str, bool]:
    """Return the value of each option of a manual payload, true or false.

    Raises:
        TriggerError: A key is unknown, or its value is not a boolean. The message names the key.
    """
    given = dict(defaults)
    for key, value in payload.items():
        if key not in given:
            raise unknown_key(key, sorted(given))
        if not isinstance(value, bool):
            raise TriggerError(f"{key!r} must be true or false, not {as_json(value)}")
        given[key] = value
    return given
