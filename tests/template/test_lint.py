import os
import subprocess
from pathlib import Path

import pytest

from tests.template.stack import ROOT, TEMPLATE

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


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "ap-northeast-1"])
def test_cfn_lint_finds_nothing(region: str) -> None:
    output = run(BIN / "cfn-lint", "--include-checks", "I", "--regions", region, "--", TEMPLATE)
    assert output == ""


def test_sam_accepts_the_template() -> None:
    assert "is a valid SAM Template" in run(BIN / "sam", "validate", "--lint")
