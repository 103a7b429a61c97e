"""The environment and the triggers of ReviewConnectionsFunction."""

import pytest

from target_sync.connections.decisions import ConnectionPolicy
from target_sync.connections.settings import ConnectionSettings, load_settings
from target_sync.connections.triggers import parse_trigger
from target_sync.errors import SettingsError, TriggerError
from target_sync.triggers import Trigger, TriggerKind
from tests.support.events import load_event

TOPIC = "arn:aws:sns:eu-west-1:111122223333:alarms"
ENVIRONMENT = {
    "ENDPOINT_SERVICE_ID": "vpce-svc-0a1b2c3d4e5f60718",
    "TRUSTED_ACCOUNTS": "222222222222, 444444444444",
    "REJECT_UNTRUSTED": "true",
    "ALARM_TOPIC_ARN": TOPIC,
}


def test_reads_a_complete_environment() -> None:
    assert load_settings(ENVIRONMENT) == ConnectionSettings(
        service_id="vpce-svc-0a1b2c3d4e5f60718",
        policy=ConnectionPolicy(
            trusted_accounts=frozenset({"222222222222", "444444444444"}), reject_untrusted=True
        ),
        alarm_topic_arn=TOPIC,
    )


@pytest.mark.parametrize("empty", [{"TRUSTED_ACCOUNTS": "", "ALARM_TOPIC_ARN": ""}, {}])
def test_accounts_and_topic_are_optional(empty: dict[str, str]) -> None:
    names = ("ENDPOINT_SERVICE_ID", "REJECT_UNTRUSTED")
    present = {name: ENVIRONMENT[name] for name in names} | {"REJECT_UNTRUSTED": "false"}

    settings = load_settings(present | empty)

    assert settings.policy == ConnectionPolicy(trusted_accounts=frozenset())
    assert settings.alarm_topic_arn == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENDPOINT_SERVICE_ID", ""),
        ("ENDPOINT_SERVICE_ID", "vpce-0a1b2c3d4e5f60718"),
        ("ENDPOINT_SERVICE_ID", "vpce-svc-"),
        ("TRUSTED_ACCOUNTS", "*"),
        ("TRUSTED_ACCOUNTS", "2222"),
        ("TRUSTED_ACCOUNTS", "222222222222 444444444444"),
        ("TRUSTED_ACCOUNTS", "\u0662" * 12),  # digits, but not ASCII ones
        ("TRUSTED_ACCOUNTS", "arn:aws:iam::222222222222:root"),
        ("REJECT_UNTRUSTED", ""),
        ("REJECT_UNTRUSTED", "yes"),
        ("ALARM_TOPIC_ARN", "alarms"),
    ],
)
def test_rejects_an_invalid_value_and_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**ENVIRONMENT, name: value})


def test_refuses_to_reject_every_request() -> None:
    with pytest.raises(SettingsError, match="REJECT_UNTRUSTED is true and TRUSTED_ACCOUNTS"):
        load_settings({**ENVIRONMENT, "TRUSTED_ACCOUNTS": " , "})


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("connection-request", TriggerKind.NOTIFICATION),
        ("schedule", TriggerKind.SCHEDULE),
        ("manual-sync", TriggerKind.MANUAL),
    ],
)
def test_recognizes_each_trigger(event: str, kind: TriggerKind) -> None:
    assert parse_trigger(load_event(event)) == Trigger(kind=kind)


def test_a_manual_trigger_may_be_a_dry_run() -> None:
    assert parse_trigger(load_event("manual-dry-run")).dry_run


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ([], r"\[\]"),
        (None, "null"),
        ({"dry-run": True}, "dry-run"),
        ({"dry_run": "true"}, "dry_run"),
        ({"wait_for_healthy": True}, "wait_for_healthy"),
        ({"Records": []}, "Records"),
        ({"Records": {}}, "Records"),
        ({"Records": ["x"]}, "Records"),
        ({"Records": [{"EventSource": "aws:sqs"}]}, "Records"),
        ({"Records": [{"EventSource": "aws:s3"}]}, "Records"),
    ],
)
def test_rejects_any_other_payload_and_names_the_mistake(payload: object, named: str) -> None:
    with pytest.raises(TriggerError, match=named):
        parse_trigger(payload)
