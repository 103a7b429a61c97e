"""The type of database that the form of a DatabaseEndpoint shows."""

import pytest

from target_sync.endpoints.names import EndpointType, classify
from target_sync.errors import RejectedInputError
from target_sync.model import DatabaseKind
from tests.support.custom_resources import (
    CUSTOM,
    EC2_INSTANCE,
    INSTANCE,
    PROXY,
    PROXY_ENDPOINT,
    READERS,
    WRITER,
)

REGION = "eu-west-1"
CHINA = "orders.abc123.rds.cn-north-1.amazonaws.com.cn"
OLD_CHINA = "orders.abc123.cn-north-1.rds.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("text", "type_", "kind", "identifier"),
    [
        (INSTANCE, EndpointType.INSTANCE, DatabaseKind.RDS_INSTANCE, "orders"),
        (WRITER, EndpointType.CLUSTER_WRITER, DatabaseKind.RDS_CLUSTER_WRITER, "sales"),
        (READERS, EndpointType.CLUSTER_READERS, DatabaseKind.RDS_CLUSTER_READERS, "sales"),
        (CUSTOM, EndpointType.CLUSTER_CUSTOM, None, "reports"),
        (PROXY, EndpointType.PROXY, DatabaseKind.RDS_PROXY, "pool"),
        (PROXY_ENDPOINT, EndpointType.PROXY_ENDPOINT, DatabaseKind.RDS_PROXY, "pool-ro"),
        ("db.example.com", EndpointType.NAME, DatabaseKind.HOSTNAME, ""),
        ("10.0.1.11", EndpointType.ADDRESSES, DatabaseKind.STATIC, ""),
        (EC2_INSTANCE, EndpointType.EC2_INSTANCE, DatabaseKind.EC2_INSTANCE, EC2_INSTANCE),
        ("i-01234567", EndpointType.EC2_INSTANCE, DatabaseKind.EC2_INSTANCE, "i-01234567"),
        ("i-db.example.com", EndpointType.NAME, DatabaseKind.HOSTNAME, ""),
    ],
)
def test_the_form_shows_the_type_and_the_kind(
    text: str, type_: EndpointType, kind: DatabaseKind | None, identifier: str
) -> None:
    named = classify(text, None, REGION)

    assert (named.type, named.kind, named.identifier) == (type_, kind, identifier)
    assert named.endpoint == text


@pytest.mark.parametrize("name", [CHINA, OLD_CHINA])
def test_recognizes_both_forms_of_an_rds_name_in_china(name: str) -> None:
    named = classify(name, None, "cn-north-1")

    assert (named.type, named.identifier) == (EndpointType.INSTANCE, "orders")


def test_removes_the_final_dot_and_capital_letters() -> None:
    assert classify(f" {INSTANCE.upper()}. ", None, REGION).endpoint == INSTANCE


def test_sorts_addresses_and_removes_duplicates() -> None:
    named = classify("10.0.2.12, 10.0.1.11,10.0.2.12,", None, REGION)

    assert named.endpoint == "10.0.1.11,10.0.2.12"


def test_keeps_the_letter_case_of_an_auto_scaling_group() -> None:
    named = classify("My Group-1", DatabaseKind.EC2_ASG, REGION)

    assert (named.kind, named.endpoint, named.identifier) == (
        DatabaseKind.EC2_ASG,
        "My Group-1",
        "My Group-1",
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (WRITER, DatabaseKind.RDS_CLUSTER_READERS),
        (CUSTOM, DatabaseKind.RDS_CLUSTER_READERS),
        (INSTANCE, DatabaseKind.RDS_INSTANCE),
    ],
)
def test_accepts_a_kind_that_fits_the_name(text: str, kind: DatabaseKind) -> None:
    assert classify(text, kind, REGION).kind is kind


@pytest.mark.parametrize("text", [INSTANCE, CHINA, "x.global-abc.global.rds.amazonaws.com"])
def test_accepts_any_rds_name_as_a_plain_name(text: str) -> None:
    named = classify(text, DatabaseKind.HOSTNAME, REGION)

    assert (named.kind, named.endpoint, named.identifier) == (DatabaseKind.HOSTNAME, text, "")


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (CHINA, None, ["is in cn-north-1", "this stack is in eu-west-1", "deploy the stack in"]),
        (OLD_CHINA, None, ["is in cn-north-1", "this stack is in eu-west-1"]),
        (f"{INSTANCE}.corp.example", None, ["cannot be followed", "hostname"]),
        (EC2_INSTANCE.upper(), None, ["not a DNS name"]),
        (f"{EC2_INSTANCE}.", None, ["not a DNS name"]),
        ("x.global-abc.global.rds.amazonaws.com", None, ["cannot be followed", "hostname"]),
        ("x.endpoint.abc.eu-west-1.rds.amazonaws.com", None, ["cannot be followed"]),
        (INSTANCE, DatabaseKind.RDS_PROXY, ["DatabaseKind is rds-proxy", "auto, rds-instance"]),
        ("db.example.com", DatabaseKind.RDS_INSTANCE, ["outside RDS", "auto, hostname"]),
        ("postgres", None, ["not a DNS name", "DatabaseKind=ec2-asg"]),
        ("10.0.1.300", None, ["'10.0.1.300' in a list of addresses"]),
        ("10.0.1.11,db.example.com", None, ["'db.example.com' in a list", "IPv4 addresses only"]),
        ("fd00::1", None, ["IPv6 address fd00::1", "IPv4 address"]),
        ("arn:aws:autoscaling:x", DatabaseKind.EC2_ASG, ["not its ARN"]),
        ("a,b", DatabaseKind.EC2_ASG, ["one Auto Scaling group"]),
    ],
)
def test_rejects_an_invalid_endpoint_with_a_remedy(
    text: str, kind: DatabaseKind | None, words: list[str]
) -> None:
    with pytest.raises(RejectedInputError) as rejection:
        classify(text, kind, REGION)

    assert str(rejection.value).startswith(("DatabaseEndpoint", "DatabaseKind"))
    for word in words:
        assert word in str(rejection.value)
