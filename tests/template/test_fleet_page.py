"""docs/fleet.md agrees with the tags, the metrics and the quotas."""

import re
from inspect import getsource

from target_sync.fleet.model import AUDIT_CURSOR_TAG, CHECKPOINT_TAG, FLEET_KINDS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, QUOTAS, Call
from target_sync.fleet.result import SweepResult
from tests.template.pages import ROOT, read, sections, tables
from tests.template.stack import load

PAGE = read("docs/fleet.md")
SECTIONS = sections(PAGE, 2)
TEMPLATE = load(ROOT / "fleet.yaml")
ALARMS = "Alarms and metrics"


def rows(section: str, number: int = 0) -> list[list[str]]:
    """Return the rows of a table in a section."""
    return tables(SECTIONS[section])[number]


def test_the_page_has_the_tags_of_the_fleet_itself_and_its_kinds() -> None:
    for own in (CHECKPOINT_TAG, AUDIT_CURSOR_TAG):
        assert f"`{own}`" in SECTIONS["Tag a target group"]
    for kind in FLEET_KINDS:
        assert f"`{kind}`" in rows("Tag a target group")[1][1]


def test_the_page_has_every_metric_of_a_sweep() -> None:
    written = set(re.findall(r'"((?:Groups|Sweep)[A-Z]\w+)": ', getsource(SweepResult)))
    assert {row[0].strip("`") for row in rows(ALARMS, 1)} == written


def test_the_page_has_the_quotas_that_the_fleet_divides() -> None:
    listed = {row[0]: row[1] for row in rows("Limits")}
    for name, quota in (
        ("ELB: non-mutating calls, whole account", QUOTAS[Call.DESCRIBE]),
        ("ELB: non-mutating calls, whole account", ACCOUNT_QUOTA),
        ("ELB: registration calls", QUOTAS[Call.REGISTRATION]),
        ("ELB: mutating calls", QUOTAS[Call.MUTATING]),
    ):
        assert listed[name] == f"{quota.capacity:g}, and {quota.refill:g} a second"


def test_the_page_has_the_concurrency_that_a_quota_has_to_allow() -> None:
    workers = int(TEMPLATE["Parameters"]["MaxWorkers"]["Default"])
    watch = TEMPLATE["Resources"]["FleetWatchFunction"]["Properties"]["Events"]
    watches = watch["DatabaseEvents"]["Properties"]["ScalingConfig"]["MaximumConcurrency"]
    assert f"{1 + workers + watches} are not free" in SECTIONS["Limits"]
