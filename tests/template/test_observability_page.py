"""docs/observability.md: events of a kind have the same fields, and every alarm has a fault."""

import json
import re

from lab.scenarios.faults import FAULTS
from target_sync.notifications.messages import RUNBOOK, SOURCE
from target_sync.status.checks.result import CheckId
from tests.support.connections import OTHER, TRUSTED
from tests.support.monitoring import alarms
from tests.template.pages import ROOT, anchors, blocks, read, sections
from tools.generate_docs import connection_event, sync_event, veto_event

PAGE = read("docs/observability.md")
#: The first never breaks. The second needs a failure of AWS or a second load balancer.
UNTESTED_CHECKS = {"last-failover", "endpoint-service"}


def test_the_events_of_a_table_have_the_same_fields() -> None:
    assert list(sync_event().detail) == list(veto_event().detail)
    assert list(connection_event(TRUSTED).detail) == list(connection_event(OTHER).detail)


def test_the_pattern_of_the_page_matches_an_event() -> None:
    (pattern,) = (json.loads(block) for block in blocks(PAGE, "json"))
    event = sync_event()
    assert pattern["source"] == [SOURCE]
    assert pattern["detail-type"] == [event.detail_type]
    assert pattern["detail"]["stack"] == [event.detail["stack"]]


def test_a_message_links_existing_runbook_entries() -> None:
    source = (ROOT / "layers/target_sync/target_sync/reconcile/messages.py").read_text()
    named = re.findall(r"\{RUNBOOK\}#([\w-]+)", source)
    assert named
    assert set(named) <= anchors(read(RUNBOOK))


def test_every_check_that_can_break_has_a_fault() -> None:
    assert {fault.check for fault in FAULTS} == {*map(str, CheckId)} - UNTESTED_CHECKS


def test_every_alarm_has_a_fault_in_the_lab_or_the_page_lists_it_as_untested_there() -> None:
    remaining = sections(PAGE, 2)["Faults"].rpartition("The remaining alarms")[2]
    in_the_lab = {alarm for fault in FAULTS for alarm in fault.alarms}
    untested = {alarm for alarm in alarms() if f"`{alarm}`" in remaining}

    assert in_the_lab | untested == alarms().keys()
    assert not in_the_lab & untested
