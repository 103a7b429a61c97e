"""The saved queries read fields that records have, and find the expected runs."""

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest

from target_sync.errors import TargetSyncError
from target_sync.model import LookupFailure
from target_sync.reconcile.result import SyncResult
from target_sync.reporting import PowertoolsReporter
from tests.support.notifications import NotifiedScenario
from tests.support.scenario import EVENT, MANUAL, SCHEDULE, A, B
from tests.template.stack import Resolver, resources

QUERIES = {
    properties["Name"].split("/")[1]: properties
    for properties in Resolver().of_type("AWS::Logs::QueryDefinition").values()
}


def quiet(scenario: NotifiedScenario) -> SyncResult:
    return scenario.run(SCHEDULE)


def failover(scenario: NotifiedScenario) -> SyncResult:
    scenario.fail_over(B)
    return scenario.run(EVENT)


def veto(scenario: NotifiedScenario) -> SyncResult:
    scenario.endpoint.set_addresses("8.8.8.8")
    return scenario.run(MANUAL)


def failure(scenario: NotifiedScenario) -> SyncResult:
    scenario.endpoint.set_failure(LookupFailure.TIMED_OUT)
    with pytest.raises(TargetSyncError):
        scenario.run(MANUAL)
    return scenario.reporter.results[-1]


def never_healthy(scenario: NotifiedScenario) -> SyncResult:
    scenario.fail_over(B)
    scenario.set_listening()
    return scenario.run(EVENT)


def undelivered_notifications(scenario: NotifiedScenario) -> SyncResult:
    scenario.notifier.bus.is_broken = True
    return failover(scenario)


RUNS: tuple[Callable[[NotifiedScenario], SyncResult], ...] = (
    quiet,
    failover,
    veto,
    failure,
    never_healthy,
    undelivered_notifications,
)


@cache
def records() -> Mapping[str, Mapping[str, Any]]:
    """Return the record of each kind of run as Logs Insights flattens it: ``list.0.field``."""
    found = {}
    for run in RUNS:
        # Powertools keeps one handler with its standard output for each service name.
        settings = {
            "POWERTOOLS_METRICS_NAMESPACE": "PostgresPrivateLink",
            "POWERTOOLS_SERVICE_NAME": f"queries-{run.__name__}",
        }
        result = run(NotifiedScenario(A))
        written = io.StringIO()
        with patch.dict(os.environ, settings), redirect_stdout(written):
            PowertoolsReporter().report(result)
        record = json.loads(written.getvalue().splitlines()[0])
        # CloudWatch adds the time.
        found[run.__name__] = {**dict(flat(record)), "@timestamp": "2026-11-22 10:00:00.000"}
    return found


def flat(value: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields that Logs Insights discovers. It ignores null."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from flat(item, f"{name}.{number}")
    elif value is not None:
        yield name, value


def fields(query: str) -> set[str]:
    """Return the field names in a query."""
    without_texts = re.sub(r'"[^"]*"', "", query)
    return set(re.findall(r"@?[a-z_]+(?:\.[a-z_0-9]+)*", without_texts)) - {
        "and",
        "desc",
        "fields",
        "filter",
        "ispresent",
        "limit",
        "or",
        "sort",
    }


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_reads_fields_that_records_have(name: str) -> None:
    known = {field for record in records().values() for field in record}
    assert fields(QUERIES[name]["QueryString"]) <= known


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("failovers", {"failover", "never_healthy", "undelivered_notifications"}),
        ("vetoes", {"veto"}),
        ("slow syncs", {"never_healthy"}),
        ("failures", {"failure", "undelivered_notifications"}),
    ],
)
def test_a_query_finds_the_expected_runs_only(name: str, expected: set[str]) -> None:
    query = QUERIES[name]["QueryString"]
    assert {run for run, record in records().items() if finds(query, record)} == expected


def finds(query: str, record: Mapping[str, Any]) -> bool:
    """Return whether a record passes every filter of a query.

    A comparison with a field that is missing is not true (CloudWatch Logs user guide, filter).
    """
    return all(
        any(
            all(holds(term, record) for term in alternative.split(" and "))
            for alternative in " ".join(part.split()).removeprefix("filter ").split(" or ")
        )
        for part in query.split("|")
        if part.split()[0] == "filter"
    )


def holds(term: str, record: Mapping[str, Any]) -> bool:
    if present := re.fullmatch(r"ispresent\((.+)\)", term.strip()):
        return present[1] in record
    left, operator, right = re.fullmatch(r"(.+) (=|>) (.+)", term.strip()).groups()  # type: ignore[union-attr]
    if operator == "=":
        return bool(record.get(left) == right.strip('"'))
    names = left.split(" - ")
    if not record.keys() >= set(names):
        return False
    first, *others = (float(record[name]) for name in names)
    return first - sum(others) > float(right)


def test_the_queries_read_the_log_of_the_reconciler_and_have_the_name_of_the_stack() -> None:
    for properties in Resolver().of_type("AWS::Logs::QueryDefinition").values():
        assert properties["Name"].startswith("postgres-privatelink/")
        assert properties["LogGroupNames"] == ["<ReconcileTargetsLogGroup>"]
    assert len(QUERIES) == len(resources("AWS::Logs::QueryDefinition"))
