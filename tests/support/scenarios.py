"""A story says in one line what the client sees and what shows it; the test must bear it out.

``docs/failure-scenarios.md`` is held to the same lines by
``tests/template/test_failure_scenarios_page.py``.
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
from target_sync.reconcile.reporting import PowertoolsReporter
from target_sync.reconcile.result import SyncResult
from tests.support.scenario import A, B, Scenario, target

P = ParamSpec("P")

#: What shows a change that went well, one with failures on the way, a run that failed, and a run
#: that failed before another made the change.
FOLLOWED = ("TargetsRegistered", "TargetsDeregistered")
OUTLIVED = ("CallsFailed", *FOLLOWED)
FAILED = ("SyncFailed", "CallsFailed", "Errors", "no SyncSucceeded")
FAILED_ONCE = ("SyncFailed", *OUTLIVED, "Errors")

#: The calls of a failover from the first address to the second, whatever happens on the way.
FROM_A_TO_B = [
    ("RegisterTargets", (str(target(B)),)),
    ("DeregisterTargets", (str(target(A)),)),
]

#: Metrics of a run for whoever has to find out that something is wrong or was done.
_TELLING = (
    "SyncFailed",
    "SyncVetoed",
    "SyncUnfinished",
    "SyncUnhealthy",
    "CallsFailed",
    "TargetsRegistered",
    "TargetsDeregistered",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a story comes to.

    Attributes:
        told: What happens, as a person would say it.
        refused: Seconds in which the client was refused.
        wrong: Seconds in which it was on a wrong server.
        shows: The metrics that show it: those of our runs that were not 0, ``Errors`` of the
            function, and ``no SyncSucceeded`` where that stamp stays away.
    """

    told: str
    refused: float
    wrong: float
    shows: tuple[str, ...]


#: Every story by the name of its test.
STORIES: dict[str, Story] = {}


def story(
    told: str, *, refused: float = 0.0, wrong: float = 0.0, shows: tuple[str, ...] = ()
) -> Callable[[Callable[P, Scenario]], Callable[P, None]]:
    """Make a test of a function that plays a story and answers with its road."""

    def of(play: Callable[P, Scenario]) -> Callable[P, None]:
        expected = Story(told=told, refused=refused, wrong=wrong, shows=shows)
        STORIES[play.__name__] = expected

        @functools.wraps(play)
        def test(*args: P.args, **kwargs: P.kwargs) -> None:
            scenario = play(*args, **kwargs)
            client = scenario.client
            seen = replace(
                expected, refused=client.refused, wrong=client.wrong, shows=_shown(scenario)
            )
            if seen != expected:
                raise AssertionError(f"told:\n  {expected}\ncame:\n  {seen}")

        return test

    return of


def _shown(scenario: Scenario) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for result in scenario.reporter.results:
        counts.update(emitted(result))
    errors = scenario.abandoned + sum(
        r.status is RunStatus.FAILED for r in scenario.reporter.results
    )
    return (
        *(name for name in _TELLING if counts[name]),
        *(["Errors"] if errors else []),
        *([] if counts["SyncSucceeded"] else ["no SyncSucceeded"]),
    )


def emitted(result: SyncResult) -> dict[str, float]:
    """The metrics that CloudWatch would read out of the log of this run."""
    return figures(lambda: PowertoolsReporter().report(result))


def figures(report: Callable[[], None]) -> dict[str, float]:
    """The metrics that CloudWatch would read out of what a reporter writes."""
    settings = {
        "POWERTOOLS_SERVICE_NAME": "stories",
        "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
    }
    written = io.StringIO()
    with patch.dict(os.environ, settings), redirect_stdout(written):
        report()
    documents = (json.loads(line) for line in written.getvalue().splitlines())
    (found,) = (document for document in documents if "_aws" in document)
    (directive,) = found["_aws"]["CloudWatchMetrics"]
    return {m["Name"]: sum(found[m["Name"]]) for m in directive["Metrics"]}
