"""docs/security.md names existing tests, and the stack has no other openings."""

import ast
import re

import pytest

from tests.template.pages import ROOT, read, sections
from tools.template_tables import of_type, service_grants

PAGE = read("docs/security.md")
ATTACKS = sections(sections(PAGE, 2).get("Attacks", ""), 3)
LINK = re.compile(r"^- \[(.+?)\]\(\.\./(tests/[\w/]+\.py)\)$", re.MULTILINE)


def test_resource_policies_allow_only_aws_services_from_one_source_each() -> None:
    grants = list(service_grants())
    assert len(grants) == len(set(grants))
    for service, _, _, source in grants:
        assert service.strip("`").endswith(".amazonaws.com")
        assert source.strip("`") not in ("", "*")


def test_no_function_has_a_url() -> None:
    assert of_type("AWS::Lambda::Function")
    assert not of_type("AWS::Lambda::Url")


def test_the_page_says_that_the_interface_endpoints_have_the_default_policy() -> None:
    endpoints = of_type("AWS::EC2::VPCEndpoint")
    assert endpoints
    assert not [it for it in endpoints.values() if "PolicyDocument" in it["Properties"]]
    assert "have AWS's default policy" in " ".join(PAGE.split())


def test_the_page_describes_attacks() -> None:
    assert ATTACKS


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_names_existing_tests(attack: str) -> None:
    text = ATTACKS[attack]
    named = LINK.findall(text)
    assert named
    assert len(named) == len(re.findall(r"^- ", text, re.MULTILINE))
    for behaviour, path in named:
        tree = ast.parse((ROOT / path).read_text())
        tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert f"test_{behaviour.replace(' ', '_')}" in tests, f"{behaviour} is not in {path}"


@pytest.mark.parametrize("lock", ["requirements/dev.txt", "layers/target_sync/requirements.txt"])
def test_every_requirement_is_pinned_by_version_and_hash(lock: str) -> None:
    lines = read(lock).replace("\\\n", " ").splitlines()
    requirements = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert requirements
    for requirement in requirements:
        assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", requirement), requirement


@pytest.mark.parametrize(
    "script", ["tools/bootstrap.sh", "layers/target_sync/install-requirements.sh"]
)
def test_nothing_is_installed_from_a_lock_without_its_hash(script: str) -> None:
    text = read(script).replace("\\\n", " ")
    installs = [line for line in text.splitlines() if "install " in line and " -r " in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
