"""Sweeps over fakes: which groups get runs and when, findings, failures, and the handler."""

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from functions.fleet_sweep import app
from target_sync.endpoints.cluster import ClusterReadersEndpoint, ClusterWriterEndpoint
from target_sync.endpoints.dns import DnsEndpoint
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsUnavailableError,
    SettingsError,
    TriggerError,
)
from target_sync.fleet import build
from target_sync.fleet.groups import (
    ATTRIBUTES_PER_SWEEP,
    ATTRIBUTES_SECONDS,
    FACTS_SECONDS,
    NOT_FOUND_SECONDS,
)
from target_sync.fleet.model import ENDPOINT_TAG, KIND_TAG, POLICY_TAG, FindingCode, RunReason
from target_sync.fleet.planner import AUDIT_SECONDS, PlannedRun
from target_sync.fleet.result import FINDINGS_PER_RECORD, FailedSweep
from target_sync.fleet.runs import RunBug
from target_sync.fleet.sweeper import PAUSE_SECONDS, SWEEP_SECONDS
from target_sync.model import DatabaseKind, LookupFailure
from target_sync.reporting import PowertoolsReporter
from target_sync.targets.group_settings import CROSS_ZONE, GROUP_ATTRIBUTES, HEALTH_CHECK
from target_sync.triggers import Trigger
from tests.support.events import context, load_event
from tests.support.fleet import DRY, MINUTE, SCHEDULED, TIMEOUT, Fault, Fleet, Hang, at
from tests.support.scenario import A, B, target
from tests.unit.fleet.builders import FACTS, arn, binding

READERS, WRITER = DatabaseKind.RDS_CLUSTER_READERS, DatabaseKind.RDS_CLUSTER_WRITER
THROTTLED = AwsUnavailableError("GetResources", "ThrottledException", "slow down")
DENIED = AwsAccessDeniedError("GetResources", "AccessDenied", "no")


def fleet_of(*numbers: int) -> Fleet:
    """Return a fleet of groups in sync with A."""
    fleet = Fleet()
    for number in numbers:
        fleet.add(number, A, resolves_to=A)
    return fleet


def move(fleet: Fleet, number: int, address: object = B) -> None:
    fleet.dns.set_addresses(fleet.name(number), address)


def first_call(fleet: Fleet, operation: str, number: int) -> float:
    """Return when a group first got such a call."""
    index = fleet.elb.calls.index((operation, arn(number)))
    return fleet.elb.moments[index]


# --- Which group, and when ------------------------------------------------------------------------


def test_verifies_a_new_fleet_once_and_then_audits_it() -> None:
    fleet = fleet_of(*range(30))

    first, second = fleet.sweep(), fleet.sweep()

    assert first.bound == 30
    # An audit is due every 30 s.
    assert first.runs == Counter({RunReason.UNVERIFIED: 30, RunReason.AUDIT: 1})
    assert second.runs == Counter({RunReason.AUDIT: 2})
    assert second.waiting == 0


def test_audits_every_group_in_15_minutes_at_an_even_pace() -> None:
    fleet = fleet_of(*range(30))
    fleet.sweep()
    fleet.sweep()
    fleet.elb.calls.clear()

    results = [fleet.sweep() for _ in range(int(AUDIT_SECONDS / MINUTE))]

    assert {result.runs[RunReason.AUDIT] for result in results} == {2}
    assert Counter(group for _, group in fleet.elb.calls) == {arn(it): 1 for it in range(30)}


def test_follows_a_change_within_seconds_and_touches_no_other_group() -> None:
    fleet = fleet_of(1, 2, 3)
    fleet.sweep()
    began = fleet.clock.now()
    at(fleet, 20.0, move, fleet, 2)
    fleet.elb.calls.clear()
    fleet.elb.moments.clear()

    result = fleet.sweep()

    assert first_call(fleet, "RegisterTargets", 2) - began - 20.0 <= 3.0
    assert fleet.registered(arn(2)) == {str(B)}
    assert {group for _, group in fleet.elb.calls} == {arn(2)}
    assert result.runs == Counter({RunReason.ADDRESSES_CHANGED: 1})


