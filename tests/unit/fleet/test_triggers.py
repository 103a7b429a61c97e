"""Reading the database of an RDS event."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.fleet.triggers import database_of

EVENTS = Path(__file__).resolve().parents[3] / "events"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "name",
    [
        "multi-az-failover-started",
        "multi-az-failover-started-prefixed",
        "cluster-failover-completed",
        "instance-restarted",
    ],
)
def test_receives_the_database_of_an_event(name: str) -> None:
    assert database_of((EVENTS / f"{name}.json").read_text()) == "orders"


def test_normalizes_the_identifier() -> None:
    event = {"source": "aws.rds", "detail": {"SourceIdentifier": "Orders-2"}}
    assert database_of(json.dumps(event)) == "orders-2"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json",
        "[" * 100_000,
        "null",
        "[]",
        json.dumps({"source": "aws.ec2", "detail": {"SourceIdentifier": "orders"}}),
        json.dumps({"source": "aws.rds"}),
        json.dumps({"source": "aws.rds", "detail": "orders"}),
        json.dumps({"source": "aws.rds", "detail": {}}),
        json.dumps({"source": "aws.rds", "detail": {"SourceIdentifier": ["orders"]}}),
    ],
)
def test_returns_no_database_for_other_messages(body: str) -> None:
    assert database_of(body) == ""


@given(st.text() | json_values.map(json.dumps), json_values)
def test_accepts_any_message(body: str, detail: object) -> None:
    assert isinstance(database_of(body), str)
    assert isinstance(database_of(json.dumps({"source": "aws.rds", "detail": detail})), str)
