"""The templates skip only known checks of checkov.

The requirements do not lock checkov, because it needs another boto3 than the lab. To run it:
``uvx checkov --framework cloudformation -f template.yaml``
"""

import re

import pytest

from tests.template.stack import load

EXCEPTIONS = {
    "AWS::EC2::VPCEndpointService": {"CKV_AWS_123"},
    "AWS::ElasticLoadBalancingV2::LoadBalancer": {"CKV_AWS_91"},
    "AWS::Logs::LogGroup": {"CKV_AWS_158"},
    "AWS::SNS::Topic": {"CKV_AWS_26"},
    "AWS::SQS::Queue": {"CKV_AWS_27"},
    "AWS::Serverless::Function": {"CKV_AWS_115", "CKV_AWS_116", "CKV_AWS_173"},
}
"""The checks of checkov that every resource of a type skips, by type."""


@pytest.mark.parametrize("logical_id", load()["Resources"])
def test_skips_only_the_known_security_checks_and_says_why(logical_id: str) -> None:
    resource = load()["Resources"][logical_id]
    skipped = resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    assert all(re.fullmatch(r"\w.{20,}", entry["comment"]) for entry in skipped)
    expected = EXCEPTIONS.get(resource["Type"], set())
    if (
        resource["Type"] == "AWS::Serverless::Function"
        and "VpcConfig" not in resource["Properties"]
    ):
        expected = expected | {"CKV_AWS_117"}
    assert {entry["id"] for entry in skipped} == expected
