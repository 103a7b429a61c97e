"""docs/drill.md lists every moment, permission and kind of database of a drill."""

import re
import subprocess

import pytest

from drill.decisions import REQUIRED_RESOURCES
from target_sync.model import DatabaseKind
from tests.template.pages import ROOT, blocks, read, sections, tables
from tests.template.stack import load

PAGE = read("docs/drill.md")
SECTIONS = sections(PAGE, 2)


def first_cells(section: str) -> list[str]:
    return [row[0] for table in tables(SECTIONS[section]) for row in table]


def test_the_policy_on_the_page_is_the_one_in_the_repository() -> None:
    (shown,) = blocks(PAGE, "json")
    assert shown == read("drill/policy.json")


def test_the_policy_names_resources_as_cloudformation_does() -> None:
    """CloudFormation derives missing names from the stack's name and the logical ID."""
    resources = load()["Resources"]
    named = set(re.findall(r"STACK-(\w+)-\*", read("drill/policy.json")))
    assert (
        named == {"ReportStatusFunction", "ReconcileTargetsLogGroup"} <= REQUIRED_RESOURCES.keys()
    )
    for name in named:
        assert not {"FunctionName", "LogGroupName"} & resources[name].get("Properties", {}).keys()


def test_the_page_lists_every_kind_of_database() -> None:
    listed = {
        kind for cell in first_cells("What it changes") for kind in re.findall(r"`(.+?)`", cell)
    }
    assert listed == set(DatabaseKind)


def test_the_page_lists_every_moment() -> None:
    code = read("drill/failover.py")
    names = set(re.findall(r'name="([^"]+)"', code)) | {"failover requested", "failover observed"}
    names |= {"RDS event", "old target gone", "old target unhealthy"}
    listed = {
        name for cell in first_cells("What it shows") for name in re.findall(r"`(.+?)`", cell)
    }
    # It replaces the first new connection where the drill cannot connect.
    assert listed == names - {"first minute of new flows"}


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        (["STACK=orders", "REGION=eu-west-1"], '--stack "orders" --region "eu-west-1"'),
        (["STACK=orders", "DRILL_OPTIONS=--observe"], '--stack "orders"  --observe'),
        ([], '--stack ""'),
    ],
)
def test_make_drill_runs_what_the_lab_runs(variables: list[str], arguments: str) -> None:
    printed = subprocess.run(
        ["make", "--dry-run", "drill", *variables],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"-m drill {arguments}" in printed
    assert '"-m", "drill", "--stack"' in read("lab/drill_process.py")
