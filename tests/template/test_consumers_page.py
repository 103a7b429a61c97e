"""docs/consumers.md lists what ReviewConnectionsFunction does."""

import json
import re

from target_sync.connections.decisions import decide
from target_sync.triggers import TriggerKind
from tests.support.connections import TRUSTED, ReviewedService
from tests.template.pages import code_spans, read, sections
from tests.template.stack import load

PAGE = read("docs/consumers.md")


def test_names_every_field_of_a_decision_and_every_trigger() -> None:
    reviewed = ReviewedService()
    reviewed.service.request(TRUSTED)
    (connection,) = reviewed.service.connections()
    spans = set(code_spans(sections(PAGE, 2)["Who is accepted"]))
    assert decide(connection, reviewed.reviewer.policy).to_document().keys() <= spans
    assert {TriggerKind.NOTIFICATION, TriggerKind.SCHEDULE, TriggerKind.MANUAL} <= spans


def test_names_the_principal_of_the_template_and_its_account() -> None:
    steps = sections(PAGE, 2)["dbt, step by step"]
    (principal,) = re.findall(r"`(arn:aws:iam::\d{12}:role/\w+)`", steps)
    assert principal in json.dumps(load(), default=str)
    assert steps.count(principal.split(":")[4]) > 1
