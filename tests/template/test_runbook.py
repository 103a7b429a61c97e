"""The runbook has an entry for each alarm and each check that can be broken, and no other."""

import re

import pytest

from target_sync.notifications.messages import RUNBOOK
from target_sync.status.checks.result import CheckId
from tests.support.monitoring import alarms
from tests.template.pages import anchors, read, sections
from tests.template.stack import FLEET_TEMPLATE, Resolver

PARTS = sections(read(RUNBOOK), 2)
CHECKS = sections(read("docs/status.md"), 3)
ENTRIES = {
    anchor: text
    for part in ("Alarms", "Alarms of the fleet", "Broken checks")
    for title, text in sections(PARTS[part], 3).items()
    for anchor in anchors(f"### {title}")
}


def named(part: str) -> list[str]:
    """The entries of a part by their anchors."""
    return [anchor for title in sections(PARTS[part], 3) for anchor in anchors(f"### {title}")]


def test_each_alarm_has_an_entry() -> None:
    assert sorted(named("Alarms")) == sorted(alarms())
    fleet = Resolver(path=FLEET_TEMPLATE).of_type("AWS::CloudWatch::Alarm").values()
    names = [alarm["AlarmName"].removeprefix("postgres-privatelink-") for alarm in fleet]
    # Both templates have an alarm for undelivered events.
    assert named("Alarms of the fleet") == [name for name in names if name != "undelivered-events"]


def test_each_check_that_can_be_broken_has_an_entry_in_the_order_of_the_report() -> None:
    never = [id_ for id_ in CheckId if "Never broken" in CHECKS[id_]]
    assert never == [CheckId.LAST_FAILOVER]
    assert named("Broken checks") == [id_.value for id_ in CheckId if id_ not in never]


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_has_meaning_first_check_and_remedy(name: str) -> None:
    parts = re.findall(r"^\*\*(Meaning|Check|Remedy)\b", ENTRIES[name], re.MULTILINE)
    assert parts == ["Meaning", "Check", "Remedy"]


@pytest.mark.parametrize("name", named("Broken checks"))
def test_an_entry_for_a_check_has_a_command_or_links_to_one(name: str) -> None:
    check, remedy = re.split(r"^\*\*Remedy", ENTRIES[name], flags=re.MULTILINE)
    for text in (check, remedy):
        assert "```sh" in text or re.search(r"\]\(.*#", text)


def test_the_pages_link_to_each_other() -> None:
    assert "runbook.md#broken-checks" in sections(read("docs/status.md"), 2)["The checks"]
    assert "status.md#the-checks" in PARTS["Broken checks"]
