"""docs/fleet.md agrees with the tags, the metrics and the quotas."""

import re
from inspect import getsource

import yaml

from target_sync.fleet import result
from target_sync.fleet.model import FLEET_KINDS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, QUOTAS, Call
from target_sync.targets.group_settings import CROSS_ZONE, GROUP_ATTRIBUTES, HEALTH_CHECK
from tests.template.pages import read, sections, tables

PAGE = read("docs/fleet.md")
SECTIONS = sections(PAGE, 2)
ALARMS = "Alarms and metrics"


def rows(section: str, number: int = 0) -> list[list[str]]:
    """Return the rows of a table in a section."""
    return tables(SECTIONS[section])[number]


def test_the_page_has_the_kinds() -> None:
    for kind in FLEET_KINDS:
        assert f"`{kind}`" in rows("Tag a target group")[1][1]


def test_each_snippet_creates_a_group_with_all_settings() -> None:
    """The lab runs the commands; the other programs name the settings in their own way."""
    snippets = dict(re.findall(r"```(\w+)\n(.*?)```", SECTIONS["Tag a target group"], re.DOTALL))
    attributes = {**GROUP_ATTRIBUTES, CROSS_ZONE: "true"}
    assert dict(re.findall(r"Key=([\w.]+),Value=(\w+)", snippets["sh"])) == attributes
    annotations = yaml.safe_load(snippets["yaml"])["metadata"]["annotations"]
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    given = annotations[f"{prefix}target-group-attributes"].split(",")
    assert dict(item.split("=") for item in given) == attributes
    checks = {key: value for key, value in annotations.items() if "healthcheck" in key}
    assert list(checks.values()) == [str(value) for value in HEALTH_CHECK.values()]


def test_the_page_has_every_metric_of_a_sweep() -> None:
    written = set(re.findall(r'"((?:Groups|Sweep|Longest)[A-Z]\w+)": ', getsource(result)))
    assert {row[0].strip("`") for row in rows(ALARMS, 1)} == written


def test_the_page_has_the_quotas_that_the_fleet_divides() -> None:
    listed = {row[0]: row[1] for row in rows("Limits")}
    for name, quota in (
        ("ELB: non-mutating calls, whole account", QUOTAS[Call.DESCRIBE]),
        ("ELB: non-mutating calls, whole account", ACCOUNT_QUOTA),
        ("ELB: registration calls", QUOTAS[Call.REGISTRATION]),
    ):
        assert listed[name] == f"{quota.capacity:g}, and {quota.refill:g} a second"
