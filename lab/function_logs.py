"""What the stack's functions wrote to their logs: records of runs, and metrics."""

import math
from collections.abc import Iterator

from drill.run_records import MESSAGE, RunRecord, json_object
from lab.aws import Account


def run_records(account: Account, *, since: float) -> list[RunRecord]:
    """Return the records of the runs that ended after a time, in epoch seconds."""
    records = (RunRecord.read(line) for line in _lines(account, since))
    return [record for record in records if record is not None]


def last_failures(account: Account, *, since: float) -> list[str]:
    """Return the last failure of each run that ended after a time and had one."""
    objects = [json_object(line) for line in _lines(account, since)]
    results = [entry["result"] for entry in objects if entry.get("message") == MESSAGE]
    return [result["last_failure"] for result in results if result["last_failure"]]


def metric_sum(account: Account, name: str, *, since: float) -> float:
    """Return the sum of a metric's values after a time."""
    objects = [json_object(line) for line in _lines(account, since)]
    # Powertools writes a list of values under each metric's name.
    return math.fsum(value for entry in objects if "_aws" in entry for value in entry.get(name, ()))


def _lines(account: Account, since: float) -> Iterator[str]:
    logs = account.client("logs")
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            events = logs.filter_log_events(
                logGroupName=group["logGroupName"], startTime=int(since * 1000)
            )
            yield from (event["message"] for event in events["events"])
