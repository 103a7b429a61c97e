import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.template.stack import ROOT, Resolver, resources

EVENTS = ROOT / "events"
CAUSES_A_RUN = {
    "instance-restarted",
    "multi-az-failover-completed",
    "multi-az-failover-completed-prefixed",
    "multi-az-failover-started",
    "multi-az-failover-started-prefixed",
}
DOES_NOT = {
    "backup",
    "connection-request",
    "manual-dry-run",
    "manual-sync",
    "other-database-failover",
    "schedule",
}


def event(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return payload


def matches(payload: dict[str, Any], **given: str) -> bool:
    """Whether the rule of a stack with these parameters starts the function."""
    (rule,) = resources("AWS::Events::Rule").values()
    pattern = Resolver(given).resolve(rule["EventPattern"])
    return bool(EventPattern(json.dumps(pattern), pattern).matches_event(payload))


def of_database(arn: str) -> dict[str, Any]:
    """A completed failover of the database with this ARN."""
    payload = event("multi-az-failover-completed")
    payload["resources"] = [arn]
    payload["detail"]["SourceArn"] = arn
    return payload


def of_category(*categories: str) -> dict[str, Any]:
    payload = event("instance-restarted")
    payload["detail"]["EventCategories"] = list(categories)
    return payload


def test_every_event_file_is_judged() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == CAUSES_A_RUN | DOES_NOT


@pytest.mark.parametrize("name", sorted(CAUSES_A_RUN))
def test_an_event_after_which_the_address_may_differ_starts_a_run(name: str) -> None:
    assert matches(event(name))


@pytest.mark.parametrize("name", sorted(DOES_NOT))
def test_any_other_payload_does_not(name: str) -> None:
    assert not matches(event(name))


@pytest.mark.parametrize("name", sorted(CAUSES_A_RUN | DOES_NOT))
def test_the_table_in_the_readme_agrees(name: str) -> None:
    (row,) = [
        line
        for line in (EVENTS / "README.md").read_text().splitlines()
        if line.startswith(f"| `{name}.json`")
    ]
    by_the_rule = row.rstrip(" |").endswith("| yes")
    assert by_the_rule == (name in CAUSES_A_RUN)


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


def test_the_identifier_is_the_first_label_of_the_endpoint() -> None:
    arn = "arn:aws:rds:eu-west-1:111122223333:db:billing"
    endpoint = "billing.abcdefghijkl.eu-west-1.rds.amazonaws.com"
    assert matches(of_database(arn), DatabaseEndpoint=endpoint)


def test_a_given_identifier_wins_over_the_endpoint() -> None:
    given = {"DatabaseEndpoint": "db.corp.example", "DatabaseInstanceIdentifier": "orders"}
    assert matches(event("multi-az-failover-completed"), **given)
    assert not matches(of_database("arn:aws:rds:eu-west-1:111122223333:db:db"), **given)


@pytest.mark.parametrize(
    "categories",
    [
        ("failover",),
        ("availability",),
        ("configuration change",),
        ("creation",),
        ("failure",),
        ("recovery",),
        ("restoration",),
        ("security patching",),
        ("maintenance",),
        ("maintenance, failure",),
        ("maintenance, notification",),
        ("notification",),
        ("notification, serverless",),
        ("backup", "failover"),
    ],
)
def test_a_category_that_can_move_the_database_starts_a_run(categories: tuple[str, ...]) -> None:
    assert matches(of_category(*categories))


@pytest.mark.parametrize("category", ["backup", "low storage", "deletion", "read replica"])
def test_a_category_that_cannot_starts_nothing(category: str) -> None:
    assert not matches(of_category(category))


def test_another_kind_of_event_of_the_database_starts_nothing() -> None:
    payload = event("multi-az-failover-completed")
    assert not matches({**payload, "detail-type": "RDS DB Snapshot Event"})
    assert not matches({**payload, "source": "custom.rds"})
