"""The numbers of the cost page that can be measured here are those that are measured here."""

import json

import pytest

from cost.model import Inputs
from target_sync.observability import PowertoolsReporter
from target_sync.triggers import parse_trigger
from tests.support.events import load_event
from tests.support.road import A, Road

OURS = Inputs.load()


def test_a_run_that_changes_nothing_logs_as_much_as_the_costs_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "cost-privatelink-01")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")
    result = Road(A).run(parse_trigger(load_event("schedule")))

    PowertoolsReporter().report(result)

    written = capsys.readouterr().out
    assert len(written.encode()) == pytest.approx(OURS.stack_log_bytes, rel=0.05)
    (directive,) = json.loads(written.splitlines()[1])["_aws"]["CloudWatchMetrics"]
    assert len(directive["Metrics"]) == OURS.stack_metrics
