import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.template.stack import ROOT, SITUATIONS, Resolver

EVENTS = ROOT / "events"
ARN = "arn:aws:rds:eu-west-1:111122223333"
INSTANCE = {"DatabaseLookup.EventResources": [f"{ARN}:db:orders"]}
CLUSTER = {"DatabaseLookup.Identifier": "orders"}
LOOKED_UP: dict[str, dict[str, Any]] = {
    "rds-instance": INSTANCE,
    "rds-cluster-writer": CLUSTER,
    "rds-cluster-readers": CLUSTER,
    "rds-proxy": {"DatabaseLookup.EventResources": [f"{ARN}:db-proxy:prx-0123456789abcdef0"]},
    "hostname": {"DatabaseLookup.EventResources": ["none"]},
    "static": {"DatabaseLookup.EventResources": ["none"]},
    "ec2-instance": {"DatabaseLookup.Identifier": "i-0a1b2c3d4e5f60718"},
}
"""The attributes of the database look-up, by kind."""
OF_INSTANCE = {
    "instance-restarted",
    "multi-az-failover-completed",
    "multi-az-failover-completed-prefixed",
    "multi-az-failover-started",
    "multi-az-failover-started-prefixed",
}
OF_CLUSTER = {"cluster-failover-completed", "cluster-failover-started", "cluster-topology-updated"}
SWITCHOVER = {"blue-green-switchover-completed"}
CAUSES_A_RUN: dict[str, set[str]] = {
    "rds-instance": OF_INSTANCE | SWITCHOVER,
    # A member may have the name of its cluster.
    "rds-cluster-writer": OF_CLUSTER | OF_INSTANCE | SWITCHOVER,
    "rds-cluster-readers": OF_CLUSTER | OF_INSTANCE | SWITCHOVER,
    "rds-proxy": {"proxy-changed"} | SWITCHOVER,
    "hostname": set(),
    "static": set(),
    "ec2-instance": {"instance-running"},
}
DOES_NOT = {
    "backup",
    "connection-request",
    "manual-dry-run",
    "manual-sync",
    "other-database-failover",
    "schedule",
    "status",
    "status-describe",
    "status-text",
    "status-widget",
}
EVERY_EVENT = sorted(path.stem for path in EVENTS.glob("*.json"))


def event(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return payload


def matches(payload: dict[str, Any], kind: str = "rds-instance") -> bool:
    """Return whether a rule of a stack for this kind of database starts the function."""
    rules = Resolver(SITUATIONS[kind], attributes=LOOKED_UP[kind]).of_type("AWS::Events::Rule")
    return any(
        EventPattern(json.dumps(rule["EventPattern"]), rule["EventPattern"]).matches_event(payload)
        for rule in rules.values()
    )


def of_database(arn: str) -> dict[str, Any]:
    """Return a completed failover of the database with this ARN."""
    payload = event("multi-az-failover-completed")
    payload["resources"] = [arn]
    payload["detail"]["SourceArn"] = arn
    return payload


def of_category(*categories: str) -> dict[str, Any]:
    payload = event("instance-restarted")
    payload["detail"]["EventCategories"] = list(categories)
    return payload


def test_the_tests_cover_every_event_file() -> None:
    assert set(EVERY_EVENT) == set[str]().union(*CAUSES_A_RUN.values()) | DOES_NOT


@pytest.mark.parametrize("kind", CAUSES_A_RUN)
@pytest.mark.parametrize("name", EVERY_EVENT)
def test_only_the_events_of_the_kind_start_a_run(kind: str, name: str) -> None:
    assert matches(event(name), kind) == (name in CAUSES_A_RUN[kind])


@pytest.mark.parametrize("name", EVERY_EVENT)
def test_the_table_in_the_readme_agrees_with_the_rules(name: str) -> None:
    (row,) = [
        line
        for line in (EVENTS / "README.md").read_text().splitlines()
        if line.startswith(f"| `{name}.json`")
    ]
    last_cell = row.rstrip(" |").rsplit("| ", 1)[1]
    by_a_rule = last_cell == "yes" or last_cell.startswith("yes, for")
    assert by_a_rule == (name not in DOES_NOT)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:rds:eu-west-1:111122223333:db:orders-2",
        "arn:aws:rds:eu-west-1:111122223333:db:order",
        "arn:aws:rds:eu-west-1:999999999999:db:orders",
        "arn:aws:rds:eu-central-1:111122223333:db:orders",
        "arn:aws-cn:rds:eu-west-1:111122223333:db:orders",
        "arn:aws:rds:eu-west-1:111122223333:cluster:orders",
    ],
)
def test_the_failover_of_another_database_starts_nothing(arn: str) -> None:
    assert not matches(of_database(arn))


