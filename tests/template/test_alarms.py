"""The alarms of the template: descriptions, notifications, conditions and costs."""

import pytest

from target_sync.reconcile.loop import HEALTHY_WITHIN_SECONDS
from tests.support.scenario import REGISTRATION_SECONDS
from tests.template.pages import read, sections
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
@pytest.mark.parametrize(
    ("given", "actions"),
    [
        ({"AlarmEmail": "on-call@example.com"}, ["<AlarmTopic>"]),
        (
            {"AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms"},
            ["arn:aws:sns:eu-west-1:111122223333:alarms"],
        ),
        ({}, None),
    ],
)
def test_an_alarm_notifies_the_topic_when_it_starts_and_ends(
    name: str, given: dict[str, str], actions: list[str] | None
) -> None:
    found = Resolver({"AcceptanceRequired": "true", **given}).of_type(TYPE).values()
    (alarm,) = (a for a in found if a["AlarmName"] == f"postgres-privatelink-{name}")
    assert alarm.get("AlarmActions") == alarm.get("OKActions") == actions


def test_a_stack_has_only_the_alarms_that_can_ring() -> None:
    always = set(ALARMS) - {"connection-waiting"}
    of_the_network = {"no-healthy-target", "port-allocation-errors", "switch-ineffective"}
    of_the_reconciler = {name for name in always if "sync" in name} | {
        "failover-not-healthy",
        "switch-ineffective",
    }
    assert names("rds-instance") == always
    assert names("acceptance") == ALARMS.keys()
    assert names("existing target group") == always - of_the_network
    assert names("ec2-asg") == always - of_the_reconciler


def test_the_page_states_the_monthly_costs_of_the_alarms() -> None:
    assert f"${len(ALARMS) / 10:.2f} with all thirteen" in " ".join(PAGE.split())
    assert f"${len(names('rds-instance')) / 10:.2f} by default" in PAGE


def test_the_alarm_on_missing_data_depends_on_the_first_sync() -> None:
    assert load()["Resources"]["NoSuccessfulSyncAlarm"]["DependsOn"] == "FirstSync"


def test_no_alarm_rings_before_a_registration_can_end() -> None:
    alarm = ALARMS["no-healthy-target"]
    assert alarm["Period"] * alarm["EvaluationPeriods"] > REGISTRATION_SECONDS + 120
    assert HEALTHY_WITHIN_SECONDS > REGISTRATION_SECONDS + 120
