"""Reading the environment of the fleet's function."""

from ipaddress import ip_network

import pytest

from target_sync.errors import SettingsError
from target_sync.fleet.model import Limits
from target_sync.fleet.settings import load_fleet_settings


def test_needs_no_setting() -> None:
    settings = load_fleet_settings({})
    assert settings.limits == Limits(allowed_networks=(), max_targets=15)
    assert (settings.resolvers, settings.share) == ((), 0.5)


def test_reads_every_setting() -> None:
    settings = load_fleet_settings(
        {
            "ALLOWED_NETWORKS": "10.1.0.0/16, 10.2.0.0/16",
            "MAX_TARGETS": "3",
            "RESOLVERS": "10.0.0.2:5353",
            "API_SHARE": "0.9",
        }
    )
    assert settings.limits == Limits(
        allowed_networks=(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")), max_targets=3
    )
    assert (settings.resolvers, settings.share) == ((("10.0.0.2", 5353),), 0.9)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_NETWORKS", "lan"),
        ("MAX_TARGETS", "0"),
        ("RESOLVERS", "dns"),
        ("API_SHARE", "half"),
        ("API_SHARE", "nan"),
        ("API_SHARE", "0"),
        ("API_SHARE", "1.1"),
    ],
)
def test_names_an_invalid_setting(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}.*{value}"):
        load_fleet_settings({name: value})
