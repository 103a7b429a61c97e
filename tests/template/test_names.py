"""The template's conditions and the look-up decide alike what a name is."""

from itertools import product

import pytest

from target_sync.endpoints.names import classify
from target_sync.errors import RejectedInputError
from target_sync.model import DatabaseKind
from tests.template.stack import Resolver

RDS_KINDS = frozenset(
    {
        DatabaseKind.RDS_INSTANCE,
        DatabaseKind.RDS_CLUSTER_WRITER,
        DatabaseKind.RDS_CLUSTER_READERS,
        DatabaseKind.RDS_PROXY,
    }
)
LABELS = {
    "{}.": DatabaseKind.RDS_INSTANCE,
    "{}.cluster-": DatabaseKind.RDS_CLUSTER_WRITER,
    "{}.cluster-ro-": DatabaseKind.RDS_CLUSTER_READERS,
    "{}.proxy-": DatabaseKind.RDS_PROXY,
    "{}.endpoint.proxy-": DatabaseKind.RDS_PROXY,
}
#: Identifiers that look like another part of a name.
IDENTIFIERS = ("orders", "i-orders", "cluster-1", "proxy-1", "rds", "amazonaws", "endpoint")
#: The Regions of each partition, and the ends of RDS names there.
ENDS = {
    "eu-west-1": ("eu-west-1.rds.amazonaws.com",),
    "us-gov-west-1": ("us-gov-west-1.rds.amazonaws.com", "rds.us-gov-west-1.amazonaws.com"),
    "cn-north-1": ("rds.cn-north-1.amazonaws.com.cn", "cn-north-1.rds.amazonaws.com.cn"),
    "cn-northwest-1": ("rds.cn-northwest-1.amazonaws.com.cn",),
    "eusc-de-east-1": ("eusc-de-east-1.rds.amazonaws.eu",),
}
RDS_NAMES = [
    (f"{label.format(identifier)}abc123.{end}", region, kind)
    for region, ends in ENDS.items()
    for end, (label, kind), identifier in product(ends, LABELS.items(), IDENTIFIERS)
]
OTHER_TEXTS = [
    "db.corp.example",
    "db.rds.example",
    "orders.abc123.rds.example.com",
    "orders.rds.example.amazonaws-tools.com",
    "rds.amazonaws.com",
    "x.rds.y.amazonaws.com.corp.example",
    "orders.abc123.eu-west-1.rds.amazonaws.com.",
    "orders.abc123.eu-west-1.rds.amazonaws.com.corp.example",
    "orders.abc123.eu-west-1.rds.amazonaws.com,10.0.1.11",
    "orders.cluster-custom-abc123.eu-west-1.rds.amazonaws.com",
    "orders.global-abc123.global.rds.amazonaws.com",
    "orders.shardgrp-abc123.eu-west-1.rds.amazonaws.com",
    "orders.cluster-abc123.eu-west-1.neptune.amazonaws.com",
    "cluster-x.cluster-y.corp.example",
    "i-db.example.com",
    "i-0123456789abcdef0.example.com",
    "i-0123456789abcdef0",
    "I-0123456789ABCDEF0",
    "i-0123456789abcdef0.",
    "i-orders",
    "10.0.1.11,10.0.2.12",
    "postgres",
]


def condition_of(kind: DatabaseKind) -> dict[str, bool]:
    return {
        "IsRds": kind in RDS_KINDS,
        "IsCluster": kind.is_cluster,
        "IsRdsInstance": kind is DatabaseKind.RDS_INSTANCE,
        "IsProxy": kind is DatabaseKind.RDS_PROXY,
        "IsInstance": kind is DatabaseKind.EC2_INSTANCE,
        "IsScalingGroup": kind is DatabaseKind.EC2_ASG,
    }


def in_template(text: str, kind: DatabaseKind | None) -> dict[str, bool]:
    resolver = Resolver({"DatabaseEndpoint": text, "DatabaseKind": kind or "auto"})
    return {name: resolver.condition(name) for name in condition_of(DatabaseKind.HOSTNAME)}


@pytest.mark.parametrize(("name", "region", "kind"), RDS_NAMES)
def test_both_recognize_an_rds_name_of_each_partition(
    name: str, region: str, kind: DatabaseKind
) -> None:
    assert classify(name, None, region).kind is kind
    assert in_template(name, None) == condition_of(kind)


@pytest.mark.parametrize("text", OTHER_TEXTS)
@pytest.mark.parametrize("kind", [None, *DatabaseKind])
@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1"])
def test_the_template_agrees_with_whatever_the_look_up_accepts(
    text: str, kind: DatabaseKind | None, region: str
) -> None:
    try:
        followed = classify(text, kind, region).kind
    except RejectedInputError:
        return
    if followed is not None:  # the look-up rejects a custom endpoint later
        assert in_template(text, kind) == condition_of(followed)
