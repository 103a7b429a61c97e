"""Parsing the tags of target groups."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.fleet.bindings import read_listing
from target_sync.fleet.model import (
    ENDPOINT_TAG,
    KIND_TAG,
    POLICY_TAG,
    Binding,
    Finding,
    FindingCode,
    Limits,
    TaggedGroup,
)
from target_sync.model import TARGET_NETWORKS, AwsScope, DatabaseKind, IPNetwork
from tests.unit.fleet.builders import FACTS, LIMITS, POLICY, arn, binding, name

SCOPE = AwsScope("aws", "eu-west-1", "123456789012")
GOOD = TaggedGroup(arn(1), frozenset({(ENDPOINT_TAG, name(1))}))


def read(*groups: TaggedGroup) -> tuple[tuple[Binding, ...], tuple[Finding, ...]]:
    return read_listing(groups, SCOPE, LIMITS, dict.fromkeys((g.arn for g in groups), FACTS))


def tagged(*tags: tuple[str, str], endpoint: str = name(2), group: str = arn(2)) -> TaggedGroup:
    return TaggedGroup(group, frozenset({(ENDPOINT_TAG, endpoint), *tags}))


def only(*tags: tuple[str, str], endpoint: str = name(2)) -> Binding:
    (listed,), findings = read(tagged(*tags, endpoint=endpoint))
    assert findings == ()
    return listed


def test_binds_a_group_to_its_endpoint() -> None:
    assert read(GOOD) == ((binding(1),), ())


def test_ignores_a_group_without_an_endpoint() -> None:
    assert read(TaggedGroup(arn(1), frozenset({(KIND_TAG, "nonsense"), ("owner", "me")}))) == (
        (),
        (),
    )


def test_ignores_tags_of_others() -> None:
    assert only(("owner", "me"), ("other:privatelink-sync:kind", "x")) == binding(2)


def test_normalizes_the_name() -> None:
    assert only(endpoint=f" {name(2).upper()}. ") == binding(2)


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("o.cluster-abc.eu-west-1.rds.amazonaws.com", DatabaseKind.RDS_CLUSTER_WRITER),
        ("o.cluster-ro-abc.eu-west-1.rds.amazonaws.com", DatabaseKind.RDS_CLUSTER_READERS),
        ("o.proxy-abc.eu-west-1.rds.amazonaws.com", DatabaseKind.RDS_PROXY),
        ("db.corp.example.com", DatabaseKind.HOSTNAME),
    ],
)
def test_takes_the_kind_from_the_name(endpoint: str, kind: DatabaseKind) -> None:
    assert only(endpoint=endpoint).kind is kind


def test_takes_the_kind_from_the_tag() -> None:
    assert only((KIND_TAG, "hostname")).kind is DatabaseKind.HOSTNAME


def test_a_policy_tag_narrows_the_limits_of_the_fleet() -> None:
    policy = only((POLICY_TAG, "port=6432 max=2  networks=10.1.0.0/16+10.2.0.0/16")).policy
    assert policy == replace(
        POLICY,
        port=6432,
        max_targets=2,
        allowed_networks=(ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")),
    )


def test_uses_the_port_of_the_group_unless_a_tag_gives_another() -> None:
    facts = {arn(2): replace(FACTS, port=6000)}
    (own,), _ = read_listing([tagged()], SCOPE, LIMITS, facts)
    (other,), _ = read_listing([tagged((POLICY_TAG, "port=6432"))], SCOPE, LIMITS, facts)
    assert (own.policy.port, other.policy.port) == (6000, 6432)


@pytest.mark.parametrize(
    ("kind", "vpc_networks", "allowed"),
    [
        ("rds-instance", FACTS.vpc_networks, FACTS.vpc_networks),
        ("rds-instance", (), TARGET_NETWORKS),
        ("hostname", FACTS.vpc_networks, TARGET_NETWORKS),
    ],
)
def test_without_allowed_networks_the_default_depends_on_the_kind(
    kind: str, vpc_networks: tuple[IPNetwork, ...], allowed: tuple[IPNetwork, ...]
) -> None:
    facts = {arn(2): replace(FACTS, vpc_networks=vpc_networks)}
    (listed,), _ = read_listing([tagged((KIND_TAG, kind))], SCOPE, Limits(max_targets=3), facts)
    assert listed.policy.allowed_networks == allowed
    assert listed.policy.max_targets == 3


def test_reports_a_group_that_elb_does_not_know() -> None:
    listed, (finding,) = read_listing([tagged(), GOOD], SCOPE, LIMITS, {arn(1): FACTS})
    assert (finding.arn, finding.code) == (arn(2), FindingCode.NOT_FOUND)
    assert listed == read(GOOD)[0]


def test_reports_a_group_of_another_target_type() -> None:
    facts = {arn(1): FACTS, arn(2): replace(FACTS, has_ip_targets=False)}
    listed, (finding,) = read_listing([tagged(), GOOD], SCOPE, LIMITS, facts)
    assert (finding.arn, finding.code) == (arn(2), FindingCode.WRONG_TARGET_TYPE)
    assert listed == read(GOOD)[0]


def test_merges_a_group_that_is_listed_twice() -> None:
    assert read(GOOD, GOOD) == read(GOOD)


FAULTS = [
    (tagged((KIND_TAG, "static")), FindingCode.INVALID_TAG, "rds-instance, rds-cluster-writer"),
    (tagged((KIND_TAG, "RDS-Instance")), FindingCode.INVALID_TAG, KIND_TAG),
    (tagged((KIND_TAG, "rds-proxy")), FindingCode.INVALID_TAG, "is an RDS instance"),
    (tagged((ENDPOINT_TAG, name(3))), FindingCode.INVALID_TAG, name(3)),
    (
        tagged((KIND_TAG, "hostname"), (KIND_TAG, "rds-instance")),
        FindingCode.INVALID_TAG,
        "'hostname' and 'rds-instance'",
    ),
    (
        tagged((POLICY_TAG, "port=1"), (POLICY_TAG, "port=2")),
        FindingCode.INVALID_TAG,
        "port=1",
    ),
    (tagged(("privatelink-sync:knd", "x")), FindingCode.INVALID_TAG, "'privatelink-sync:knd'"),
    (tagged(("PrivateLink-Sync:kind", "x")), FindingCode.INVALID_TAG, "'PrivateLink-Sync:kind'"),
    (tagged(endpoint=""), FindingCode.INVALID_TAG, ENDPOINT_TAG),
    (tagged(endpoint="not a name"), FindingCode.INVALID_TAG, ENDPOINT_TAG),
    (tagged(endpoint="10.0.1.11"), FindingCode.INVALID_TAG, "which is addresses"),
    (tagged(endpoint="i-0123456789abcdef0"), FindingCode.INVALID_TAG, "an EC2 instance"),
    (
        tagged(endpoint="o.cluster-custom-abc.eu-west-1.rds.amazonaws.com"),
        FindingCode.INVALID_TAG,
        "custom endpoint",
    ),
    (
        tagged(endpoint="o.abc.eu-central-1.rds.amazonaws.com"),
        FindingCode.INVALID_TAG,
        "eu-central-1",
    ),
    (tagged(group="arn:aws:s3:::bucket"), FindingCode.NOT_A_TARGET_GROUP, "bucket"),
    (tagged(group=arn(2) + "\n"), FindingCode.NOT_A_TARGET_GROUP, "is not a target group"),
    (
        tagged(group=arn(2).replace("123456789012", "210987654321")),
        FindingCode.OTHER_ACCOUNT_OR_REGION,
        "account 123456789012",
    ),
    (
        tagged(group=arn(2).replace("eu-west-1", "eu-west-2")),
        FindingCode.OTHER_ACCOUNT_OR_REGION,
        "eu-west-1",
    ),
    (
        tagged(group=arn(2).replace("arn:aws:", "arn:aws-cn:")),
        FindingCode.OTHER_ACCOUNT_OR_REGION,
        "aws-cn",
    ),
    *(
        (tagged((POLICY_TAG, text)), FindingCode.INVALID_TAG, repr(bad))
        for text, bad in [
            ("port", ""),
            ("fast", "fast"),
            ("color=red", "color=red"),
            ("port=1 port=1", "port=1"),
            ("port=0", "0"),
            ("port=65536", "65536"),
            ("port=\u0665", "\u0665"),
            ("max=16", "16"),
            ("networks=", ""),
            ("networks=10.1.0.0/16+lan", "lan"),
            ("networks=11.0.0.0/8", "11.0.0.0/8"),
            ("networks=0.0.0.0/0", "0.0.0.0/0"),
            ("networks=fd00::/8", "fd00::/8"),
        ]
    ),
]


@pytest.mark.parametrize(("group", "code", "message"), FAULTS)
def test_reports_invalid_tags_as_a_finding_on_their_group(
    group: TaggedGroup, code: FindingCode, message: str
) -> None:
    listed, (finding,) = read(group, GOOD)
    assert (finding.arn, finding.code) == (group.arn, code)
    assert message in finding.detail
    assert "Database" not in finding.detail
    assert listed == read(GOOD)[0]


texts = st.text(max_size=40) | st.sampled_from(["port=1", name(2), "rds-instance", "10.0.0.0/8"])
keys = st.text(max_size=20) | st.sampled_from([ENDPOINT_TAG, KIND_TAG, POLICY_TAG])


@given(
    st.lists(st.builds(TaggedGroup, st.just(arn(2)) | texts, st.frozensets(st.tuples(keys, texts))))
)
def test_invalid_tags_affect_no_other_group(groups: list[TaggedGroup]) -> None:
    listed, findings = read(*groups, GOOD)
    assert binding(1) in listed
    arns = [it.arn for it in listed] + [finding.arn for finding in findings]
    assert len(arns) == len(set(arns))
    bound = {g.arn for g in groups if any(key == ENDPOINT_TAG for key, _ in g.tags)}
    assert set(arns) == bound | {arn(1)}
