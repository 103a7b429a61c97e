"""The function from its door: every payload of the corpus, its answer, its record, its errors."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from moto import mock_aws

from functions.reconcile_targets import app
from target_sync.aws import CLIENT_CONFIG
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsNotFoundError,
    ObservationError,
    SettingsError,
    TriggerError,
)
from target_sync.model import LookupFailure
from target_sync.notifications.sender import NotificationSender, SnsTopic, notification_sender
from target_sync.reconcile import build
from target_sync.reconcile.triggers import parse_trigger
from target_sync.reporting import PowertoolsReporter
from tests.support.events import EVENTS, context, load_event
from tests.support.notifications import FakeBus, FakeTopic
from tests.support.scenario import A, B, Scenario, target

EVERY_EVENT = [path.stem for path in EVENTS.glob("*.json")]
OTHER_FUNCTIONS = {
    "connection-request", "status", "status-describe", "status-text", "status-widget",
}  # fmt: skip


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A road that has failed over to B with nobody told, behind the function's door."""
    scenario = Scenario(A, watch_seconds=60)
    scenario.fail_over(B)
    monkeypatch.setattr(app, "reconciler", lambda: scenario.reconciler)
    return scenario


@pytest.mark.parametrize("name", sorted(set(EVERY_EVENT) - {"manual-dry-run"} - OTHER_FUNCTIONS))
def test_every_trigger_leads_to_the_observed_address_whatever_it_says(
    scenario: Scenario, name: str
) -> None:
    answer = app.handler(load_event(name), context())

    assert answer["status"] == "synced"
    assert scenario.registered == {str(target(B))}


def test_a_manual_dry_run_changes_nothing(scenario: Scenario) -> None:
    answer = app.handler(load_event("manual-dry-run"), context())

    assert answer["status"] == "dry_run"
    assert scenario.registered == {str(target(A))}


@pytest.mark.usefixtures("scenario")
def test_the_answer_says_what_was_done_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    due_at = parse_trigger(load_event("schedule")).occurred_at
    assert due_at is not None
    monkeypatch.setattr("time.time", lambda: due_at + 12.5)

    answer = app.handler(load_event("schedule"), context())

    assert json.loads(json.dumps(answer)) == {
        "status": "synced",
        "summary": "Registered 10.0.2.12:5432. Deregistered 10.0.1.11:5432."
        " The target group is in sync.",
        "healthy": True,
        "trigger": answer["trigger"],
        "age_seconds": 12.5,
        "observation": {
            "name": "orders.abc123.eu-west-1.rds.amazonaws.com",
            "addresses": ["10.0.2.12"],
            "source": "dns",
            "ttl": 5,
            "corroborated": False,
            "disagreement": None,
        },
        "registered": [
            {
                "target": "10.0.2.12:5432",
                "action": "register",
                "reason": "desired and not registered",
                "state": "healthy",
                "state_reason": None,
            }
        ],
        "deregistered": [
            {
                "target": "10.0.1.11:5432",
                "action": "deregister",
                "reason": "in no observation of the confirm window",
                "state": None,
                "state_reason": None,
            }
        ],
        "planned": [],
        "kept": [
            {
                "target": "10.0.2.12:5432",
                "action": "keep",
                "reason": "desired and already registered",
                "state": "healthy",
                "state_reason": None,
            }
        ],
        "on_hold": [],
        "draining": [],
        "rejected": [],
        "vetoes": [],
        "seconds": answer["seconds"],
        "iterations": answer["iterations"],
        "dns_polls": answer["dns_polls"],
        "failures": 0,
        "last_failure": None,
        "undelivered_notifications": [],
    }


def test_a_vetoed_run_names_the_veto_and_the_refused_address(scenario: Scenario) -> None:
    scenario.endpoint.set_addresses("8.8.8.8")

    answer = json.loads(json.dumps(app.handler({}, context())))

    assert answer["status"] == "vetoed"
    assert answer["vetoes"][0]["code"] == "outside_allowed_networks"
    assert answer["vetoes"][0]["phases"] == ["deregister"]
    assert answer["rejected"][0]["target"] == "8.8.8.8:5432"
    assert "On hold: 10.0.1.11:5432. Rejected: 8.8.8.8:5432." in answer["summary"]


