"""The rules reject parameters that contradict each other, in one sentence."""

from collections.abc import Mapping

import pytest

from target_sync.model import DatabaseKind
from tests.template.stack import NETWORK, PSEUDO_PARAMETERS, SITUATIONS, Resolver, load

PRINCIPAL = "arn:aws:iam::111122223333:root"
GROUP = SITUATIONS["existing target group"]["ExistingTargetGroupArn"]
BALANCER = "EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"


@pytest.mark.parametrize(
    "given",
    [
        *SITUATIONS.values(),
        {"AcceptanceRequired": "true", "AllowedPrincipals": "*"},
        {"Consumer": "custom", "AllowedPrincipals": PRINCIPAL},
        {"Consumer": "custom", "ExistingTargetGroupArn": GROUP},
        {"Consumer": "databricks"},
        {"SupportedRegions": "us-east-1"},
        {"IdleTimeoutSeconds": "600"},
        {"DatabaseKind": "ec2-instance", "ManageDatabaseIngress": "true", **NETWORK},
        {"DatabaseKind": "rds-instance", "StandbyTargets": "serving"},
        {"StandbyTargets": "serving", "ExistingTargetGroupArn": GROUP},
        {"StandbyTargets": "warm", "ExistingTargetGroupArn": GROUP},
        *({"DatabaseKind": kind, "StandbyTargets": "warm", **NETWORK} for kind in DatabaseKind),
        {"DnsResolution": "authoritative"},
        {"Resolvers": "10.0.0.2:53"},
    ],
)
def test_accepts_parameters_without_contradiction(given: Mapping[str, str]) -> None:
    assert not Resolver(given).violations()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"AllowedPrincipals": "*"}, ["AllowedPrincipals", "AcceptanceRequired"]),
        ({"Consumer": "custom"}, ["Consumer", "AllowedPrincipals"]),
        ({"RejectUntrusted": "true"}, ["RejectUntrusted", "AcceptanceRequired"]),
        (
            {
                "RejectUntrusted": "true",
                "AcceptanceRequired": "true",
                "Consumer": "custom",
                "AllowedPrincipals": PRINCIPAL,
            },
            ["RejectUntrusted", "TrustedAccounts"],
        ),
        ({"Consumer": "databricks", BALANCER: "on"}, [BALANCER]),
        ({"Consumer": "clickhouse", BALANCER: "on"}, [BALANCER]),
        (
            {"SupportedRegions": "us-east-1", "IdleTimeoutSeconds": "600"},
            ["SupportedRegions", "IdleTimeoutSeconds"],
        ),
        ({"DatabaseKind": "hostname", "SubnetIds": NETWORK["SubnetIds"]}, ["VpcId"]),
        ({"DatabaseKind": "static", "VpcId": NETWORK["VpcId"]}, ["SubnetIds"]),
        ({"DatabaseKind": "ec2-asg", "VpcId": NETWORK["VpcId"]}, ["SubnetIds"]),
        ({"DatabaseKind": "ec2-instance"}, ["SubnetIds"]),
        (
            {"DatabaseKind": "ec2-asg", "ExistingTargetGroupArn": GROUP, **NETWORK},
            ["DatabaseKind", "ExistingTargetGroupArn"],
        ),
        (
            {"DatabaseKind": "hostname", "ManageDatabaseIngress": "true", **NETWORK},
            ["ManageDatabaseIngress"],
        ),
        (
            {"ExistingTargetGroupArn": GROUP, "ManageDatabaseIngress": "true"},
            ["ManageDatabaseIngress", "ExistingTargetGroupArn"],
        ),
        ({"CreateInterfaceEndpoints": "true"}, ["CreateInterfaceEndpoints", "FunctionSubnetIds"]),
        (
            {"DnsResolution": "authoritative", "Resolvers": "10.0.0.2:53"},
            ["DnsResolution", "leave Resolvers empty"],
        ),
        *(
            (
                {"DatabaseKind": kind, "StandbyTargets": "serving", **NETWORK},
                ["StandbyTargets", "none"],
            )
            for kind in DatabaseKind
            if kind is not DatabaseKind.RDS_INSTANCE
        ),
    ],
)
def test_rejects_parameters_that_contradict_each_other_in_one_sentence(
    given: Mapping[str, str], named: list[str]
) -> None:
    (sentence,) = Resolver(given).violations()
    assert all(name in sentence for name in named)


def test_another_partition_requires_principals() -> None:
    pseudo = {**PSEUDO_PARAMETERS, "AWS::Partition": "aws-us-gov"}
    (sentence,) = Resolver(pseudo=pseudo).violations()
    assert "AllowedPrincipals" in sentence
    given = {"AllowedPrincipals": "arn:aws-us-gov:iam::111122223333:root"}
    assert not Resolver(given, pseudo=pseudo).violations()


def test_rejects_interface_endpoints_in_china() -> None:
    pseudo = {**PSEUDO_PARAMETERS, "AWS::Partition": "aws-cn"}
    given = {
        "AllowedPrincipals": "arn:aws-cn:iam::111122223333:root",
        "FunctionSubnetIds": "subnet-0a1b2c3d4e5f60718",
        "CreateInterfaceEndpoints": "true",
    }
    (sentence,) = Resolver(given, pseudo=pseudo).violations()
    assert "CreateInterfaceEndpoints" in sentence


def test_a_rule_names_a_parameter_that_exists() -> None:
    parameters = load()["Parameters"]
    for rule in load()["Rules"].values():
        for assertion in rule["Assertions"]:
            assert any(name in assertion["AssertDescription"] for name in parameters)