def test_a_change_comes_before_the_groups_that_a_new_container_has_not_verified() -> None:
    fleet = fleet_of(*range(200))
    at(fleet, 10.0, move, fleet, 7)

    result = fleet.sweep()

    assert result.runs[RunReason.ADDRESSES_CHANGED] == 1
    assert first_call(fleet, "RegisterTargets", 7) - 1_000.0 <= 15.0
    assert fleet.registered(arn(7)) == {str(B)}


def test_many_changes_and_unverified_groups_block_no_audit() -> None:
    fleet = fleet_of(*range(100))
    fleet.sweep()
    fleet.sweep()
    for number in range(50):
        move(fleet, number)
    for number in range(100, 150):
        fleet.add(number, A, resolves_to=A)

    result = fleet.sweep()

    assert all(result.runs[reason] >= 5 for reason in RunReason)


def test_the_audit_reverts_a_manual_change() -> None:
    fleet = fleet_of(1)
    fleet.sweep()
    fleet.groups[arn(1)].register_externally(target(B))

    fleet.play(16)

    assert fleet.registered(arn(1)) == {str(A)}


def test_a_run_continues_in_the_next_sweep() -> None:
    fleet = fleet_of(1)
    fleet.sweep()
    at(fleet, SWEEP_SECONDS - 4.0, move, fleet, 1)
    first = fleet.sweep()
    assert fleet.registered(arn(1)) == {str(A), str(B)}
    assert first.runs == Counter()

    second = fleet.sweep()

    assert fleet.registered(arn(1)) == {str(B)}
    assert second.runs == Counter({RunReason.ADDRESSES_CHANGED: 1})
    assert fleet.reporter.statuses(arn(1)) == ["in_sync", "synced"]
    assert fleet.elb.operations(arn(1)).count("RegisterTargets") == 1


def test_a_container_that_was_not_invoked_begins_its_runs_again() -> None:
    fleet = fleet_of(1, 2)
    fleet.sweep()
    at(fleet, SWEEP_SECONDS - 4.0, move, fleet, 1)
    fleet.sweep()
    fleet.clock.advance(PAUSE_SECONDS)

    result = fleet.sweep()

    assert fleet.registered(arn(1)) == {str(B)}
    assert result.runs == Counter({RunReason.ADDRESSES_CHANGED: 1})
    assert fleet.reporter.statuses(arn(1)) == ["in_sync", "synced"]
    assert fleet.elb.operations(arn(1)).count("DescribeTargetHealth") == 5


def test_a_group_with_changed_tags_is_verified_again() -> None:
    fleet = fleet_of(1, 2)
    fleet.sweep()
    fleet.tagged.tag(arn(1), POLICY_TAG, "max=2")

    assert fleet.sweep().runs == Counter({RunReason.UNVERIFIED: 1})


def test_leaves_a_group_alone_once_its_tag_is_removed() -> None:
    fleet = fleet_of(1, 2)
    fleet.sweep()
    fleet.tagged.untag(arn(1), ENDPOINT_TAG)
    move(fleet, 1)
    move(fleet, 2)

    fleet.play(16)

    assert (fleet.registered(arn(1)), fleet.registered(arn(2))) == ({str(A)}, {str(B)})


def test_a_run_of_a_group_that_is_untagged_meanwhile_has_no_effect_on_the_others() -> None:
    fleet = fleet_of(1, 2)
    fleet.sweep()
    at(fleet, SWEEP_SECONDS - 4.0, move, fleet, 1)
    fleet.sweep()
    fleet.tagged.untag(arn(1), ENDPOINT_TAG)

    result = fleet.sweep()

    assert (result.bound, result.waiting) == (1, 0)
    assert fleet.registered(arn(1)) == {str(B)}


