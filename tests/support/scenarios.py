"""The expected outcome of each failure scenario.

``make docs`` writes them into ``docs/contributing/failure-scenarios.md``.
"""

import functools
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import ParamSpec
from unittest.mock import patch

from target_sync.model import RunStatus
from target_sync.reconcile.result import SyncResult
from target_sync.reporting import PowertoolsReporter
from tests.support.scenario import Scenario

P = ParamSpec("P")

#: The metrics of a change, of a change after failed calls, of a failed run, and of a change that
#: followed a failed run.
TARGETS_CHANGED = ("TargetsRegistered", "TargetsDeregistered")
CHANGED_AFTER_FAILURES = ("CallsFailed", *TARGETS_CHANGED)
FAILED = ("SyncFailed", "CallsFailed", "Errors", "no SyncSucceeded")
FIRST_RUN_FAILED = ("SyncFailed", *CHANGED_AFTER_FAILURES, "Errors")

#: The metrics of a run that report a problem or a change.
_REPORTED = (
    "SyncFailed",
    "SyncVetoed",
    "SyncUnfinished",
    "SyncUnhealthy",
    "CallsFailed",
    "TargetsRegistered",
    "TargetsDeregistered",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The expected outcome of a scenario.

    Attributes:
        description: What happens, for the documentation.
        refused: Seconds in which the client had no connection.
        misrouted: Seconds in which the client reached the wrong server.
        metrics: The metrics of the runs that are not 0, ``Errors`` of the function, and
            ``no SyncSucceeded`` if no run succeeded.
    """

    description: str
    refused: float
    misrouted: float
    metrics: tuple[str, ...]


#: Every expected outcome by the name of its test.
OUTCOMES: dict[str, Outcome] = {}


def outcome(
    description: str, *, refused: float = 0.0, misrouted: float = 0.0, metrics: tuple[str, ...] = ()
) -> Callable[[Callable[P, Scenario]], Callable[P, None]]:
    """Decorate a test that returns its scenario, and compare the outcome with the expected one."""

    def decorate(run_scenario: Callable[P, Scenario]) -> Callable[P, None]:
        expected = Outcome(
            description=description, refused=refused, misrouted=misrouted, metrics=metrics
        )
        OUTCOMES[run_scenario.__name__] = expected

        @functools.wraps(run_scenario)
        def test(*args: P.args, **kwargs: P.kwargs) -> None:
            scenario = run_scenario(*args, **kwargs)
            client = scenario.client
            actual = replace(
                expected,
                refused=client.refused,
                misrouted=client.misrouted,
                metrics=_reported_metrics(scenario),
            )
            if actual != expected:
                raise AssertionError(f"expected:\n  {expected}\nactual:\n  {actual}")

        return test

    return decorate


def _reported_metrics(scenario: Scenario) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for result in scenario.reporter.results:
        counts.update(run_metrics(result))
    errors = scenario.killed_runs + sum(
        r.status is RunStatus.FAILED for r in scenario.reporter.results
    )
    return (
        *(name for name in _REPORTED if counts[name]),
        *(["Errors"] if errors else []),
        *([] if counts["SyncSucceeded"] else ["no SyncSucceeded"]),
    )


def run_metrics(result: SyncResult) -> dict[str, float]:
    """Return the metrics that CloudWatch extracts from the log of a run."""
    return written_metrics(lambda: PowertoolsReporter().report(result))


def written_metrics(report: Callable[[], None]) -> dict[str, float]:
    """Return the metrics that CloudWatch extracts from what a reporter writes."""
    return {name: value for name, _, value in metrics_with_units(report)}


def metrics_with_units(report: Callable[[], None]) -> list[tuple[str, str, float]]:
    """Return the name, the unit and the value of each metric that a reporter writes."""
    settings = {
        "POWERTOOLS_SERVICE_NAME": "scenarios",
        "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
    }
    written = io.StringIO()
    with patch.dict(os.environ, settings), redirect_stdout(written):
        report()
    documents = (json.loads(line) for line in written.getvalue().splitlines())
    (metrics,) = (document for document in documents if "_aws" in document)
    (directive,) = metrics["_aws"]["CloudWatchMetrics"]
    return [(m["Name"], m["Unit"], sum(metrics[m["Name"]])) for m in directive["Metrics"]]
