"""Parsing the tags of target groups."""

from collections.abc import Mapping
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
    GroupFacts,
    Limits,
    Tags,
)
from target_sync.model import TARGET_NETWORKS, DatabaseKind, IPNetwork
from tests.unit.fleet.builders import FACTS, LIMITS, POLICY, arn, binding, name

REGION = "eu-west-1"
GOOD = (arn(1), {ENDPOINT_TAG: name(1)})


def read(
    *groups: tuple[str, Tags],
    limits: Limits = LIMITS,
    facts: Mapping[str, GroupFacts] | None = None,
) -> tuple[tuple[Binding, ...], tuple[Finding, ...]]:
    """Read a listing; by default ELB knows all of its groups."""
    found = dict(groups)
    known = dict.fromkeys(found, FACTS) if facts is None else facts
    return read_listing(found, REGION, limits, known)


def tagged(*tags: tuple[str, str], endpoint: str = name(2)) -> tuple[str, Tags]:
    return arn(2), {ENDPOINT_TAG: endpoint, **dict(tags)}


def only(*tags: tuple[str, str], endpoint: str = name(2)) -> Binding:
    (listed,), findings = read(tagged(*tags, endpoint=endpoint))
    assert findings == ()
    return listed


def test_binds_a_group_to_its_endpoint() -> None:
    assert read(GOOD) == ((binding(1),), ())


def test_ignores_a_group_without_an_endpoint() -> None:
    assert read((arn(1), {KIND_TAG: "nonsense", "owner": "me"})) == ((), ())


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
        ("o.cluster-abc.rds.eu-west-1.amazonaws.com", DatabaseKind.RDS_CLUSTER_WRITER),
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
    (own,), _ = read(tagged(), facts=facts)
    (other,), _ = read(tagged((POLICY_TAG, "port=6432")), facts=facts)
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
    (listed,), _ = read(tagged((KIND_TAG, kind)), limits=Limits(max_targets=3), facts=facts)
    assert listed.policy.allowed_networks == allowed
    assert listed.policy.max_targets == 3


def test_reports_a_group_that_elb_does_not_know() -> None:
    listed, (finding,) = read(tagged(), GOOD, facts={arn(1): FACTS})
    assert (finding.arn, finding.code) == (arn(2), FindingCode.NOT_FOUND)
    assert listed == read(GOOD)[0]


def test_reports_a_group_of_another_target_type() -> None:
    facts = {arn(1): FACTS, arn(2): replace(FACTS, has_ip_targets=False)}
    listed, (finding,) = read(tagged(), GOOD, facts=facts)
    assert (finding.arn, finding.code) == (arn(2), FindingCode.WRONG_TARGET_TYPE)
    assert listed == read(GOOD)[0]


FAULTS = [
    (tagged((KIND_TAG, "static")), "rds-instance, rds-cluster-writer"),
    (tagged((KIND_TAG, "RDS-Instance")), KIND_TAG),
    (tagged((KIND_TAG, "rds-proxy")), "is an RDS instance"),
    (tagged(("privatelink-sync:knd", "x")), "'privatelink-sync:knd'"),
    (tagged(("PrivateLink-Sync:kind", "x")), "'PrivateLink-Sync:kind'"),
    (tagged(endpoint=""), ENDPOINT_TAG),
    (tagged(endpoint="not a name"), ENDPOINT_TAG),
    (tagged(endpoint="10.0.1.11"), "which is addresses"),
    (tagged(endpoint="i-0123456789abcdef0"), "an EC2 instance"),
    (
        tagged(endpoint="o.cluster-custom-abc.eu-west-1.rds.amazonaws.com"),
        "custom endpoint",
    ),
    (
        tagged(
            (KIND_TAG, "rds-cluster-readers"),
            endpoint="o.cluster-custom-abc.eu-west-1.rds.amazonaws.com",
        ),
        "custom endpoint",
    ),
    (
        tagged(endpoint="o.abc.eu-central-1.rds.amazonaws.com"),
        "eu-central-1",
    ),
    *(
        (tagged((POLICY_TAG, text)), message)
        for text, message in [
            ("port", "'port'"),
            ("fast", "'fast'"),
            ("color=red", "'color=red'"),
            ("port=1 port=1", "'port=1'"),
            ("port=0", "port must be a whole number from 1 to 65535, not '0'"),
            ("port=65536", "'65536'"),
            ("port=\u0665", "'\u0665'"),
            ("max=16", "max must be a whole number from 1 to 15, not '16'"),
            ("networks=", "'networks='"),
            ("networks=+", "'networks=+'"),
            ("networks=10.1.0.0/16+lan", "'lan'"),
            ("networks=11.0.0.0/8", "11.0.0.0/8 is outside the fleet's allowed networks"),
            ("networks=10.1.0.0/16+0.0.0.0/0", "0.0.0.0/0 is outside"),
            ("networks=fd00::/8", "fd00::/8 is outside"),
        ]
    ),
]


@pytest.mark.parametrize(("group", "message"), FAULTS)
def test_reports_invalid_tags_as_a_finding_on_their_group(
    group: tuple[str, Tags], message: str
) -> None:
    listed, (finding,) = read(group, GOOD)
    assert (finding.arn, finding.code) == (arn(2), FindingCode.INVALID_TAG)
    assert message in finding.detail
    assert "Database" not in finding.detail
    assert listed == read(GOOD)[0]


texts = st.text(max_size=40) | st.sampled_from(["port=1", name(2), "rds-instance", "10.0.0.0/8"])
keys = st.text(max_size=20) | st.sampled_from([ENDPOINT_TAG, KIND_TAG, POLICY_TAG])


@given(
    st.dictionaries(st.just(arn(2)) | texts, st.dictionaries(keys, texts)),
    st.dictionaries(st.just(ENDPOINT_TAG), texts),
)
def test_invalid_tags_affect_no_other_group(groups: dict[str, Tags], endpoint: Tags) -> None:
    found = {arn: {**tags, **endpoint} for arn, tags in groups.items()}
    listed, findings = read(*found.items(), GOOD)
    assert binding(1) in listed
    arns = [it.arn for it in listed] + [finding.arn for finding in findings]
    assert sorted(arns) == sorted(
        {arn for arn, tags in found.items() if ENDPOINT_TAG in tags} | {arn(1)}
    )