def test_without_groups_a_sweep_ends_after_the_listing() -> None:
    result = Fleet().sweep()

    assert (result.bound, result.polls) == (0, 0)
    assert result.seconds < 1.0


def test_polls_readers_rarely_and_other_names_every_second() -> None:
    fleet = Fleet()
    for number, kind in enumerate((DatabaseKind.HOSTNAME, WRITER, READERS)):
        fleet.add(number, A, resolves_to=A, kind=kind)
    fleet.sweep()
    fleet.dns.queries.clear()

    fleet.sweep()

    polls = Counter(fleet.dns.queries)
    assert polls[fleet.name(0)] >= 40
    assert polls[fleet.name(1, WRITER)] >= 40
    assert 2 <= polls[fleet.name(2, READERS)] <= 4


# --- Failing groups -------------------------------------------------------------------------------


def test_a_failed_group_is_tried_again_after_a_minute_and_is_late_meanwhile() -> None:
    fleet = fleet_of(1, 2)
    fleet.sweep()
    fleet.elb.faults = dict.fromkeys(range(len(fleet.elb.calls), 10_000), Fault.DENIED)
    move(fleet, 1)
    results = [fleet.sweep() for _ in range(5)]
    assert [result.runs.total() for result in results[1:]] == [1] * 4
    assert results[-1].longest_unverified > 5 * MINUTE - 10.0

    fleet.elb.faults = {}
    fleet.play(0)
    fleet.sweep()
    fleet.sweep()

    assert fleet.registered(arn(1)) == {str(B)}


def test_a_vetoed_group_keeps_its_targets_and_stays_unverified() -> None:
    fleet = fleet_of(1)
    fleet.add(2, A, resolves_to="8.8.8.8")

    results = [fleet.sweep() for _ in range(3)]

    assert set(fleet.reporter.statuses(arn(2))) == {"vetoed"}
    assert fleet.registered(arn(2)) == {str(A)}
    assert results[-1].longest_unverified > 2 * MINUTE


def test_a_bug_in_a_run_is_reported_and_affects_no_other_group() -> None:
    fleet = fleet_of(1, 2)
    fleet.groups[arn(1)].describe = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]

    result = fleet.sweep()

    (bug,) = fleet.reporter.bugs
    assert (bug.planned.binding.arn, type(bug.error)) == (arn(1), ZeroDivisionError)
    assert fleet.reporter.statuses(arn(2)) == ["in_sync"]
    assert result.runs.total() == 2


def test_a_bug_in_a_look_up_is_a_finding() -> None:
    fleet = fleet_of(1, 2)
    fleet.lookups[fleet.name(1)] = ValueError("what is wrong")

    (finding,) = fleet.sweep().findings

    assert (finding.arn, finding.code) == (arn(1), FindingCode.LOOKUP_FAILED)
    assert "ValueError: what is wrong" in finding.detail
    assert fleet.reporter.statuses(arn(2)) == ["in_sync"]


# --- Findings -------------------------------------------------------------------------------------


def test_reports_invalid_tags_and_follows_all_other_groups() -> None:
    fleet = fleet_of(*range(6))
    fleet.tagged.tag(arn(1), KIND_TAG, "nonsense")
    del fleet.tagged.facts[arn(2)]
    fleet.dns.set_failure(fleet.name(3), LookupFailure.NAME_DOES_NOT_EXIST)
    fleet.tagged.facts[arn(4)] = replace(FACTS, has_ip_targets=False)

    result = fleet.sweep()

    assert {finding.arn: finding.code for finding in result.findings} == {
        arn(1): FindingCode.INVALID_TAG,
        arn(2): FindingCode.NOT_FOUND,
        arn(3): FindingCode.LOOKUP_FAILED,
        arn(4): FindingCode.WRONG_TARGET_TYPE,
    }
    assert result.bound == 3
    assert {group for _, group in fleet.elb.calls} == {arn(0), arn(5)}


