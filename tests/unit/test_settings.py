"""The environment, read once; every mistake is named."""

from ipaddress import ip_network

import pytest

from target_sync.core.model import SyncPolicy
from target_sync.errors import SettingsError
from target_sync.settings import Settings, load_settings

ARN = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/orders/0123456789abcdef"
ENVIRONMENT = {
    "DATABASE_ENDPOINT": "orders.abc123.eu-west-1.rds.amazonaws.com",
    "DATABASE_PORT": "5432",
    "TARGET_GROUP_ARN": ARN,
    "ALLOWED_NETWORKS": "10.0.0.0/16, 192.168.0.0/24",
    "WATCH_SECONDS": "300",
}


def test_a_complete_environment_becomes_settings() -> None:
    assert load_settings({**ENVIRONMENT, "RESOLVERS": "10.0.0.2, 10.0.0.3:5353"}) == Settings(
        endpoint="orders.abc123.eu-west-1.rds.amazonaws.com",
        target_group_arn=ARN,
        policy=SyncPolicy(
            port=5432,
            allowed_networks=(ip_network("10.0.0.0/16"), ip_network("192.168.0.0/24")),
        ),
        resolvers=(("10.0.0.2", 53), ("10.0.0.3", 5353)),
        watch_seconds=300,
    )


def test_without_resolvers_the_systems_are_used() -> None:
    assert load_settings(ENVIRONMENT).resolvers == ()
    assert load_settings({**ENVIRONMENT, "RESOLVERS": ""}).resolvers == ()


@pytest.mark.parametrize(
    ("text", "resolver"),
    [
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("2001:db8::1", ("2001:db8::1", 53)),
    ],
)
def test_a_resolver_may_have_an_ipv6_address(text: str, resolver: tuple[str, int]) -> None:
    assert load_settings({**ENVIRONMENT, "RESOLVERS": text}).resolvers == (resolver,)


def test_the_endpoint_is_taken_without_its_final_dot_and_in_lower_case() -> None:
    settings = load_settings({**ENVIRONMENT, "DATABASE_ENDPOINT": "DB.Example.com."})

    assert settings.endpoint == "db.example.com"


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named(name: str, value: str | None) -> None:
    environment = {key: text for key, text in ENVIRONMENT.items() if key != name}
    if value is not None:
        environment[name] = value

    with pytest.raises(SettingsError, match=name):
        load_settings(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_ENDPOINT", "10.0.1.11"),
        ("DATABASE_ENDPOINT", "localhost"),
        ("DATABASE_ENDPOINT", "db.example.com:5432"),
        ("DATABASE_ENDPOINT", "postgres://db.example.com/app"),
        ("DATABASE_ENDPOINT", "-db.example.com"),
        ("DATABASE_ENDPOINT", "db..example.com"),
        ("DATABASE_ENDPOINT", "a." * 127 + "com"),
        ("DATABASE_PORT", "0"),
        ("DATABASE_PORT", "65536"),
        ("DATABASE_PORT", "5432.0"),
        ("DATABASE_PORT", "-1"),
        ("DATABASE_PORT", "\u0665"),  # a digit, but not an ASCII one
        ("TARGET_GROUP_ARN", "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/net/x/y"),
        ("TARGET_GROUP_ARN", "orders"),
        ("ALLOWED_NETWORKS", "10.0.0.1/16"),
        ("ALLOWED_NETWORKS", "everywhere"),
        ("RESOLVERS", "dns.example.com"),
        ("RESOLVERS", "10.0.0.2:0"),
        ("RESOLVERS", "10.0.0.2:65536"),
        ("RESOLVERS", "10.0.0.256"),
        ("RESOLVERS", "[10.0.0.2"),
        ("WATCH_SECONDS", "901"),
        ("WATCH_SECONDS", "soon"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variables_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**ENVIRONMENT, name: value})
