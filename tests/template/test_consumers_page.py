"""docs/consumers.md lists what ReviewConnectionsFunction does."""

import json
import re

import pytest

from target_sync.connections.decisions import decide
from target_sync.connections.result import ReviewResult, ReviewStatus
from target_sync.reporting import PowertoolsReporter
from target_sync.triggers import TriggerKind
from tests.support.connections import TRUSTED, ReviewedService
from tests.template.pages import code_spans, read, sections, tables
from tests.template.stack import load

PAGE = read("docs/consumers.md")
DECISIONS, FIELDS, STATUSES, METRICS = tables(sections(PAGE, 2)["Who is accepted"])


def test_the_decision_table_is_the_table_of_the_code() -> None:
    docstring = " ".join((decide.__doc__ or "").split())
    for row in DECISIONS:
        assert " | ".join(row) in docstring


def test_lists_every_field_of_the_result_in_order() -> None:
    document = ReviewResult(trigger={}).to_document()
    assert [row[0].strip("`") for row in FIELDS] == list(document)


def test_names_every_field_of_a_decision_and_every_trigger() -> None:
    reviewed = ReviewedService()
    reviewed.service.request(TRUSTED)
    (connection,) = reviewed.service.connections()
    spans = set(code_spans(sections(PAGE, 2)["Who is accepted"]))
    assert decide(connection, reviewed.reviewer.policy).to_document().keys() <= spans
    assert {TriggerKind.NOTIFICATION, TriggerKind.SCHEDULE, TriggerKind.MANUAL} <= spans


def test_lists_every_status() -> None:
    assert {row[0].strip("`") for row in STATUSES} == set(ReviewStatus)


def test_lists_every_metric_with_its_unit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "consumers-page")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")

    PowertoolsReporter().report(ReviewResult(trigger={}))

    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    (directive,) = record["_aws"]["CloudWatchMetrics"]
    metrics = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {row[0].strip("`"): row[1] for row in METRICS} == metrics


def test_names_the_principal_of_the_template_and_its_account() -> None:
    steps = sections(PAGE, 2)["dbt, step by step"]
    (principal,) = re.findall(r"`(arn:aws:iam::\d{12}:role/\w+)`", steps)
    assert principal in json.dumps(load(), default=str)
    assert steps.count(principal.split(":")[4]) > 1
