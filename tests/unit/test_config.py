"""The settings of the sync function, and the errors of invalid variables."""

from ipaddress import ip_address, ip_network

import pytest

from target_sync.config import DnsResolution, Settings, StandbyTargets, load_settings
from target_sync.errors import SettingsError
from target_sync.model import DatabaseKind, SyncPolicy

ARN = "arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/orders/0123456789abcdef"
ENVIRONMENT = {
    "DATABASE_KIND": "rds-instance",
    "DATABASE_ENDPOINT": "orders.abc123.eu-west-1.rds.amazonaws.com",
    "DATABASE_PORT": "5432",
    "TARGET_GROUP_ARN": ARN,
    "ALLOWED_NETWORKS": "10.0.0.0/16, 192.168.0.0/24",
    "EVENT_WATCH_DURATION_SECONDS": "300",
}
SERVING_STANDBY = {
    "STANDBY_TARGETS": "serving",
    "VPC_ID": "vpc-0a1b2c3d",
    "DATABASE_SECURITY_GROUPS": "sg-0a1b2c3d, sg-1a2b3c4d",
}


def test_reads_a_complete_environment() -> None:
    assert load_settings({**ENVIRONMENT, "RESOLVERS": "10.0.0.2, 10.0.0.3:5353"}) == Settings(
        kind=DatabaseKind.RDS_INSTANCE,
        endpoint="orders.abc123.eu-west-1.rds.amazonaws.com",
        target_group_arn=ARN,
        policy=SyncPolicy(
            port=5432, allowed_networks=(ip_network("10.0.0.0/16"), ip_network("192.168.0.0/24"))
        ),
        resolvers=(("10.0.0.2", 53), ("10.0.0.3", 5353)),
        watch_seconds=300,
    )


def test_reads_the_group_of_the_outbound_rules() -> None:
    assert load_settings(ENVIRONMENT).outbound_rules_group == ""
    settings = load_settings({**ENVIRONMENT, "OUTBOUND_RULES_GROUP": " sg-0a1b2c3d "})
    assert settings.outbound_rules_group == "sg-0a1b2c3d"


def test_uses_the_resolvers_of_the_system_by_default() -> None:
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
def test_accepts_a_resolver_with_an_ipv6_address(text: str, resolver: tuple[str, int]) -> None:
    assert load_settings({**ENVIRONMENT, "RESOLVERS": text}).resolvers == (resolver,)


def test_removes_the_final_dot_and_capital_letters_of_the_endpoint() -> None:
    settings = load_settings({**ENVIRONMENT, "DATABASE_ENDPOINT": "DB.Example.com."})

    assert settings.endpoint == "db.example.com"


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
@pytest.mark.parametrize("value", [None, "", "  "])
def test_the_error_names_a_missing_variable(name: str, value: str | None) -> None:
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
        ("VPC_NETWORKS", "10.0.0.1/16"),
        ("DATABASE_KIND", "mysql"),
        ("DATABASE_KIND", "ec2-asg"),
        ("EVENT_WATCH_DURATION_SECONDS", "901"),
        ("EVENT_WATCH_DURATION_SECONDS", "soon"),
        ("EVENT_WATCH_DURATION_SECONDS", "0"),
        ("DNS_POLL_INTERVAL_SECONDS", "31"),
        ("DNS_POLL_INTERVAL_SECONDS", "-1"),
        ("MAX_TARGETS", "0"),
        ("MAX_TARGETS", "101"),
        ("DNS_RESOLUTION", "recursive"),
        ("STANDBY_TARGETS", "true"),
        ("FOLLOW_WRITER_WITHOUT_READERS", "yes"),
        ("OUTBOUND_RULES_GROUP", "orders"),
        ("OUTBOUND_RULES_GROUP", "sg-0a1b,sg-0a1c"),
    ],
)
def test_the_error_names_a_variable_with_an_invalid_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**ENVIRONMENT, name: value})


@pytest.mark.parametrize(
    ("kind", "given", "endpoint"),
    [
        ("rds-instance", "Orders.Example.com", "orders.example.com"),
        ("rds-proxy", "orders.proxy-abc123.eu-west-1.rds.amazonaws.com.", None),
        ("static", " 10.1.2.3, 10.1.2.4 ", "10.1.2.3,10.1.2.4"),
        ("ec2-instance", "i-0123456789abcdef0", "i-0123456789abcdef0"),
    ],
)
def test_reads_the_endpoint_of_each_kind(kind: str, given: str, endpoint: str | None) -> None:
    settings = load_settings({**ENVIRONMENT, "DATABASE_KIND": kind, "DATABASE_ENDPOINT": given})

    assert settings.kind == kind
    assert settings.endpoint == (endpoint or given.rstrip("."))