def test_a_failed_look_up_causes_no_run_until_it_succeeds() -> None:
    fleet = fleet_of(1)
    fleet.sweep()
    move(fleet, 1)
    fleet.dns.set_failure(fleet.name(1), LookupFailure.TIMED_OUT)
    result = fleet.sweep()
    assert result.runs.total() == result.waiting == 0
    assert len(result.findings) == 1
    assert result.longest_unverified == 0.0

    move(fleet, 1)
    result = fleet.sweep()

    assert result.findings == ()
    assert fleet.registered(arn(1)) == {str(B)}


def test_describes_all_groups_in_one_call_and_rarely() -> None:
    fleet = fleet_of(1, 2)
    for _ in range(int(FACTS_SECONDS / MINUTE)):
        fleet.sweep()
    assert fleet.tagged.described == [frozenset({arn(1), arn(2)})]
    fleet.sweep()
    assert fleet.tagged.described == [frozenset({arn(1), arn(2)})] * 2


def test_describes_a_new_group_at_once_and_ignores_a_missing_one() -> None:
    fleet = fleet_of(1, 2)
    fleet.sweep()
    fleet.tagged.untag(arn(2), ENDPOINT_TAG)
    fleet.sweep()
    assert len(fleet.tagged.described) == 1
    fleet.add(3, A, resolves_to=A)
    fleet.sweep()
    assert fleet.tagged.described[1:] == [frozenset({arn(1), arn(3)})]


def test_describes_a_group_that_elb_does_not_know_again_after_some_minutes() -> None:
    fleet = fleet_of(1)
    del fleet.tagged.facts[arn(1)]
    for _ in range(int(NOT_FOUND_SECONDS / MINUTE)):
        (finding,) = fleet.sweep().findings
        assert finding.code is FindingCode.NOT_FOUND
    assert len(fleet.tagged.described) == 1
    fleet.tagged.facts[arn(1)] = FACTS
    assert fleet.sweep().findings == ()


# --- Failures of the listing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [
        lambda fleet, error: fleet.tagged.listing_faults.plan(error),
        lambda fleet, error: fleet.tagged.description_faults.plan(error),
    ],
    ids=["listing", "facts"],
)
@pytest.mark.parametrize("error", [THROTTLED, DENIED])
def test_a_new_container_without_a_listing_fails_at_once_and_makes_no_call(
    plan: Callable[[Fleet, AwsCallError], None], error: AwsCallError
) -> None:
    fleet = fleet_of(1)
    plan(fleet, error)
    began = fleet.clock.now()
    with pytest.raises(AwsCallError) as raised:
        fleet.sweeper.run(SCHEDULED, remaining_seconds=TIMEOUT)
    assert raised.value is error
    assert fleet.clock.now() - began < 1.0
    assert fleet.reporter.sweeps == []
    assert fleet.elb.calls == []


@pytest.mark.parametrize("error", [THROTTLED, Hang()])
def test_a_failed_listing_fails_the_sweep_which_still_follows_the_known_groups(
    error: Exception,
) -> None:
    fleet = fleet_of(1)
    fleet.sweep()
    fleet.tagged.listing_faults.plan(error)
    at(fleet, 10.0, move, fleet, 1)

    with pytest.raises(AwsUnavailableError):
        fleet.sweep()

    assert fleet.registered(arn(1)) == {str(B)}
    assert len(fleet.reporter.sweeps) == 1
    assert len(fleet.reporter.failed_sweeps) == 1


# --- Dry runs and results -------------------------------------------------------------------------


def test_a_dry_run_observes_every_endpoint_once_and_changes_nothing() -> None:
    fleet = fleet_of(1, 2)
    move(fleet, 1)
    fleet.dns.set_failure(fleet.name(2), LookupFailure.NO_ADDRESS)

    result = fleet.sweep(DRY)

    assert fleet.elb.calls == []
    assert (result.trigger.dry_run, result.polls, len(result.findings)) == (True, 2, 1)
    assert result.seconds < 1.0


