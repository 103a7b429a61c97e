"""The alarms of the template: each says what it means, where to read on, and whom it tells."""

import re

import pytest

from target_sync.notifications.messages import RUNBOOK
from target_sync.reconcile.loop import HEALTHY_WITHIN_SECONDS
from tests.support.scenario import REGISTRATION_SECONDS
from tests.template.pages import anchors, read, sections, tables
from tests.template.stack import SITUATIONS, Resolver, load

TYPE = "AWS::CloudWatch::Alarm"
ALARMS = {
    properties["AlarmName"].removeprefix("postgres-privatelink-"): properties
    for properties in Resolver(SITUATIONS["acceptance"]).of_type(TYPE).values()
}
EACH = pytest.mark.parametrize("name", ALARMS)
PAGE = sections(read("docs/observability.md"), 2)["Alarms"]


def names(situation: str) -> set[str]:
    found = Resolver(SITUATIONS[situation]).of_type(TYPE).values()
    return {alarm["AlarmName"].removeprefix("postgres-privatelink-") for alarm in found}


@EACH
def test_an_alarm_says_what_it_means_and_where_to_read_on(name: str) -> None:
    description = ALARMS[name]["AlarmDescription"]
    assert re.fullmatch(rf"[A-Z].{{30,}}\. See {RUNBOOK}#{name}\.", description)
    assert name in anchors(read(RUNBOOK))
    assert len(description) < 1024


def test_the_page_tells_every_alarm() -> None:
    assert [row[0].strip("`") for row in tables(PAGE)[0]] == list(ALARMS)


@EACH
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"AlarmEmail": "on-call@example.com"}, ["<AlarmTopic>"]),
        (
            {"AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms"},
            ["arn:aws:sns:eu-west-1:111122223333:alarms"],
        ),
        ({}, None),
    ],
)
def test_an_alarm_tells_the_topic_when_it_rings_and_when_it_is_over(
    name: str, given: dict[str, str], told: list[str] | None
) -> None:
    found = Resolver({"AcceptanceRequired": "true", **given}).of_type(TYPE).values()
    (alarm,) = (a for a in found if a["AlarmName"] == f"postgres-privatelink-{name}")
    assert alarm.get("AlarmActions") == alarm.get("OKActions") == told
    # Missing data are treated one way or the other, so that there is no third state to tell.
    assert alarm["TreatMissingData"] in {"breaching", "notBreaching"}


def test_a_stack_has_the_alarms_that_can_ring_in_it() -> None:
    always = set(ALARMS) - {"connection-waiting"}
    own_road = {"no-healthy-target", "port-allocation-errors"}
    of_the_sync = {name for name in always if "sync" in name} | {"failover-not-healthy"}
    assert names("rds-instance") == always
    assert names("acceptance") == ALARMS.keys()
    assert names("existing target group") == always - own_road
    assert names("ec2-asg") == always - of_the_sync


def test_the_months_costs_of_the_alarms_are_told() -> None:
    assert f"${len(ALARMS) / 10:.2f} with all twelve" in " ".join(PAGE.split())
    assert f"${len(names('rds-instance')) / 10:.2f}\nas a rule" in PAGE


def test_the_alarm_on_silence_is_made_when_there_has_been_a_run() -> None:
    assert load()["Resources"]["NoSuccessfulSyncAlarm"]["DependsOn"] == "FirstSync"


def test_nobody_is_told_before_a_registration_has_had_its_time() -> None:
    patience = ALARMS["no-healthy-target"]
    assert patience["Period"] * patience["EvaluationPeriods"] > REGISTRATION_SECONDS + 120
    assert HEALTHY_WITHIN_SECONDS > REGISTRATION_SECONDS + 120
