"""The records that the reconciler writes to its log, one for each run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: The message of a run's record.
MESSAGE = "sync run ended"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The record of one run.

    Attributes:
        trigger: The kind of trigger: ``rds_event``, ``schedule`` or ``manual``.
        event_id: The ID of the RDS event; None for another trigger.
        occurred_at: The time of the trigger, in epoch seconds; None if it has none.
        age: Seconds from the trigger to the start of the function.
        status: The status of the run.
        registered: The targets that the run registered.
        deregistered: The targets that the run deregistered.
        failures: The number of snapshots, DNS polls and changes that failed.
        to_detect: Seconds from the trigger to the iteration that detected a change, or None.
        to_register: Seconds from the trigger to the last registration, or None.
    """

    trigger: str
    event_id: str | None
    occurred_at: float | None
    age: float
    status: str
    registered: tuple[str, ...]
    deregistered: tuple[str, ...]
    failures: int
    to_detect: float | None
    to_register: float | None

    @classmethod
    def read(cls, line: str) -> Self | None:
        """Read a line of the function's log; return None for any other line."""
        record = json_object(line)
        if record.get("message") != MESSAGE:
            return None
        result = record["result"]
        return cls(
            trigger=result["trigger"]["kind"],
            event_id=result["trigger"]["event_id"],
            occurred_at=result["trigger"]["occurred_at"],
            age=result["age_seconds"],
            status=result["status"],
            registered=tuple(entry["target"] for entry in result["registered"]),
            deregistered=tuple(entry["target"] for entry in result["deregistered"]),
            failures=result["failures"],
            to_detect=result["seconds"]["to_detect"],
            to_register=result["seconds"]["to_register"],
        )

    @property
    def started_at(self) -> float | None:
        """When the function started, in epoch seconds; None without the time of the trigger."""
        return self._after_trigger(self.age)

    @property
    def detected_at(self) -> float | None:
        """When the run detected a change, in epoch seconds; None if it detected none."""
        return self._after_trigger(self.to_detect)

    @property
    def registered_at(self) -> float | None:
        """When the last registration was done, in epoch seconds; None without a registration."""
        return self._after_trigger(self.to_register)

    def _after_trigger(self, seconds: float | None) -> float | None:
        if self.occurred_at is None or seconds is None:
            return None
        return self.occurred_at + seconds


def json_object(line: str) -> Mapping[str, Any]:
    """Return the JSON object of a log line; an empty one for any other line."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