def test_the_result_counts_the_runs_and_lists_the_findings() -> None:
    fleet = fleet_of(*range(3))
    fleet.tagged.tag(arn(1), KIND_TAG, "nonsense")

    document = json.loads(json.dumps(fleet.sweep().to_document()))

    assert document["trigger"] == {"kind": "schedule"}
    assert document["runs"] == {"changed": 0, "unverified": 2, "audited": 0}
    assert document["groups"] == {
        "bound": 2,
        "with_findings": 1,
        "waiting": 0,
        "longest_unverified_seconds": pytest.approx(SWEEP_SECONDS, abs=3.0),
    }
    (finding,) = document["findings"]
    assert (finding["arn"], finding["code"]) == (arn(1), "invalid_tag")
    assert "nonsense" in finding["detail"]


@pytest.fixture
def logged(
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """Return the lines of the function's output so far."""
    # Powertools keeps one log handler per service, and with it the first test's output stream.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.name)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "PostgresPrivateLink")
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("kind", "level"), [("rds-instance", "INFO"), ("nonsense", "WARNING")])
def test_logs_the_result_and_publishes_the_metrics(logged: Any, kind: str, level: str) -> None:
    fleet = fleet_of(1, 2)
    fleet.tagged.tag(arn(1), KIND_TAG, kind)
    result = fleet.sweep()

    PowertoolsReporter().report(result)

    record, metrics = logged()
    assert record["level"] == level
    assert record["result"] == json.loads(json.dumps(result.to_document()))
    assert {name: metrics[name] for name in metrics if name[0] in "GLS"} == {
        "SweepSucceeded": [1],
        "GroupsBound": [result.bound],
        "GroupsWithFindings": [int(kind == "nonsense")],
        "GroupsChanged": [0],
        "GroupsUnverified": [result.bound],
        "GroupsAudited": [0],
        "GroupsWaiting": [0],
        "LongestUnverified": [result.longest_unverified],
    }


def test_splits_many_findings_into_several_log_events(logged: Any) -> None:
    fleet = fleet_of()
    for number in range(2 * FINDINGS_PER_RECORD + 1):
        fleet.add(number, facts=replace(FACTS, has_ip_targets=False))
    result = fleet.sweep()

    PowertoolsReporter().report(result)

    *records, metrics = logged()
    message = [finding["arn"] for record in records for finding in record["result"]["findings"]]
    assert message == [finding.arn for finding in result.findings]
    assert len(records) == 3
    assert metrics["GroupsWithFindings"] == [len(message)]


@pytest.mark.parametrize("trigger", [SCHEDULED, DRY])
def test_a_failed_sweep_is_logged_and_counted(logged: Any, trigger: Trigger) -> None:
    PowertoolsReporter().report(FailedSweep(trigger, THROTTLED))

    record, *metrics = logged()
    assert (record["level"], record["failure"]) == ("ERROR", str(THROTTLED))
    assert [it["SweepFailed"] for it in metrics] == ([] if trigger.dry_run else [[1]])


def test_a_dry_run_publishes_no_metrics(logged: Any) -> None:
    PowertoolsReporter().report(Fleet().sweep(DRY))
    (line,) = logged()
    assert line["result"]["dry_run"] is True


@pytest.mark.usefixtures("region")
def test_the_records_of_a_run_name_its_group_endpoint_and_reason(
    logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "DEBUG")
    fleet = fleet_of(1)
    reporter = build.build_sweeper({}).runs.reporter
    fleet.sweeper.runs = replace(fleet.sweeper.runs, reporter=reporter)
    fleet.sweep()

    iteration, record, metrics = logged()

    assert (iteration["message"], record["message"]) == ("iteration", "sync run ended")
    assert iteration["target_group"] == record["target_group"] == arn(1)
    assert (record["endpoint"], record["reason"]) == (fleet.name(1), "unverified")
    assert record["result"]["status"] == "in_sync"
    assert metrics["SyncSucceeded"] == [1.0]


