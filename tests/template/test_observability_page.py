"""docs/observability.md lists every event, field, fault and alarm."""

import json
import re

import pytest

from lab.scenarios.faults import FAULTS
from target_sync.connections.decisions import ConnectionPolicy, decide
from target_sync.connections.messages import notification_of as connection_notice
from target_sync.notifications.messages import RUNBOOK, SOURCE, BusEvent
from target_sync.status.checks.result import CheckId
from tests.functional.test_notifications import NotifiedScenario
from tests.support.connections import ORIGIN, OTHER, TRUSTED, FakeEndpointService
from tests.support.monitoring import alarms
from tests.support.scenario import COMPLETED, EVENT, A, B
from tests.template.pages import ROOT, anchors, blocks, read, sections, tables

PAGE = read("docs/observability.md")
#: The first never breaks. The second needs a failure of AWS or a second load balancer.
UNTESTED_CHECKS = {"last-failover", "endpoint-service"}
EVENTS = tables(sections(PAGE, 2)["Events"])


def sync_event() -> BusEvent:
    scenario = NotifiedScenario(A)
    scenario.fail_over(B)
    scenario.run(EVENT)
    return scenario.notifier.bus.events[0]


def veto_event() -> BusEvent:
    scenario = NotifiedScenario(A)
    scenario.endpoint.set_addresses("8.8.8.8")
    scenario.run(COMPLETED)
    return scenario.notifier.bus.events[0]


def connection_event(account: str) -> BusEvent:
    service = FakeEndpointService()
    service.request(account)
    policy = ConnectionPolicy(trusted_accounts=frozenset({TRUSTED}))
    (decision,) = (decide(connection, policy) for connection in service.connections())
    return connection_notice(decision, ORIGIN, at=0.0).event


def first_column(number: int) -> list[str]:
    return [row[0].strip("`") for row in EVENTS[number]]


def test_the_page_lists_every_kind_of_event() -> None:
    events = (sync_event(), veto_event(), connection_event(TRUSTED), connection_event(OTHER))
    assert first_column(0) == [event.detail_type for event in events]


@pytest.mark.parametrize("event", [sync_event(), veto_event()])
def test_the_page_lists_the_fields_of_a_sync_event_in_order(event: BusEvent) -> None:
    assert first_column(1) == list(event.detail)


@pytest.mark.parametrize("account", [TRUSTED, OTHER])
def test_the_page_lists_the_fields_of_a_connection_event_in_order(account: str) -> None:
    assert first_column(2) == list(connection_event(account).detail)


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


def test_the_page_lists_the_faults_of_the_lab_with_their_checks_and_alarms() -> None:
    (rows,) = tables(sections(PAGE, 2)["Faults"])

    assert rows == [
        [
            fault.name,
            f"[`{fault.check}`](status.md#{fault.check})",
            ", ".join(f"`{alarm}`" for alarm in fault.alarms) or "none",
        ]
        for fault in FAULTS
    ]


def test_every_check_that_can_break_has_a_fault() -> None:
    assert {fault.check for fault in FAULTS} == {*map(str, CheckId)} - UNTESTED_CHECKS


def test_every_alarm_has_a_fault_in_the_lab_or_the_page_lists_it_as_untested_there() -> None:
    remaining = sections(PAGE, 2)["Faults"].rpartition("The remaining alarms")[2]
    in_the_lab = {alarm for fault in FAULTS for alarm in fault.alarms}
    untested = {alarm for alarm in alarms() if f"`{alarm}`" in remaining}

    assert in_the_lab | untested == alarms().keys()
    assert not in_the_lab & untested