@pytest.mark.parametrize("kind", ["rds-cluster-writer", "rds-cluster-readers"])
@pytest.mark.parametrize(
    ("arn", "concerns"),
    [
        (f"{ARN}:cluster:orders", True),
        (f"{ARN}:cluster:orders-2", False),
        (f"{ARN}:db:orders-instance-1", True),
        (f"{ARN}:db:orders9", True),
        (f"{ARN}:db:application-autoscaling-0a1b2c3d-4e5f", True),
        (f"{ARN}:db:sales-1", False),
        (f"{ARN.replace('111122223333', '999999999999')}:db:orders-1", False),
        (f"{ARN.replace('eu-west-1', 'eu-central-1')}:db:orders-1", False),
    ],
)
def test_events_of_later_members_of_a_cluster_start_a_run_too(
    kind: str, arn: str, *, concerns: bool
) -> None:
    assert matches(of_database(arn), kind) == concerns


@pytest.mark.parametrize("kind", LOOKED_UP)
def test_every_event_pattern_fits_into_the_quota_of_event_bridge(kind: str) -> None:
    longest = "i" * 63
    looked_up = {
        "DatabaseLookup.Identifier": longest,
        "DatabaseLookup.EventResources": [
            f"arn:aws-us-gov:rds:us-gov-west-1:111122223333:db:{longest}"
        ],
    }
    rules = Resolver(SITUATIONS[kind], attributes=looked_up).of_type("AWS::Events::Rule")
    for rule in rules.values():
        assert len(json.dumps(rule["EventPattern"])) <= 2048


@pytest.mark.parametrize(
    "categories",
    [
        ("failover",),
        ("availability",),
        ("configuration change",),
        ("configuration-change",),
        ("creation",),
        ("deletion",),
        ("failure",),
        ("global failover",),
        ("global-failover",),
        ("migration",),
        ("recovery",),
        ("restoration",),
        ("security patching",),
        ("maintenance",),
        ("maintenance, failure",),
        ("maintenance, notification",),
        ("notification",),
        ("notification, serverless",),
        ("notification", "serverless"),
        ("serverless",),
        ("a category that AWS adds",),
        ("backup", "failover"),
    ],
)
def test_a_category_that_can_move_the_database_starts_a_run(categories: tuple[str, ...]) -> None:
    assert matches(of_category(*categories))


@pytest.mark.parametrize("category", ["backtrack", "backup", "low storage", "read replica"])
def test_a_category_that_cannot_starts_nothing(category: str) -> None:
    assert not matches(of_category(category))


def test_another_kind_of_event_of_the_database_starts_nothing() -> None:
    payload = event("multi-az-failover-completed")
    assert not matches({**payload, "detail-type": "RDS DB Snapshot Event"})
    assert not matches({**payload, "source": "custom.rds"})


def test_another_instance_or_a_transitional_state_starts_nothing() -> None:
    payload = event("instance-running")
    other = {**payload["detail"], "instance-id": "i-1a1b2c3d4e5f60718"}
    assert not matches({**payload, "detail": other}, "ec2-instance")
    on_the_way = {**payload["detail"], "state": "pending"}
    assert not matches({**payload, "detail": on_the_way}, "ec2-instance")


def test_a_progress_event_of_a_deployment_starts_nothing() -> None:
    payload = event("blue-green-switchover-completed")
    created = {**payload["detail"], "EventCategories": ["creation"]}
    assert not matches({**payload, "detail": created})