@pytest.mark.parametrize(
    ("kind", "endpoint", "seconds"),
    [
        ("rds-instance", "orders.example.com", 5),
        ("hostname", "orders.example.com", 5),
        ("static", "10.1.2.3", 0),
        ("ec2-instance", "i-0123456789abcdef0", 0),
    ],
)
def test_polls_dns_only_for_a_kind_that_uses_it(kind: str, endpoint: str, seconds: int) -> None:
    database = {"DATABASE_KIND": kind, "DATABASE_ENDPOINT": endpoint}
    settings = load_settings({**ENVIRONMENT, **database, "DNS_POLL_INTERVAL_SECONDS": "5"})

    assert settings.dns_poll_seconds == seconds


def test_removes_duplicate_addresses_of_a_static_endpoint() -> None:
    settings = load_settings(
        {**ENVIRONMENT, "DATABASE_KIND": "static", "DATABASE_ENDPOINT": "10.1.2.3,10.1.2.3"}
    )

    assert settings.addresses == {ip_address("10.1.2.3")}


@pytest.mark.parametrize("kind", ["rds-cluster-writer", "rds-cluster-readers"])
def test_reads_the_identifier_of_a_cluster(kind: str) -> None:
    environment = {**ENVIRONMENT, "DATABASE_KIND": kind, "DATABASE_IDENTIFIER": "Orders-1"}

    assert load_settings(environment).identifier == "orders-1"


def test_the_defaults_switch_everything_off_and_allow_15_targets() -> None:
    settings = load_settings(ENVIRONMENT)

    assert settings.resolution is DnsResolution.SYSTEM
    assert settings.dns_poll_seconds == 0
    assert not settings.follow_writer
    assert not settings.policy.serving_standby
    assert (settings.vpc_id, settings.security_groups) == ("", ())
    assert settings.policy.max_targets == 15


def test_reads_all_optional_settings() -> None:
    settings = load_settings(
        {
            **ENVIRONMENT,
            **SERVING_STANDBY,
            "DNS_RESOLUTION": "authoritative",
            "DNS_POLL_INTERVAL_SECONDS": "5",
            "MAX_TARGETS": "100",
            "FOLLOW_WRITER_WITHOUT_READERS": "true",
        }
    )

    assert settings.resolution is DnsResolution.AUTHORITATIVE
    assert settings.dns_poll_seconds == 5
    assert settings.follow_writer
    assert settings.policy.serving_standby
    assert settings.vpc_id == "vpc-0a1b2c3d"
    assert settings.security_groups == ("sg-0a1b2c3d", "sg-1a2b3c4d")
    assert settings.policy.max_targets == 100


@pytest.mark.parametrize("name", ["VPC_ID", "DATABASE_SECURITY_GROUPS"])
@pytest.mark.parametrize("value", ["", ",", "orders", "sg-0a1b2c3d,orders"])
def test_a_serving_standby_needs_the_vpc_and_the_security_groups(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**ENVIRONMENT, **SERVING_STANDBY, name: value})


@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [
        ("rds-cluster-writer", "orders.cluster-abc123.eu-west-1.rds.amazonaws.com"),
        ("rds-cluster-readers", "orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com"),
        ("rds-proxy", "orders.proxy-abc123.eu-west-1.rds.amazonaws.com"),
        ("hostname", "db.example.com"),
        ("static", "10.1.2.3"),
        ("ec2-instance", "i-0123456789abcdef0"),
    ],
)
def test_only_an_rds_instance_may_have_a_serving_standby(kind: str, endpoint: str) -> None:
    environment = {
        **ENVIRONMENT,
        "DATABASE_KIND": kind,
        "DATABASE_ENDPOINT": endpoint,
        "DATABASE_IDENTIFIER": "orders",
    }
    load_settings({**environment, "STANDBY_TARGETS": "none"})

    with pytest.raises(SettingsError, match=f"STANDBY_TARGETS may be serving .* not for {kind}"):
        load_settings({**environment, **SERVING_STANDBY})