@pytest.mark.parametrize("payload", [{"dry-run": True}, {"dry_run": 1}, []])
def test_a_wrong_payload_is_refused_before_anything_is_asked(
    scenario: Scenario, payload: object
) -> None:
    with pytest.raises(TriggerError):
        app.handler(payload, context())

    assert not scenario.group.history
    assert not scenario.endpoint.queries


def test_a_failed_run_raises_and_its_record_says_what_was_seen(scenario: Scenario) -> None:
    scenario.endpoint.set_failure(LookupFailure.NAME_DOES_NOT_EXIST)

    with pytest.raises(ObservationError):
        app.handler({}, context())

    document = json.loads(json.dumps(scenario.reporter.results[-1].to_document()))
    assert document["status"] == "failed"
    assert document["observation"]["failure"] == "name_does_not_exist"
    assert "name_does_not_exist" in document["last_failure"]


def test_a_run_that_never_got_to_look_has_no_observation_in_its_record(scenario: Scenario) -> None:
    scenario.group.faults["DescribeTargetHealth"] = [
        AwsAccessDeniedError("DescribeTargetHealth", "AccessDenied", "not authorized")
    ]

    with pytest.raises(AwsAccessDeniedError):
        app.handler({}, context())

    document = scenario.reporter.results[-1].to_document()
    assert document["observation"] is None
    assert document["healthy"] is False


@pytest.mark.usefixtures("scenario")
def test_the_events_own_time_is_where_the_seconds_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = load_event("multi-az-failover-started")
    event["detail"]["Date"] = "2026-11-22T10:00:00.000Z"
    monkeypatch.setattr("time.time", lambda: 1795341603.25)

    answer = json.loads(json.dumps(app.handler(event, context())))

    assert answer["seconds"]["to_detect"] == 3.25


def test_a_run_keeps_within_the_functions_remaining_time(scenario: Scenario) -> None:
    scenario.set_listening()  # the new target never becomes healthy
    began = scenario.clock.now()

    answer = app.handler(load_event("multi-az-failover-completed"), context(120))

    assert answer["status"] == "unhealthy"
    assert scenario.clock.now() - began <= 120


# --- The record and the figures ---------------------------------------------------------------


