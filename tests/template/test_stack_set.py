"""Expanding fleet.yaml for a stack set, which supports no transform."""

import json
import sys
from pathlib import Path

import pytest

from tests.template.pages import ROOT
from tests.template.stack import expand
from tools import expand_template

#: The size of a TemplateBody (CloudFormation API reference, CreateStackSet).
MOST_BYTES = 51_200


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return fleet.yaml as `sam package` writes it, expanded."""
    packaged, plain = tmp_path / "packaged.yaml", tmp_path / "stackset.json"
    text = (ROOT / "fleet.yaml").read_text()
    lines = (
        f"{line.partition('Uri:')[0]}Uri: s3://bucket/key" if "Uri: " in line else line
        for line in text.splitlines()
    )
    packaged.write_text("\n".join(lines))
    monkeypatch.setattr(sys, "argv", ["expand_template", str(packaged), str(plain)])
    expand_template.main()
    return plain


def test_expands_the_fleet_into_a_template_for_a_stack_set(plain: Path) -> None:
    template = json.loads(plain.read_text())
    assert "Transform" not in template
    assert template["Resources"].keys() == expand(ROOT / "fleet.yaml")["Resources"].keys()
    types = {resource["Type"] for resource in template["Resources"].values()}
    assert not [kind for kind in types if kind.startswith("AWS::Serverless::")]
    assert template["Parameters"].keys() >= {"PermissionsBoundaryArn", "ApiShare"}
    assert plain.stat().st_size < MOST_BYTES
    # The result contains no Region of the expansion.
    assert "us-east-1" not in plain.read_text()


def test_prints_its_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["expand_template"])
    with pytest.raises(SystemExit, match="usage: "):
        expand_template.main()
