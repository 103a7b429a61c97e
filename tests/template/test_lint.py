import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.template.stack import ROOT, TEMPLATE, load

BIN = ROOT / ".venv" / "bin"


def run(*command: str | Path) -> str:
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-west-1", "SAM_CLI_TELEMETRY": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_cfn_lint_finds_nothing_in_any_of_some_regions() -> None:
    regions = ("us-east-1", "eu-west-1", "ap-northeast-1")
    output = run(BIN / "cfn-lint", "--include-checks", "I", "--regions", *regions, "--", TEMPLATE)
    assert output == ""


def test_sam_accepts_the_template() -> None:
    assert "is a valid SAM Template" in run(BIN / "sam", "validate", "--lint")


#: Findings of checkov that hold for every resource of a type, whoever adds one. checkov itself is
#: not locked, because it wants another boto3 than the lab; by hand:
#: ``uvx checkov --framework cloudformation -f template.yaml``
EXCEPTIONS = {
    "AWS::EC2::VPCEndpointService": {"CKV_AWS_123"},
    "AWS::ElasticLoadBalancingV2::LoadBalancer": {"CKV_AWS_91"},
    "AWS::Logs::LogGroup": {"CKV_AWS_158"},
    "AWS::SNS::Topic": {"CKV_AWS_26"},
    "AWS::SQS::Queue": {"CKV_AWS_27"},
    "AWS::Serverless::Function": {"CKV_AWS_115", "CKV_AWS_116", "CKV_AWS_173"},
}


@pytest.mark.parametrize("logical_id", load()["Resources"])
def test_every_exception_from_a_security_check_is_known_and_says_why(logical_id: str) -> None:
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