def test_logs_a_bug_as_an_error_with_its_traceback_and_counts_it(logged: Any) -> None:
    try:
        int("a mistake of ours")
    except ValueError as error:
        PowertoolsReporter().report(RunBug(PlannedRun(binding(), RunReason.AUDIT), error))

    record, metrics = logged()
    assert (record["level"], record["target_group"]) == ("ERROR", arn(1))
    assert "a mistake of ours" in record["exception"]
    assert metrics["SyncFailed"] == [1.0]


# --- Handler --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind", "dry_run"),
    [
        (load_event("schedule"), "schedule", False),
        ({}, "manual", False),
        ({"dry_run": True}, "manual", True),
    ],
)
def test_parses_the_triggers_of_the_schedule_and_of_a_person(
    monkeypatch: pytest.MonkeyPatch, event: object, kind: str, dry_run: bool
) -> None:
    fleet = fleet_of(1)
    monkeypatch.setattr(app, "sweeper", lambda: fleet.sweeper)
    document = app.handler(event, context(TIMEOUT))
    assert document["trigger"] == {"kind": kind}
    assert len(fleet.elb.calls) == (0 if dry_run else 1)
    assert document == fleet.reporter.sweeps[0].to_document()


@pytest.mark.parametrize(
    ("event", "message"),
    [([], "JSON object"), ({"dry_run": "yes"}, "dry_run"), ({"dryrun": True}, "dryrun")],
)
def test_rejects_any_other_sweep_trigger(
    monkeypatch: pytest.MonkeyPatch, event: object, message: str
) -> None:
    fleet = fleet_of(1)
    monkeypatch.setattr(app, "sweeper", lambda: fleet.sweeper)
    with pytest.raises(TriggerError, match=message):
        app.handler(event, context(TIMEOUT))
    assert fleet.tagged.listings == 0


# --- Building -------------------------------------------------------------------------------------


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.mark.usefixtures("_powertools", "region")
def test_builds_the_sweeper_once_per_container_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build.sweeper.cache_clear()
    monkeypatch.setenv("API_SHARE", "nothing")
    with pytest.raises(SettingsError, match="API_SHARE"):
        build.sweeper()
    monkeypatch.setenv("API_SHARE", "0.25")
    ours = build.sweeper()
    assert ours is build.sweeper()
    assert ours.groups.region == "eu-west-1"
    assert isinstance(ours.polling, ThreadPoolExecutor)
    assert ours.runs.target_group(binding()).arn == arn(1)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_powertools", "region")
def test_polls_and_observes_an_endpoint_by_its_kind() -> None:
    ours = build.build_sweeper({})
    seen = {
        kind: tuple(type(it) for it in (ours.endpoint((kind, "db.x")), ours.runs.endpoint(bound)))
        for kind in (DatabaseKind.RDS_INSTANCE, WRITER, READERS)
        for bound in [replace(binding(), kind=kind)]
    }
    assert seen == {
        DatabaseKind.RDS_INSTANCE: (DnsEndpoint, DnsEndpoint),
        # The name of the cluster shows each change of its writer.
        WRITER: (DnsEndpoint, ClusterWriterEndpoint),
        READERS: (ClusterReadersEndpoint, ClusterReadersEndpoint),
    }
    readers = ours.endpoint((READERS, "orders.cluster-ro-abc.eu-west-1.rds.amazonaws.com"))
    assert isinstance(readers, ClusterReadersEndpoint)
    assert readers.cluster.identifier == "orders"
    config: Any = readers.cluster._client.meta.config  # noqa: SLF001 - what all clusters share
    assert (config.max_pool_connections, config.read_timeout) == (build.CALL_THREADS, 5)