@pytest.mark.usefixtures("_powertools")
def test_a_run_writes_one_record_and_its_figures(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    result = scenario.run(parse_trigger(load_event("schedule")))

    PowertoolsReporter().report(result)

    record, figures = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["level"] == "INFO"
    assert record["service"] == "test_a_run_writes_one_record_and_its_figures"
    assert record["result"] == json.loads(json.dumps(result.to_document()))
    (directive,) = figures["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "PostgresPrivateLink"
    assert figures["service"] == record["service"]
    assert figures["SyncSucceeded"] == [1]
    assert figures["SyncFailed"] == [0]
    assert figures["TargetsRegistered"] == [1]
    assert figures["TargetsDeregistered"] == [1]
    assert figures["SecondsToHealthy"] == [result.seconds["to_healthy"]]


@pytest.mark.usefixtures("_powertools")
def test_a_failed_run_is_recorded_as_an_error_and_counted_as_one(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.endpoint.set_failure(LookupFailure.TIMED_OUT)
    with pytest.raises(ObservationError):
        scenario.run(parse_trigger({}))

    PowertoolsReporter().report(scenario.reporter.results[-1])

    record, figures = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert record["level"] == "ERROR"
    assert (figures["SyncSucceeded"], figures["SyncFailed"]) == ([0], [1])
    assert "SecondsToHealthy" not in figures


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 1), ("INFO", 0)])
def test_single_looks_are_logged_for_whoever_asks_for_detail(
    scenario: Scenario,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    lines: int,
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", level)
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", level)
    run = scenario.run(parse_trigger({})).run

    PowertoolsReporter().report_iteration(run)

    written = capsys.readouterr().out.splitlines()
    assert len(written) == lines
    assert all("10.0.2.12" in line for line in written)


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
@pytest.mark.parametrize("name", ["multi-az-failover-completed", "instance-running", "schedule"])
def test_the_log_has_nothing_of_an_event_but_who_and_when(
    scenario: Scenario,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    level: str,
    name: str,
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", f"{name}-{level}")
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", level)
    reporter = PowertoolsReporter()
    scenario.reconciler = replace(scenario.reconciler, reporter=reporter)
    event = marked(load_event(name))

    app.handler(event, context())

    written = capsys.readouterr().out
    assert '"sync run ended"' in written
    assert "not-for-the-log" not in written


def marked(value: object, key: str = "") -> Any:
    """An event with a mark in every text that the function does not need."""
    if isinstance(value, dict):
        return {name: marked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    needed = key in {"source", "EventID", "Date", "time"}
    return f"{value} not-for-the-log" if isinstance(value, str) and not needed else value


# --- The wiring ---------------------------------------------------------------------------------

ENVIRONMENT = {
    "DATABASE_KIND": "rds-instance",
    "DATABASE_ENDPOINT": "orders.abc123.eu-west-1.rds.amazonaws.com",
    "DATABASE_PORT": "6432",
    "TARGET_GROUP_ARN": "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/o/01",
    "ALLOWED_NETWORKS": "10.0.0.0/16",
    "RESOLVERS": "10.0.0.2:5353",
    "EVENT_WATCH_DURATION_SECONDS": "120",
}


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    build.reconciler.cache_clear()


@pytest.mark.usefixtures("_environment", "_powertools")
def test_the_parts_are_put_together_from_the_environment_once_per_container() -> None:
    reconciler = build.reconciler()

    assert reconciler.policy.port == 6432
    assert reconciler.watch_seconds == 120
    assert build.reconciler() is reconciler


@pytest.mark.usefixtures("_environment", "_powertools")
def test_a_change_goes_to_the_topic_and_in_the_name_of_the_environment(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"
    monkeypatch.setenv("ALARM_TOPIC_ARN", topic)
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "orders-privatelink")
    monkeypatch.setattr("time.time", lambda: 1795341603.25)
    people, bus = FakeTopic(), FakeBus()
    couriers = {topic: NotificationSender(topic=people, bus=bus)}
    monkeypatch.setattr(
        "target_sync.notifications.sender.notification_sender", couriers.__getitem__
    )
    wired = build.reconciler().notifier
    assert wired is not None

    undelivered_notifications = wired.notify(scenario.run(parse_trigger({})), changed_ago=2.25)

    assert undelivered_notifications == ()
    assert people.messages[0].subject.startswith("orders-privatelink: ")
    (event,) = bus.events
    assert event.resource == ENVIRONMENT["TARGET_GROUP_ARN"]
    assert event.detail["at"] == 1795341601.0


@pytest.mark.usefixtures("_environment")
def test_who_tells_is_put_together_once_and_without_a_topic_if_there_is_none() -> None:
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"

    assert isinstance(notification_sender(topic).topic, SnsTopic)
    assert notification_sender(topic) is notification_sender(topic)
    assert notification_sender("").topic is None


@pytest.mark.usefixtures("_environment", "_powertools")
def test_detail_in_the_log_never_shows_a_requests_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)  # what Lambda does to the root logger
    group = build.reconciler().target_group

    with mock_aws(), pytest.raises(AwsNotFoundError):
        group.describe()

    said = [record for record in caplog.records if record.name.startswith("botocore")]
    assert all(record.levelno >= logging.INFO for record in said)


@pytest.mark.usefixtures("_environment")
def test_a_missing_variable_is_named_at_the_first_invocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TARGET_GROUP_ARN")

    with pytest.raises(SettingsError, match="TARGET_GROUP_ARN"):
        app.handler({}, context())


def test_a_client_that_cannot_connect_gives_up_within_seconds() -> None:
    config = CLIENT_CONFIG

    attempts = config.retries["total_max_attempts"]  # type: ignore[attr-defined]
    worst = attempts * (config.connect_timeout + config.read_timeout)  # type: ignore[attr-defined]
    assert worst <= 21
    assert config.retries["mode"] == "standard"  # type: ignore[attr-defined]
