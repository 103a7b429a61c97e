"""docs/drill.md tells every option, moment, permission and exit status of a drill."""

import re
import subprocess
import sys

import pytest

from drill.course import Exit
from drill.decisions import OURS
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
    """CloudFormation puts the stack's name and the logical ID in front of what has no name."""
    resources = load()["Resources"]
    named = set(re.findall(r"STACK-(\w+)-\*", read("drill/policy.json")))
    assert named == {"ReportStatusFunction", "ReconcileTargetsLogGroup"} <= OURS.keys()
    for name in named:
        assert not {"FunctionName", "LogGroupName"} & resources[name].get("Properties", {}).keys()


def test_every_kind_of_database_is_told() -> None:
    told = {
        kind for cell in first_cells("What it touches") for kind in re.findall(r"`(.+?)`", cell)
    }
    assert told == set(DatabaseKind)


def test_every_exit_status_is_told() -> None:
    assert {int(cell) for cell in first_cells("Aborting")} == set(Exit)


def test_every_option_is_told() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "drill", "--help"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'layers/target_sync'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    there = set(re.findall(r"^  (--[a-z]+)", shown, re.MULTILINE))
    told = {option for cell in first_cells("Options") for option in re.findall(r"--[a-z]+", cell)}
    # Those two are variables of the Makefile.
    assert told == there - {"--stack", "--region"}


def test_every_moment_is_told() -> None:
    code = read("drill/story.py")
    names = set(re.findall(r'name="([^"]+)"', code)) | {"failover asked for", "failover seen"}
    names |= {"RDS event", "old target gone"}
    told = {name for cell in first_cells("What it shows") for name in re.findall(r"`(.+?)`", cell)}
    # These two stand for others where those cannot be seen.
    assert told == names - {"first minute of new flows"}


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
    assert '"-m", "drill", "--stack"' in read("lab/drilling.py")
