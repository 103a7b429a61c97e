"""What set a run off: an event of the database, the schedule, or a person.

An event only means "look now, and keep looking for a while". Nothing in it is taken for an
address, and an event that is late, doubled or about another database does no harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from target_sync.triggers import as_object, options


class TriggerKind(StrEnum):
    """Who asked for the run."""

    RDS_EVENT = "rds_event"
    EC2_EVENT = "ec2_event"
    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Why this run takes place, and what it was asked to do.

    Attributes:
        kind: Who asked.
        event_id: RDS's event ID, for example ``RDS-EVENT-0049``; empty if it was no such event.
        occurred_at: When the event occurred or the schedule was due, in seconds since the
            epoch; None if not said.
        dry_run: Plan, and change nothing.
        wait_for_healthy: After a change, stay until the right targets are healthy.
    """

    kind: TriggerKind
    event_id: str = ""
    occurred_at: float | None = None
    dry_run: bool = False
    wait_for_healthy: bool = True

    @property
    def announces_a_change(self) -> bool:
        """Whether the run has to keep looking for what the event announced."""
        return self.kind in _EVENT_SOURCES.values()

    @property
    def completes_a_change(self) -> bool:
        """Whether the event says that a failover is complete. DNS may still move after it."""
        return self.event_id in _COMPLETING_EVENTS

    @property
    def is_scheduled(self) -> bool:
        """Whether another run follows by itself."""
        return self.kind is TriggerKind.SCHEDULE

    def to_document(self) -> Mapping[str, object]:
        """The trigger as it stands in the result."""
        return {
            "kind": self.kind.value,
            "event_id": self.event_id or None,
            "occurred_at": self.occurred_at,
        }


#: Every event of these sources that a rule lets through means the same. The rule knows the
#: detail types, categories and resources.
_EVENT_SOURCES: Mapping[str, TriggerKind] = {
    "aws.rds": TriggerKind.RDS_EVENT,
    "aws.ec2": TriggerKind.EC2_EVENT,
}

#: The end of a failover, an activation or a recovery: of an instance, then of a cluster. An ID
#: that is missing here only makes a run look for longer.
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

#: What a person may send, and what holds where it is not said. Waiting for health is off,
#: because the AWS CLI and SAM give up on an invocation after 60 seconds by default.
_MANUAL_DEFAULTS: Mapping[str, bool] = {"dry_run": False, "wait_for_healthy": False}


def parse_trigger(event: object) -> Trigger:
    """Tell the triggers apart.

    Raises:
        TriggerError: The payload is none of them. The message names the key that is wrong.
    """
    event = as_object(event, by_hand='for a resync by hand send {} or {"dry_run": true}')
    source = event.get("source")
    # A payload may hold anything as its source, a list too.
    if isinstance(source, str) and source in _EVENT_SOURCES:
        return _event(event, _EVENT_SOURCES[source])
    if source == "aws.scheduler":
        return Trigger(kind=TriggerKind.SCHEDULE, occurred_at=_epoch_seconds(event.get("time")))
    return _manual(event)


def _event(event: Mapping[str, object], kind: TriggerKind) -> Trigger:
    detail = event.get("detail")
    detail = detail if isinstance(detail, Mapping) else {}
    return Trigger(
        kind=kind,
        event_id=str(detail.get("EventID", "")),
        # The envelope's time has whole seconds; detail.Date, of RDS only, has milliseconds.
        occurred_at=_epoch_seconds(detail.get("Date")) or _epoch_seconds(event.get("time")),
    )


def _epoch_seconds(text: object) -> float | None:
    """A time that cannot be read is only a figure missing from the report."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo else None


def _manual(event: Mapping[str, object]) -> Trigger:
    asked = options(event, _MANUAL_DEFAULTS)
    return Trigger(
        kind=TriggerKind.MANUAL,
        dry_run=asked["dry_run"],
        wait_for_healthy=asked["wait_for_healthy"],
    )