WARM = {
    **SERVING_STANDBY,
    "STANDBY_TARGETS": "warm",
    "OUTBOUND_RULES_GROUP": "sg-2a3b4c5d",
    "DATABASE_SUBNETS": "subnet-0a1b2c3d, subnet-1a2b3c4d",
}


def test_warm_targets_of_an_instance_are_in_its_network() -> None:
    settings = load_settings({**ENVIRONMENT, **WARM})

    assert settings.standby_targets is StandbyTargets.WARM
    assert (settings.policy.warm_targets, settings.policy.serving_standby) == (5, False)
    assert settings.subnets == ("subnet-0a1b2c3d", "subnet-1a2b3c4d")
    assert load_settings({**ENVIRONMENT, **WARM, "DATABASE_SUBNETS": ""}).subnets == ()
    with pytest.raises(SettingsError, match="DATABASE_SECURITY_GROUPS is missing"):
        load_settings({**ENVIRONMENT, **WARM, "DATABASE_SECURITY_GROUPS": ""})
    with pytest.raises(SettingsError, match="DATABASE_SUBNETS"):
        load_settings({**ENVIRONMENT, **WARM, "DATABASE_SUBNETS": "subnet-0a1b2c3d,vpc-1"})


def test_warm_targets_of_an_unknown_network_are_its_former_addresses() -> None:
    settings = load_settings({**ENVIRONMENT, **WARM, "VPC_ID": ""})

    assert settings.policy.warm_targets == 5
    assert (settings.vpc_id, settings.subnets, settings.security_groups) == ("", (), ())


def test_no_target_is_warm_without_a_group_for_the_outbound_rules() -> None:
    settings = load_settings({**ENVIRONMENT, "STANDBY_TARGETS": "warm"})

    assert settings == load_settings({**ENVIRONMENT, "STANDBY_TARGETS": "none"})


@pytest.mark.parametrize(
    ("kind", "endpoint", "most"),
    [
        ("hostname", "db.example.com", 5),
        ("ec2-instance", "i-0123456789abcdef0", 5),
        ("static", "10.1.2.3", 0),
    ],
)
def test_only_given_addresses_have_no_warm_targets(kind: str, endpoint: str, most: int) -> None:
    database = {"DATABASE_KIND": kind, "DATABASE_ENDPOINT": endpoint}
    settings = load_settings({**ENVIRONMENT, **WARM, **database})

    assert settings.policy.warm_targets == most
    assert (settings.vpc_id, settings.security_groups, settings.subnets) == ("", (), ())


def test_rejects_resolvers_with_authoritative_look_ups() -> None:
    environment = {**ENVIRONMENT, "RESOLVERS": "10.0.0.2:53"}
    load_settings({**environment, "DNS_RESOLUTION": "system"})

    with pytest.raises(SettingsError, match="DNS_RESOLUTION is authoritative and RESOLVERS"):
        load_settings({**environment, "DNS_RESOLUTION": "authoritative"})


def test_ignores_the_identifier_of_other_kinds() -> None:
    environment = {**ENVIRONMENT, "DATABASE_KIND": "rds-instance", "DATABASE_IDENTIFIER": "orders"}

    assert load_settings(environment).identifier == ""


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("static", "DATABASE_ENDPOINT", "db.example.com"),
        ("static", "DATABASE_ENDPOINT", "10.1.2.3,2001:db8::1"),
        ("static", "DATABASE_ENDPOINT", ","),
        ("ec2-instance", "DATABASE_ENDPOINT", "db.example.com"),
        ("ec2-instance", "DATABASE_ENDPOINT", "i-xyz"),
        ("rds-instance", "DATABASE_ENDPOINT", "10.1.2.3"),
        ("rds-cluster-writer", "DATABASE_IDENTIFIER", ""),
        ("rds-cluster-readers", "DATABASE_IDENTIFIER", "orders_1"),
        ("rds-cluster-readers", "DATABASE_IDENTIFIER", "orders--1"),
    ],
)
def test_the_error_names_a_variable_that_is_invalid_for_the_kind(
    kind: str, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({**ENVIRONMENT, "DATABASE_KIND": kind, name: value})


def test_reads_the_networks_of_the_vpc() -> None:
    assert load_settings(ENVIRONMENT).vpc_networks == ()
    assert load_settings(
        {**ENVIRONMENT, "VPC_NETWORKS": "10.0.0.0/16,10.1.0.0/16"}
    ).vpc_networks == (ip_network("10.0.0.0/16"), ip_network("10.1.0.0/16"))
