"""EventBridge Scheduler: compressed time, and events as on AWS."""

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ministack.services import eventbridge, scheduler

from lab.emulator.functions import count_runs

# Scheduler's shortest rate in seconds: "rate(1 minute)".
_MINUTE = 60.0
# The longest delay of a schedule in seconds.
_LATEST = 0.5
# A compressed minute may be shorter than a run, above all on a busy machine, where each further
# process makes the others slower.
_MAX_RUNS = 3


def install(*, interval: float | None) -> None:
    """Send the events of schedules like AWS.

    Args:
        interval: Seconds of a minute in `rate()`; None: 60.
    """
    eventbridge._invoke_target = sending_schedules(
        eventbridge._invoke_target, max_runs=sys.maxsize if interval is None else _MAX_RUNS
    )
    if interval is not None:
        eventbridge._parse_rate_seconds = _compressing(eventbridge._parse_rate_seconds, interval)
        # A schedule may be one tick late.
        scheduler._SCHEDULE_TICK_INTERVAL = min(interval / 10, _LATEST)


def _compressing(
    parse: Callable[[str], float | None], interval: float
) -> Callable[[str], float | None]:
    def wrapped(expression: str) -> float | None:
        seconds = parse(expression)
        return None if seconds is None else seconds * interval / _MINUTE

    return wrapped


def sending_schedules(invoke: Callable[..., None], *, max_runs: int) -> Callable[..., None]:
    """Send a schedule's Input, or without one AWS's default event.

    A function with ``max_runs`` runs that have not ended gets no event.

    Source: EventBridge Scheduler user guide, "Lambda Invoke" (the default event) and "Adding
    context attributes".
    """

    def wrapped(
        target: Mapping[str, Any], event: Mapping[str, Any], rule: Any, view: Any = None
    ) -> None:
        if event.get("Source") == "aws.scheduler":
            if count_runs(function=target["Arn"].rpartition(":")[2]) >= max_runs:
                return
            target = {**target, "Input": _input(target, event)}
        invoke(target, event, rule, view)

    return wrapped


def _input(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    (schedule_arn,) = event["Resources"]
    time = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if not target.get("Input"):
        return json.dumps(
            {
                "version": "0",
                "id": event["EventId"],
                "detail-type": "Scheduled Event",
                "source": "aws.scheduler",
                "account": event["Account"],
                "time": time,
                "region": event["Region"],
                "resources": [schedule_arn],
                "detail": "{}",
            }
        )
    text = str(target["Input"])
    for attribute, value in (
        ("schedule-arn", schedule_arn),
        ("scheduled-time", time),
        ("execution-id", str(uuid4())),
        ("attempt-number", "1"),
    ):
        text = text.replace(f"<aws.scheduler.{attribute}>", value)
    return text
