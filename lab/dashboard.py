"""Checks the stack's dashboard."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.addresses import Endpoint
from lab.scenarios.base import ScenarioContext

_WORKS = "The connection path works."
_EVENTS = Path(__file__).parents[1] / "events"


def check_dashboard(context: ScenarioContext, target: Endpoint) -> None:
    """Check the dashboard of a connection path that works.

    Args:
        context: The scenario of the stack.
        target: The only target.
    """
    context.progress.show("The dashboard")
    status, *graphs = _widgets(context)
    function = status["properties"]["endpoint"]
    context.expect(
        "the dashboard begins with the widget of the status function",
        status["type"] == "custom" and function.endswith(f":{_status_function(context)}"),
        function,
    )
    drawn, watched = list(_drawn(graphs)), list(_watched(context))
    context.expect(
        "its graphs draw every metric of an alarm",
        watched and all(metric in drawn for metric in watched),
        f"{len(drawn)} metrics, {len(watched)} alarms",
    )
    description = _invoke(context, function, "status-describe")
    context.expect(
        "the widget describes itself in Markdown",
        isinstance(description, str) and description.startswith("## "),
        str(description).partition("\n")[0],
    )
    shown = _invoke(context, function, "status-widget")
    context.expect(
        "the widget shows the connection path and its target, in the dashboard's theme",
        isinstance(shown, str)
        and shown.startswith("<div")
        and all(
            text in shown
            for text in ("The connection path works.", f"<td>{target}</td>", "#161d26")
        ),
        f"{len(str(shown).encode())} bytes",
    )


def _widgets(context: ScenarioContext) -> list[dict[str, Any]]:
    name = f"{context.stack.name}-{context.provider.region}"
    body = context.provider.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def _status_function(context: ScenarioContext) -> str:
    return context.stack.outputs()["ReportStatusFunctionName"]


def _drawn(graphs: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Return namespace, name and dimensions of each line of the graphs."""
    for graph in graphs:
        for line in graph["properties"]["metrics"]:
            namespace, name, *pairs = [part for part in line if isinstance(part, str)]
            dimensions = zip(pairs[::2], pairs[1::2], strict=True)
            yield _metric(namespace, name, dict(dimensions))


def _watched(context: ScenarioContext) -> Iterator[tuple[str, ...]]:
    pages = context.provider.client("cloudwatch").get_paginator("describe_alarms").paginate()
    for page in pages:
        for alarm in page["MetricAlarms"]:
            dimensions = {entry["Name"]: entry["Value"] for entry in alarm["Dimensions"]}
            yield _metric(alarm["Namespace"], alarm["MetricName"], dimensions)


def _metric(namespace: str, name: str, dimensions: Mapping[str, str]) -> tuple[str, ...]:
    return (namespace, name, *(f"{key}={value}" for key, value in sorted(dimensions.items())))


def _invoke(context: ScenarioContext, function: str, event: str) -> object:
    payload = (_EVENTS / f"{event}.json").read_bytes()
    reply = context.provider.client("lambda").invoke(FunctionName=function, Payload=payload)
    result: object = json.load(reply["Payload"])
    return result
