"""Checks of the stack's dashboard, as CloudWatch shows it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.addresses import Endpoint
from lab.scenarios.base import Stage

_EVENTS = Path(__file__).parents[1] / "events"


def check_dashboard(stage: Stage, target: Endpoint) -> None:
    """Check the dashboard, and its widget on a working connection path.

    Args:
        stage: The stage of the deployed stack.
        target: The only target.
    """
    stage.progress.say("A person opens the dashboard")
    path, *graphs = _widgets(stage)
    function = path["properties"]["endpoint"]
    stage.expect(
        "the dashboard begins with the widget of the status function",
        path["type"] == "custom" and function.endswith(f":{_status_function(stage)}"),
        function,
    )
    drawn, rings = list(_drawn(graphs)), list(_rings(stage))
    stage.expect(
        "its graphs draw every metric that an alarm listens to",
        rings and all(metric in drawn for metric in rings),
        f"{len(drawn)} metrics, {len(rings)} alarms",
    )
    description = _ask(stage, function, "status-describe")
    stage.expect(
        "the widget describes itself in Markdown",
        isinstance(description, str) and description.startswith("## "),
        str(description).partition("\n")[0],
    )
    shown = _ask(stage, function, "status-widget")
    stage.expect(
        "the widget shows the connection path and its target, in the dashboard's theme",
        isinstance(shown, str)
        and shown.startswith("<div")
        and all(
            text in shown
            for text in ("The connection path works.", f"<td>{target}</td>", "#161d26")
        ),
        f"{len(str(shown).encode())} bytes",
    )


def _client(stage: Stage, service: str) -> Any:
    make: Any = stage.provider.session().client
    return make(service, endpoint_url=stage.provider.endpoint_url)


def _widgets(stage: Stage) -> list[dict[str, Any]]:
    name = f"{stage.stack.name}-{stage.provider.session().region_name}"
    body = _client(stage, "cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"]
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def _status_function(stage: Stage) -> str:
    return stage.stack.outputs()["ReportStatusFunctionName"]


def _drawn(graphs: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Namespace, name, and names and values of the dimensions of each line, in one order."""
    for graph in graphs:
        for line in graph["properties"]["metrics"]:
            namespace, name, *pairs = [part for part in line if isinstance(part, str)]
            dimensions = zip(pairs[::2], pairs[1::2], strict=True)
            yield _metric(namespace, name, dict(dimensions))


def _rings(stage: Stage) -> Iterator[tuple[str, ...]]:
    pages = _client(stage, "cloudwatch").get_paginator("describe_alarms").paginate()
    for page in pages:
        for alarm in page["MetricAlarms"]:
            dimensions = {entry["Name"]: entry["Value"] for entry in alarm["Dimensions"]}
            yield _metric(alarm["Namespace"], alarm["MetricName"], dimensions)


def _metric(namespace: str, name: str, dimensions: Mapping[str, str]) -> tuple[str, ...]:
    return (namespace, name, *(f"{key}={value}" for key, value in sorted(dimensions.items())))


def _ask(stage: Stage, function: str, event: str) -> object:
    payload = (_EVENTS / f"{event}.json").read_bytes()
    reply = _client(stage, "lambda").invoke(FunctionName=function, Payload=payload)
    answer: object = json.load(reply["Payload"])
    return answer
