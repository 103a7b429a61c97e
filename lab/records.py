"""The sync function's own records, read from its log as an operator would."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.aws import Account

_MESSAGE = "sync run ended"


@dataclass(frozen=True, slots=True)
class SyncRecord:
    """The record of one run.

    Attributes:
        trigger: Who asked for the run: ``rds_event``, ``schedule`` or ``manual``.
        event_id: RDS's event ID; None for another trigger.
        occurred_at: When the trigger occurred, in epoch seconds; None if it did not say.
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
    status: str
    registered: tuple[str, ...]
    deregistered: tuple[str, ...]
    failures: int
    to_detect: float | None
    to_register: float | None

    @property
    def detected_at(self) -> float | None:
        """When the run saw a change, in epoch seconds; None if it saw none."""
        if self.occurred_at is None or self.to_detect is None:
            return None
        return self.occurred_at + self.to_detect


def sync_records(account: Account, *, since: float) -> list[SyncRecord]:
    """The records of the runs that ended after a moment, in seconds since the epoch."""
    return [
        SyncRecord(
            trigger=result["trigger"]["kind"],
            event_id=result["trigger"]["event_id"],
            occurred_at=result["trigger"]["occurred_at"],
            status=result["status"],
            registered=tuple(entry["target"] for entry in result["registered"]),
            deregistered=tuple(entry["target"] for entry in result["deregistered"]),
            failures=result["failures"],
            to_detect=result["seconds"]["to_detect"],
            to_register=result["seconds"]["to_register"],
        )
        for result in (
            line["result"] for line in _lines(account, since) if line.get("message") == _MESSAGE
        )
    ]


def metric_sum(account: Account, name: str, *, since: float) -> float:
    """The sum of a metric's values that were written since a moment."""
    lines = _lines(account, since)
    # Powertools writes a list of values under each metric's name.
    return math.fsum(value for line in lines if "_aws" in line for value in line.get(name, ()))


def _lines(account: Account, since: float) -> Iterator[dict[str, Any]]:
    """The JSON objects in the functions' logs."""
    logs = account.session().client("logs", endpoint_url=account.endpoint_url)
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = logs.filter_log_events(
                logGroupName=group["logGroupName"], startTime=int(since * 1000)
            )
            for event in events["events"]:
                yield from _object(event["message"])


def _object(line: str) -> Iterator[dict[str, Any]]:
    try:
        value = json.loads(line)
    except ValueError:
        return
    if isinstance(value, dict):
        yield value
