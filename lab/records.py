"""The sync function's own records, read from its log as an operator would."""

import json
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
        registered: The targets that the run registered.
        to_detect: Seconds from the trigger to the look that saw a change; None without one.
        to_register: Seconds from the trigger to the last registration; None without one.
    """

    trigger: str
    event_id: str | None
    registered: tuple[str, ...]
    to_detect: float | None
    to_register: float | None


def sync_records(account: Account, *, since: float) -> list[SyncRecord]:
    """The records of the runs that ended after a moment, in seconds since the epoch."""
    return [
        SyncRecord(
            trigger=result["trigger"]["kind"],
            event_id=result["trigger"]["event_id"],
            registered=tuple(entry["target"] for entry in result["registered"]),
            to_detect=result["seconds"]["to_detect"],
            to_register=result["seconds"]["to_register"],
        )
        for result in _results(account, since)
    ]


def _results(account: Account, since: float) -> Iterator[dict[str, Any]]:
    logs = account.session().client("logs", endpoint_url=account.endpoint_url)
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = logs.filter_log_events(
                logGroupName=group["logGroupName"], startTime=int(since * 1000)
            )
            for event in events["events"]:
                yield from _result(event["message"])


def _result(line: str) -> Iterator[dict[str, Any]]:
    """The result in a line of the log, if the line is a run's record."""
    try:
        record = json.loads(line)
    except ValueError:
        return
    if isinstance(record, dict) and record.get("message") == _MESSAGE:
        yield record["result"]