# --- Settings of the groups -----------------------------------------------------------------------

SLOW = {**GROUP_ATTRIBUTES, "deregistration_delay.timeout_seconds": "300"}


def test_a_group_with_the_defaults_of_aws_is_followed_and_has_a_finding() -> None:
    fleet = fleet_of(1, 2)
    fleet.tagged.given[arn(1)] = {**SLOW, CROSS_ZONE: "false"}
    fleet.tagged.facts[arn(1)] = replace(
        FACTS, health_check={**HEALTH_CHECK, "HealthCheckIntervalSeconds": 30}
    )

    result = fleet.sweep()

    (finding,) = result.findings
    assert (finding.arn, finding.code) == (arn(1), FindingCode.OTHER_SETTINGS)
    for words in (
        "deregistration_delay.timeout_seconds is 300, but should be 0.",
        f"{CROSS_ZONE} is false, but should be true.",
        "HealthCheckIntervalSeconds is 30, but should be 5.",
    ):
        assert words in finding.detail
    assert finding.command.startswith(
        f"aws elbv2 modify-target-group-attributes --region eu-west-1 --target-group-arn {arn(1)}"
    )
    assert fleet.reporter.statuses(arn(1)) == ["in_sync"]
    (record,) = result.to_log_records()
    assert record.counts["GroupsWithFindings"] == 0


def test_a_group_may_leave_cross_zone_load_balancing_to_its_load_balancer() -> None:
    fleet = fleet_of(1)
    fleet.tagged.given[arn(1)] = {**GROUP_ATTRIBUTES, CROSS_ZONE: "use_load_balancer_configuration"}
    assert fleet.sweep().findings == ()


def test_the_attributes_are_read_a_few_groups_a_sweep_and_rarely_again() -> None:
    fleet = fleet_of(*range(ATTRIBUTES_PER_SWEEP + 1))
    last = arn(ATTRIBUTES_PER_SWEEP)
    numbers = [*map(arn, range(ATTRIBUTES_PER_SWEEP + 1))]
    for number in numbers:
        fleet.tagged.given[number] = SLOW

    assert len(fleet.sweep().findings) == ATTRIBUTES_PER_SWEEP
    assert len(fleet.sweep().findings) == ATTRIBUTES_PER_SWEEP + 1
    fleet.sweep()
    assert sorted(fleet.tagged.attribute_calls) == sorted(numbers)

    fleet.tagged.untag(last, ENDPOINT_TAG)
    fleet.clock.sleep_until(fleet.clock.now() + ATTRIBUTES_SECONDS)
    fleet.sweep()
    assert len(fleet.tagged.attribute_calls) == len(numbers) + ATTRIBUTES_PER_SWEEP


def test_a_dry_run_waits_for_the_settings() -> None:
    fleet = fleet_of(1)
    fleet.tagged.given[arn(1)] = SLOW
    assert [it.code for it in fleet.sweep(DRY).findings] == [FindingCode.OTHER_SETTINGS]


@pytest.mark.parametrize(
    ("error", "codes"),
    [
        (AwsUnavailableError("DescribeTargetGroupAttributes", "Throttling", "slow down"), []),
        (
            AwsAccessDeniedError("DescribeTargetGroupAttributes", "AccessDenied", "no"),
            [FindingCode.OTHER_SETTINGS],
        ),
    ],
)
def test_unknown_attributes_stop_nothing(error: Exception, codes: list[FindingCode]) -> None:
    fleet = fleet_of(1, 2)
    fleet.tagged.attribute_faults.plan(error)

    result = fleet.sweep()

    assert [it.code for it in result.findings] == codes
    assert all("AccessDenied" in it.detail for it in result.findings)
    assert len(fleet.tagged.attribute_calls) == 1
    assert result.runs.total() == 2
    assert fleet.sweep().findings == ()
