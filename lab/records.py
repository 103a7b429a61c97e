"""The sync function's own records, read from its log as an operator would."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from lab.aws import Account

#: What the record of a run says that it is.
MESSAGE = "sync run ended"


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """The record of one run.

    Attributes:
        trigger: Who asked for the run: ``rds_event``, ``schedule`` or ``manual``.
        event_id: RDS's event ID; None for another trigger.
        occurred_at: When the trigger occurred, in epoch seconds; None if it did not say.
        age: How many seconds after that the function began.
        status: How the run ended.
        registered: The targets that the run registered.
        deregistered: The targets that the run deregistered.
        failures: How many of its looks, polls and changes failed.
        to_detect: Seconds from the trigger to the look that saw a change; None without one.
        to_register: Seconds from the trigger to the last registration; None without one.
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
        """Read it from a line of the function's log; None if that is another record."""
        record = _object(line)
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
        """When the function began, in epoch seconds; None if nothing says when it was set off."""
        return self._after_trigger(self.age)

    @property
    def detected_at(self) -> float | None:
        """When the run saw a change, in epoch seconds; None if it saw none."""
        return self._after_trigger(self.to_detect)

    @property
    def registered_at(self) -> float | None:
        """When its last registration was done, in epoch seconds; None if it registered nothing."""
        return self._after_trigger(self.to_register)

    def _after_trigger(self, seconds: float | None) -> float | None:
        if self.occurred_at is None or seconds is None:
            return None
        return self.occurred_at + seconds


def sync_records(account: Account, *, since: float) -> list[SyncRecord]:
    """The records of the runs that ended after a moment, in seconds since the epoch."""
    found = (SyncRecord.read(line) for line in _lines(account, since))
    return [record for record in found if record is not None]


def metric_sum(account: Account, name: str, *, since: float) -> float:
    """The sum of a metric's values that were written since a moment."""
    objects = [_object(line) for line in _lines(account, since)]
    # Powertools writes a list of values under each metric's name.
    return math.fsum(value for entry in objects if "_aws" in entry for value in entry.get(name, ()))


def _lines(account: Account, since: float) -> Iterator[str]:
    """The lines of the functions' logs."""
    logs = account.session().client("logs", endpoint_url=account.endpoint_url)
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = logs.filter_log_events(
                logGroupName=group["logGroupName"], startTime=int(since * 1000)
            )
            yield from (event["message"] for event in events["events"])


def _object(line: str) -> Mapping[str, Any]:
    """The JSON object that a line is; an empty one if it is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
