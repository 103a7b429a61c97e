"""The triggers of a run: an event of the database, the schedule, or a person.

An event only means "check now, and keep checking for a while". It never supplies an address, so an
event that is late, duplicated or about another database does no harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from target_sync.triggers import Trigger, TriggerKind, as_object, is_scheduled, options


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncTrigger(Trigger):
    """What started a run, and with which options.

    Attributes:
        event_id: RDS's event ID, for example ``RDS-EVENT-0049``; empty for other triggers.
        occurred_at: When the event occurred or the schedule was due, in seconds since the
            epoch; None if unknown.
        wait_for_healthy: Whether the run waits after a change until the desired targets are
            healthy.
        prove_switch: Whether the run first tries to prove that closed targets get no traffic.
    """

    event_id: str = ""
    occurred_at: float | None = None
    wait_for_healthy: bool = True
    prove_switch: bool = False

    @property
    def announces_a_change(self) -> bool:
        """Whether the run waits for a change of the database."""
        return self.kind in _EVENT_SOURCES.values()

    @property
    def completes_a_change(self) -> bool:
        """Whether the event reports a complete failover. DNS may still change after it."""
        return self.event_id in _COMPLETING_EVENTS

    @property
    def is_scheduled(self) -> bool:
        """Whether the schedule started the run, so that another run follows."""
        return self.kind is TriggerKind.SCHEDULE

    def age_at(self, now: float) -> float:
        """Return the seconds since the event, by the seconds since the epoch; 0 if unknown.

        No delivery takes as long as `_LONGEST_AGE_SECONDS`: an older event was sent again, and
        its time says nothing about this run.
        """
        age = 0.0 if self.occurred_at is None else now - self.occurred_at
        return age if 0 <= age <= _LONGEST_AGE_SECONDS else 0.0

    def to_document(self) -> Mapping[str, object]:
        """Return the trigger as the result shows it."""
        return {
            "kind": self.kind.value,
            "event_id": self.event_id or None,
            "occurred_at": self.occurred_at,
        }


#: More than all retries of EventBridge and Lambda (template.yaml, MaximumEventAgeInSeconds).
_LONGEST_AGE_SECONDS = 7200.0

#: All events of these sources mean the same. The event rule selects the detail types, categories
#: and resources.
_EVENT_SOURCES: Mapping[str, TriggerKind] = {
    "aws.rds": TriggerKind.RDS_EVENT,
    "aws.ec2": TriggerKind.EC2_EVENT,
}

#: The events that end a failover, an activation or a recovery, of an instance or a cluster. If an
#: ID is missing here, a veto after it is only an alarm and no notification.
#: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Events.Messages.html
_COMPLETING_EVENTS = frozenset(
    {
        "RDS-EVENT-0015",
        "RDS-EVENT-0049",
        "RDS-EVENT-0051",
        "RDS-EVENT-0053",
        "RDS-EVENT-0065",
        "RDS-EVENT-0071",
    }
)

#: The options of a manual run, with their defaults. It does not wait for health, because the AWS
#: CLI and SAM time out after 60 seconds by default.
_MANUAL_DEFAULTS: Mapping[str, bool] = {
    "dry_run": False,
    "wait_for_healthy": False,
    "prove_switch": False,
}


def parse_trigger(event: object) -> SyncTrigger:
    """Return the trigger of a payload.

    Raises:
        TriggerError: The payload is invalid. The message names the key.
    """
    event = as_object(event)
    source = event.get("source")
    # The source may be of any type, for example a list.
    if isinstance(source, str) and source in _EVENT_SOURCES:
        return _event(event, _EVENT_SOURCES[source])
    if is_scheduled(event):
        return SyncTrigger(kind=TriggerKind.SCHEDULE, occurred_at=_epoch_seconds(event.get("time")))
    given = options(event, _MANUAL_DEFAULTS)
    return SyncTrigger(
        kind=TriggerKind.MANUAL,
        dry_run=given["dry_run"],
        wait_for_healthy=given["wait_for_healthy"],
        prove_switch=given["prove_switch"],
    )


def _event(event: Mapping[str, object], kind: TriggerKind) -> SyncTrigger:
    detail = event.get("detail")
    detail = detail if isinstance(detail, Mapping) else {}
    return SyncTrigger(
        kind=kind,
        event_id=str(detail.get("EventID", "")),
        # The event's time has whole seconds; RDS adds detail.Date with milliseconds.
        occurred_at=_epoch_seconds(detail.get("Date")) or _epoch_seconds(event.get("time")),
    )


def _epoch_seconds(text: object) -> float | None:
    """Return None for an invalid time: the result then only lacks a value."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.timestamp() if time.tzinfo else None
