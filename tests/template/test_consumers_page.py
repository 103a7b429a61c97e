"""The page about consumers says what the function that answers does."""

import json
import re

import pytest

from target_sync.connections.decisions import ReviewResult, ReviewStatus, decide
from target_sync.connections.reporting import PowertoolsReviewReporter
from target_sync.connections.triggers import ConnectionTriggerKind
from tests.support.connections import TRUSTED, Desk
from tests.template.pages import code_spans, read, sections, tables
from tests.template.stack import load

PAGE = read("docs/consumers.md")
DECISIONS, FIELDS, STATUSES, METRICS = tables(sections(PAGE, 2)["Who is accepted"])


def test_the_page_has_the_functions_own_table_of_decisions() -> None:
    docstring = " ".join((decide.__doc__ or "").split())
    for row in DECISIONS:
        assert " | ".join(row) in docstring


def test_the_page_tells_every_field_of_an_answer_in_order() -> None:
    document = ReviewResult(trigger={}).to_document()
    assert [row[0].strip("`") for row in FIELDS] == list(document)


def test_the_page_tells_every_field_of_a_request_and_every_trigger() -> None:
    desk = Desk()
    desk.service.asks(TRUSTED)
    (connection,) = desk.service.connections()
    spans = set(code_spans(sections(PAGE, 2)["Who is accepted"]))
    assert decide(connection, desk.reviewer.policy).to_document().keys() <= spans
    assert set(ConnectionTriggerKind) <= spans


def test_the_page_tells_every_status() -> None:
    assert {row[0].strip("`") for row in STATUSES} == set(ReviewStatus)


def test_the_page_tells_every_metric_and_its_unit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "consumers-page")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")

    PowertoolsReviewReporter().report(ReviewResult(trigger={}))

    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    (directive,) = figures["_aws"]["CloudWatchMetrics"]
    written = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {row[0].strip("`"): row[1] for row in METRICS} == written


def test_the_page_names_the_principal_that_the_template_allows_and_its_account() -> None:
    steps = sections(PAGE, 2)["dbt, step by step"]
    (principal,) = re.findall(r"`(arn:aws:iam::\d{12}:role/\w+)`", steps)
    assert principal in json.dumps(load(), default=str)
    assert steps.count(principal.split(":")[4]) > 1
