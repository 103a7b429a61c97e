"""The numbers of the cost page that can be measured here are those that are measured here."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

from cost.model import Inputs
from target_sync.fleet.model import RunReason
from target_sync.fleet.result import SweepResult
from target_sync.reconcile.triggers import parse_trigger
from target_sync.reporting import PowertoolsReporter
from tests.support.events import load_event
from tests.support.fleet import SCHEDULED
from tests.support.scenario import ENDPOINT_NAME, MANUAL, POLICY, A, Scenario
from tests.support.warm_targets import WarmScenario
from tests.unit.fleet.builders import arn

OURS = Inputs.load()
ABOUT = 0.05


@pytest.fixture
def written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Callable[[Callable[[], None]], tuple[int, set[str]]]:
    """How many bytes something writes, and the names of its metrics."""
    # Powertools keeps one handler for each service name, so each test is a service of its own; as
    # long as the name of a stack, whatever the test is called.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", f"{hash(request.node.name):020d}"[:20])
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")

    def of(report: Callable[[], None]) -> tuple[int, set[str]]:
        report()
        text = capsys.readouterr().out
        (directive,) = json.loads(text.splitlines()[-1])["_aws"]["CloudWatchMetrics"]
        return len(text.encode()), {metric["Name"] for metric in directive["Metrics"]}

    return of


Written = Callable[[Callable[[], None]], tuple[int, set[str]]]


def test_a_run_of_a_stack_that_changes_nothing(written: Written) -> None:
    result = WarmScenario(A, policy=POLICY).run(parse_trigger(load_event("schedule")))

    size, metrics = written(lambda: PowertoolsReporter().report(result))

    assert size == pytest.approx(OURS.stack_log_bytes, rel=ABOUT)
    assert len(metrics) == OURS.stack_metrics


def test_a_run_of_a_fleet_that_changes_nothing(written: Written) -> None:
    result = Scenario(A).run(MANUAL)
    subject = {"target_group": arn(1), "endpoint": ENDPOINT_NAME, "reason": RunReason.AUDIT.value}

    size, _ = written(lambda: PowertoolsReporter(subject).report(result))

    assert size == pytest.approx(OURS.fleet_run_log_bytes, rel=ABOUT)


def test_a_sweep_without_findings(written: Written) -> None:
    result = SweepResult(
        trigger=SCHEDULED,
        bound=1_000,
        findings=(),
        runs=Counter({RunReason.AUDIT: 67}),
        waiting=0,
        longest_unverified=899.123,
        polls=11_000,
        seconds=55.017,
    )

    size, metrics = written(lambda: PowertoolsReporter().report(result))
    run = Scenario(A).run(MANUAL)
    _, run_metrics = written(lambda: PowertoolsReporter().report(run))

    assert size == pytest.approx(OURS.fleet_sweep_log_bytes, rel=ABOUT)
    assert len(metrics | run_metrics) == OURS.fleet_metrics
