"""Reading the environment of the fleet's functions."""

from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from target_sync.errors import SettingsError
from target_sync.fleet.checkpoints import SigningKey
from target_sync.fleet.model import Limits
from target_sync.fleet.settings import load_fleet_settings, queue_url

STACK_ID = (
    "arn:aws:cloudformation:eu-west-1:123456789012:stack/fleet/1c2fa620-982a-11e3-aff7-50e2416294e0"
)
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/fleet-work.fifo"


def test_needs_only_the_signing_key() -> None:
    settings = load_fleet_settings({"SIGNING_KEY": STACK_ID})
    assert settings.limits == Limits(allowed_networks=(), max_targets=15)
    assert settings.resolvers == ()
    assert (settings.share, settings.workers, settings.watch_seconds) == (0.5, 10, 120)


def test_reads_every_setting() -> None:
    settings = load_fleet_settings(
        {
            "SIGNING_KEY": STACK_ID,
            "ALLOWED_NETWORKS": "10.1.0.0/16, 10.2.0.0/16",
            "MAX_TARGETS": "3",
            "RESOLVERS": "10.0.0.2:5353",
            "API_SHARE": "0.9",
            "MAX_WORKERS": "4",
            "EVENT_WATCH_DURATION_SECONDS": "150",
        }
    )
    assert settings.limits == Limits(
        allowed_networks=(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")), max_targets=3
    )
    assert settings.resolvers == (("10.0.0.2", 5353),)
    assert (settings.share, settings.workers, settings.watch_seconds) == (0.9, 4, 150)


def test_makes_the_key_from_the_end_of_the_text() -> None:
    key = load_fleet_settings({"SIGNING_KEY": STACK_ID}).key
    assert len(STACK_ID) > 64
    assert key.verifies(SigningKey(STACK_ID[-64:].encode()).sign(["a part"]), ["a part"])


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "SIGNING_KEY is missing"),
        ({"SIGNING_KEY": "fifteen bytes!!"}, "SIGNING_KEY must have at least 16 bytes"),
        ({"SIGNING_KEY": STACK_ID, "ALLOWED_NETWORKS": "lan"}, "ALLOWED_NETWORKS"),
        ({"SIGNING_KEY": STACK_ID, "MAX_TARGETS": "0"}, "MAX_TARGETS"),
        ({"SIGNING_KEY": STACK_ID, "RESOLVERS": "dns"}, "RESOLVERS"),
        ({"SIGNING_KEY": STACK_ID, "MAX_WORKERS": "none"}, "MAX_WORKERS"),
        (
            {"SIGNING_KEY": STACK_ID, "EVENT_WATCH_DURATION_SECONDS": "151"},
            "EVENT_WATCH_DURATION_SECONDS",
        ),
        ({"SIGNING_KEY": STACK_ID, "API_SHARE": "half"}, "API_SHARE 'half'"),
        ({"SIGNING_KEY": STACK_ID, "API_SHARE": "nan"}, "API_SHARE 'nan'"),
        ({"SIGNING_KEY": STACK_ID, "MAX_WORKERS": "11"}, "MAX_WORKERS 11: .*reduce the workers"),
    ],
)
def test_names_a_missing_or_invalid_setting(environ: Mapping[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_fleet_settings(environ)


def test_no_error_shows_the_key() -> None:
    with pytest.raises(SettingsError) as raised:
        load_fleet_settings({"SIGNING_KEY": "hush"})
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("name", ["WORK_QUEUE_URL", "EVENT_QUEUE_URL"])
def test_rejects_an_invalid_queue_url(name: str) -> None:
    assert queue_url({name: URL}, name) == URL
    for invalid in ({}, {name: "fleet-work.fifo"}, {name: "arn:aws:sqs:eu-west-1:1:q"}):
        with pytest.raises(SettingsError, match=name):
            queue_url(invalid, name)
