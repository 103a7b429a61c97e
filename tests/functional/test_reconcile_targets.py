"""The handler: every sample event, the result, the log entry, the metrics and the errors."""

import gc
import json
import logging
import re
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
from target_sync.notifications import sender
from target_sync.notifications.sender import NotificationSender, SnsTopic, notification_sender
from target_sync.reconcile import build
from target_sync.reconcile.triggers import parse_trigger
from target_sync.reporting import PowertoolsReporter
from tests.support.events import EVENTS, context, load_event
from tests.support.notifications import FakeBus, FakeTopic
from tests.support.scenario import A, B, Scenario, target

#: RFC 3339, section 5.6, as Lambda reads it.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
EVERY_EVENT = [path.stem for path in EVENTS.glob("*.json")]
OTHER_FUNCTIONS = {
    "connection-request", "status", "status-describe", "status-text", "status-widget",
}  # fmt: skip


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Return a scenario behind the handler that failed over to B without an event."""
    scenario = Scenario(A, watch_seconds=60)
    scenario.fail_over(B)
    monkeypatch.setattr(app, "reconciler", lambda: scenario.reconciler)
    return scenario


@pytest.mark.parametrize("name", sorted(set(EVERY_EVENT) - {"manual-dry-run"} - OTHER_FUNCTIONS))
def test_every_trigger_registers_the_observed_address(scenario: Scenario, name: str) -> None:
    result = app.handler(load_event(name), context())

    assert result["status"] == "synced"
    assert scenario.registered == {str(target(B))}


def test_a_manual_dry_run_changes_nothing(scenario: Scenario) -> None:
    result = app.handler(load_event("manual-dry-run"), context())

    assert result["status"] == "dry_run"
    assert scenario.registered == {str(target(A))}


@pytest.mark.usefixtures("scenario")
def test_the_result_contains_the_changes_and_their_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    due_at = parse_trigger(load_event("schedule")).occurred_at
    assert due_at is not None
    monkeypatch.setattr("time.time", lambda: due_at + 12.5)

    result = app.handler(load_event("schedule"), context())

    assert json.loads(json.dumps(result)) == {
        "status": "synced",
        "summary": "Registered 10.0.2.12:5432. Deregistered 10.0.1.11:5432."
        " The target group is in sync.",
        "healthy": True,
        "trigger": result["trigger"],
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
        "seconds": result["seconds"],
        "iterations": result["iterations"],
        "dns_polls": result["dns_polls"],
        "waited_for": ["confirmation", "health"],
        "failures": 0,
        "last_failure": None,
        "undelivered_notifications": [],
    }


def test_a_vetoed_run_returns_the_veto_and_the_rejected_address(scenario: Scenario) -> None:
    scenario.endpoint.set_addresses("8.8.8.8")

    result = json.loads(json.dumps(app.handler({}, context())))

    assert result["status"] == "vetoed"
    assert result["vetoes"][0]["code"] == "outside_allowed_networks"
    assert result["vetoes"][0]["phases"] == ["deregister"]
    assert result["rejected"][0]["target"] == "8.8.8.8:5432"
    assert "On hold: 10.0.1.11:5432. Rejected: 8.8.8.8:5432." in result["summary"]


@pytest.mark.parametrize("payload", [{"dry-run": True}, {"dry_run": 1}, []])
def test_an_invalid_payload_is_rejected_before_any_call(
    scenario: Scenario, payload: object
) -> None:
    with pytest.raises(TriggerError):
        app.handler(payload, context())

    assert not scenario.group.history
    assert not scenario.endpoint.queries


def test_a_failed_run_raises_and_reports_its_observation(scenario: Scenario) -> None:
    scenario.endpoint.set_failure(LookupFailure.NAME_DOES_NOT_EXIST)

    with pytest.raises(ObservationError):
        app.handler({}, context())

    document = json.loads(json.dumps(scenario.reporter.results[-1].to_document()))
    assert document["status"] == "failed"
    assert document["observation"]["failure"] == "name_does_not_exist"
    assert "name_does_not_exist" in document["last_failure"]


def test_a_run_without_a_description_reports_no_observation(scenario: Scenario) -> None:
    scenario.group.faults["DescribeTargetHealth"] = [
        AwsAccessDeniedError("DescribeTargetHealth", "AccessDenied", "not authorized")
    ]

    with pytest.raises(AwsAccessDeniedError):
        app.handler({}, context())

    document = scenario.reporter.results[-1].to_document()
    assert document["observation"] is None
    assert document["healthy"] is False


@pytest.mark.usefixtures("scenario")
def test_the_seconds_begin_at_the_time_of_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    event = load_event("multi-az-failover-started")
    event["detail"]["Date"] = "2026-11-22T10:00:00.000Z"
    monkeypatch.setattr("time.time", lambda: 1795341603.25)

    result = json.loads(json.dumps(app.handler(event, context())))

    assert result["seconds"]["to_detect"] == 3.25


def test_a_run_ends_within_the_remaining_time_of_the_function(scenario: Scenario) -> None:
    scenario.set_listening()  # no target becomes healthy
    began = scenario.clock.now()

    result = app.handler(load_event("multi-az-failover-completed"), context(120))

    assert result["status"] == "unhealthy"
    assert scenario.clock.now() - began <= 120


# --- The log and the metrics ------------------------------------------------------------------


@pytest.mark.usefixtures("_powertools")
def test_a_run_writes_one_log_entry_and_its_metrics(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    result = scenario.run(parse_trigger(load_event("schedule")))

    PowertoolsReporter().report(result)

    entry, metrics = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert entry["level"] == "INFO"
    assert entry["service"] == "test_a_run_writes_one_log_entry_and_its_metrics"
    assert entry["result"] == json.loads(json.dumps(result.to_document()))
    (directive,) = metrics["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "PostgresPrivateLink"
    assert metrics["service"] == entry["service"]
    assert metrics["SyncSucceeded"] == [1]
    assert metrics["SyncFailed"] == [0]
    assert metrics["TargetsRegistered"] == [1]
    assert metrics["TargetsDeregistered"] == [1]
    assert metrics["SecondsToHealthy"] == [result.seconds["to_healthy"]]


@pytest.mark.usefixtures("_powertools")
def test_a_failed_run_writes_an_error_and_counts_it(
    scenario: Scenario, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario.endpoint.set_failure(LookupFailure.TIMED_OUT)
    with pytest.raises(ObservationError):
        scenario.run(parse_trigger({}))

    PowertoolsReporter().report(scenario.reporter.results[-1])

    entry, metrics = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert entry["level"] == "ERROR"
    # Lambda takes a line with another timestamp as INFO.
    assert RFC_3339.fullmatch(entry["timestamp"])
    assert (metrics["SyncSucceeded"], metrics["SyncFailed"]) == ([0], [1])
    assert "SecondsToHealthy" not in metrics


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 1), ("INFO", 0)])
def test_iterations_are_logged_at_level_debug_only(
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
def test_the_log_contains_only_the_source_and_the_time_of_an_event(
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
    event = with_markers(load_event(name))

    app.handler(event, context())

    written = capsys.readouterr().out
    assert '"sync run ended"' in written
    assert "not-for-the-log" not in written


def with_markers(value: object, key: str = "") -> Any:
    """Return an event with a marker in every text that the function does not need."""
    if isinstance(value, dict):
        return {name: with_markers(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [with_markers(item) for item in value]
    needed = key in {"source", "EventID", "Date", "time"}
    return f"{value} not-for-the-log" if isinstance(value, str) and not needed else value


# --- The build ----------------------------------------------------------------------------------

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


def test_the_first_run_of_a_container_begins_to_collect_garbage(scenario: Scenario) -> None:
    gc.disable()
    try:
        app.handler(load_event("manual-dry-run"), context())

        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
    assert not scenario.changes


@pytest.mark.usefixtures("_environment", "_powertools")
def test_the_reconciler_is_built_once_per_container_from_the_environment() -> None:
    reconciler = build.reconciler()

    assert reconciler.policy.port == 6432
    assert reconciler.watch_seconds == 120
    assert build.reconciler() is reconciler


@pytest.mark.usefixtures("_environment", "_powertools")
def test_a_notification_names_the_stack_and_goes_to_the_topic(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"
    monkeypatch.setenv("ALARM_TOPIC_ARN", topic)
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "orders-privatelink")
    monkeypatch.setattr("time.time", lambda: 1795341603.25)
    people, bus = FakeTopic(), FakeBus()
    couriers = {topic: NotificationSender(topic=people, bus=bus)}
    monkeypatch.setattr(sender, "notification_sender", couriers.__getitem__)
    notifier = build.reconciler().notifier
    assert notifier is not None

    undelivered_notifications = notifier.notify(scenario.run(parse_trigger({})), changed_ago=2.25)

    assert undelivered_notifications == ()
    assert people.messages[0].subject.startswith("orders-privatelink: ")
    (event,) = bus.events
    assert event.resource == ENVIRONMENT["TARGET_GROUP_ARN"]
    assert event.detail["at"] == 1795341601.0


@pytest.mark.usefixtures("_environment")
def test_the_notification_sender_is_built_once_and_its_topic_is_optional() -> None:
    topic = "arn:aws:sns:eu-west-1:111122223333:alarms"

    assert isinstance(notification_sender(topic).topic, SnsTopic)
    assert notification_sender(topic) is notification_sender(topic)
    assert notification_sender("").topic is None


@pytest.mark.usefixtures("_environment", "_powertools")
def test_debug_logs_never_contain_credentials(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)  # as Lambda sets it
    group = build.reconciler().target_group

    with mock_aws(), pytest.raises(AwsNotFoundError):
        group.describe()

    botocore_records = [record for record in caplog.records if record.name.startswith("botocore")]
    assert all(record.levelno >= logging.INFO for record in botocore_records)


@pytest.mark.usefixtures("_environment")
def test_the_first_invocation_names_a_missing_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TARGET_GROUP_ARN")

    with pytest.raises(SettingsError, match="TARGET_GROUP_ARN"):
        app.handler({}, context())


def test_a_client_without_a_connection_fails_within_21_seconds() -> None:
    config = CLIENT_CONFIG

    attempts = config.retries["total_max_attempts"]  # type: ignore[attr-defined]
    worst = attempts * (config.connect_timeout + config.read_timeout)  # type: ignore[attr-defined]
    assert worst <= 21
    assert config.retries["mode"] == "standard"  # type: ignore[attr-defined]
