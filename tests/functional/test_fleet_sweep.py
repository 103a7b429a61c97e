"""Sweeps over fakes: the work that they send, its timing, and failures."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.fleet_sweep import app
from target_sync.endpoints.cluster import ClusterReadersEndpoint
from target_sync.errors import (
    AwsAccessDeniedError,
    AwsCallError,
    AwsUnavailableError,
    SettingsError,
    TriggerError,
)
from target_sync.fleet import sweep_build
from target_sync.fleet.checkpoints import AuditCursor, read_cursor, write_cursor
from target_sync.fleet.groups import FACTS_SECONDS, NOT_FOUND_SECONDS
from target_sync.fleet.model import (
    AUDIT_CURSOR_TAG,
    ENDPOINT_TAG,
    KIND_TAG,
    Finding,
    FindingCode,
    WorkReason,
)
from target_sync.fleet.name_lookups import NameLookups
from target_sync.fleet.planner import SweepCapacity
from target_sync.fleet.result import FINDINGS_PER_RECORD
from target_sync.fleet.sweeper import (
    BATCH,
    MAX_BATCHES,
    RESERVE_SECONDS,
    STALLED_SECONDS,
    WORK_PER_BATCH,
)
from target_sync.fleet.work_items import CursorWorkItem, SyncWorkItem, WorkItem
from target_sync.model import AwsScope, LookupFailure
from target_sync.reporting import PowertoolsReporter
from target_sync.triggers import Trigger, TriggerKind
from tests.support.events import context, load_event
from tests.support.fleet import Faults
from tests.support.fleet_scenario import NOW, SCHEDULED, SWEEP_TIMEOUT, FleetScenario
from tests.unit.fleet.builders import FACTS, KEY, A, B, arn, binding, name

CAPACITY = SweepCapacity.of()
DRY = Trigger(kind=TriggerKind.MANUAL, dry_run=True)
THROTTLED = AwsUnavailableError("GetResources", "ThrottledException", "slow down")
DENIED = AwsAccessDeniedError("GetResources", "AccessDenied", "no")
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:fleet-sweep"
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "SIGNING_KEY": "a secret of this deployment",
    "WORK_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/work.fifo",
}


def arns(*numbers: int) -> list[str]:
    return [arn(number) for number in numbers]


def cursors(scenario: FleetScenario) -> list[AuditCursor | None]:
    """Return every audit cursor that was sent."""
    return [
        read_cursor(it.cursor, it.arn, KEY, scenario.clock.now())
        for it in scenario.queue.sent
        if isinstance(it, CursorWorkItem)
    ]


# --- Work -----------------------------------------------------------------------------------------


def test_verifies_a_new_fleet_once_and_then_audits_it() -> None:
    scenario = FleetScenario()
    scenario.add(*range(30))
    scenario.work(5)
    first, second = scenario.sweep(), scenario.sweep()
    assert (first.bound, first.count(WorkReason.UNVERIFIED), first.count(WorkReason.AUDIT)) == (
        30,
        30,
        0,
    )
    assert (second.count(WorkReason.UNVERIFIED), second.count(WorkReason.AUDIT)) == (0, 2)
    assert second.findings == ()
    assert first.postponed == second.postponed == 0


def test_audits_every_group_within_15_minutes_with_the_cursors_of_the_workers() -> None:
    scenario = FleetScenario(lag=2.0)
    scenario.add_verified(*range(100))
    scenario.work(5)
    for _ in range(15):
        # A fifteenth of 100 groups, rounded up.
        assert scenario.sweep().count(WorkReason.AUDIT) == 7
    assert set(scenario.sent(WorkReason.AUDIT)) == set(arns(*range(100)))


def test_a_listing_that_is_minutes_old_repeats_no_audit() -> None:
    scenario = FleetScenario(lag=200.0)
    scenario.add_verified(*range(100))
    scenario.work(5)
    for _ in range(14):
        scenario.sweep()
    assert (
        len(scenario.sent(WorkReason.AUDIT)) == len(set(scenario.sent(WorkReason.AUDIT))) == 14 * 7
    )


def test_another_container_continues_at_the_last_cursor() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(100))
    scenario.work(5)
    scenario.sweep()
    scenario.sweeper = scenario.new_sweeper()
    scenario.sweep()
    assert len(set(scenario.sent(WorkReason.AUDIT))) == 2 * 7


def test_sends_changed_groups_at_once_and_first() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(100))
    scenario.add(*range(100, 130))
    for number in range(70):
        scenario.change_address(number, B)
    scenario.work(1)
    scenario.sweep()
    assert sorted(scenario.sent(WorkReason.ADDRESSES_CHANGED)) == sorted(arns(*range(70)))
    reasons = [it.reason for it in scenario.queue.sent if isinstance(it, SyncWorkItem)]
    assert reasons[:70] == [WorkReason.ADDRESSES_CHANGED] * 70


def test_a_work_item_has_the_checkpoint_of_the_listing() -> None:
    scenario = FleetScenario()
    scenario.add_verified(1)
    checkpoint = dict(scenario.tagged.tags(arn(1)))["privatelink-sync:checkpoint"]
    scenario.change_address(1, B)
    scenario.sweep()
    assert scenario.queue.sent[0] == SyncWorkItem(
        binding(1), checkpoint, WorkReason.ADDRESSES_CHANGED
    )


def test_sends_nothing_and_does_not_wait_without_work() -> None:
    scenario = FleetScenario()
    cursor = write_cursor(AuditCursor(arn(1), NOW), KEY)
    scenario.add_verified(1)
    scenario.tagged.tag(arn(1), AUDIT_CURSOR_TAG, cursor)
    result = scenario.sweep()
    assert scenario.queue.sent == []
    assert result.seconds == 0.0


@pytest.mark.parametrize("groups", [1, BATCH])
def test_ends_right_after_the_last_batch(groups: int) -> None:
    scenario = FleetScenario()
    scenario.add(*range(groups))
    result = scenario.sweep()
    assert (result.count(WorkReason.UNVERIFIED), result.seconds) == (groups, 0.0)


def test_work_that_is_not_urgent_never_fills_the_queue() -> None:
    scenario = FleetScenario()
    scenario.add(*range(100))
    seen = list[int]()
    scenario.clock.every_tick(lambda: seen.append(scenario.queue.queue.waiting))
    scenario.work(2)
    scenario.sweep()
    assert max(seen) < 2 * BATCH
    assert sorted(scenario.sent(WorkReason.UNVERIFIED)) == sorted(arns(*range(100)))


def test_a_large_fleet_has_more_batches_queued_so_that_no_worker_is_idle() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(3_000))
    seen = list[int]()
    scenario.clock.every_tick(lambda: seen.append(scenario.queue.queue.waiting))
    # The workers are slower than the share, so the sweep limits the queue.
    scenario.work(1)
    result = scenario.sweep()
    portions = min(math.ceil(200 / WORK_PER_BATCH), MAX_BATCHES)
    assert portions * BATCH <= max(seen) < (portions + 1) * BATCH
    assert result.count(WorkReason.AUDIT) < 200


def test_sends_no_faster_than_the_share_allows_whatever_sqs_counts() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(1_000))
    scenario.queue.count = lambda: 0  # type: ignore[method-assign]
    sent, send = list[float](), scenario.queue.send

    def noted(work_items: Sequence[WorkItem], at: float) -> None:
        send(work_items, at)
        sent.extend(at for work_item in work_items if isinstance(work_item, SyncWorkItem))

    scenario.queue.send = noted  # type: ignore[method-assign]
    scenario.sweep()
    assert len(sent) == 67
    for count, at in enumerate(sent):
        assert count <= (at - NOW) * 10 * 0.5 + BATCH


def test_audits_wait_until_the_workers_have_finished_a_storm() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(200))
    for number in range(80):
        scenario.change_address(number, B)
    waiting = list[int]()
    send = scenario.queue.send

    def watched(work_items: Sequence[WorkItem], at: float) -> None:
        if any(isinstance(it, SyncWorkItem) and it.reason is WorkReason.AUDIT for it in work_items):
            waiting.append(scenario.queue.queue.waiting)
        send(work_items, at)

    scenario.queue.send = watched  # type: ignore[method-assign]
    scenario.work(1)
    scenario.sweep()
    assert waiting
    assert max(waiting) < BATCH


def test_alternates_between_unverified_groups_and_audits() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(600))
    scenario.add(*range(600, 700))
    scenario.sweep()
    # Without workers the sweep sends only one batch.
    sent = [it.reason for it in scenario.queue.sent if isinstance(it, SyncWorkItem)][:BATCH]
    assert Counter(sent) == {
        WorkReason.UNVERIFIED: BATCH // 2,
        WorkReason.AUDIT: BATCH // 2,
    }


def test_unverified_groups_get_work_in_round_robin() -> None:
    scenario = FleetScenario()
    scenario.add(*range(600))
    # Workers carry them out, but the groups are never in sync.
    scenario.verify = lambda work_item: None  # noqa: ARG005 - a work item
    scenario.work(5)
    for _ in range(3):
        scenario.sweep()
    sent = Counter(scenario.sent(WorkReason.UNVERIFIED))
    assert set(sent) == set(arns(*range(600)))
    assert max(sent.values()) <= 2


def test_work_items_that_wait_for_a_retry_delay_no_others() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(300))
    for number in range(300, 320):
        scenario.queue.send([SyncWorkItem(binding(number), "", WorkReason.UNVERIFIED)], NOW)
    for _ in range(2):
        # They fail, and are invisible until their retry.
        assert len(scenario.queue.queue.receive(10)) == 10
    scenario.work(2)
    result = scenario.sweep()
    assert result.queued == 20
    assert result.count(WorkReason.AUDIT) == 20
    assert len(scenario.done) == 20 + len(cursors(scenario))


def test_audits_all_other_groups_in_time_whatever_the_number_of_failing_ones() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(500))
    count = scenario.queue.count
    # The work items of failing groups alone would use up the capacity.
    scenario.queue.count = lambda: count() + CAPACITY.groups  # type: ignore[method-assign]
    scenario.work(5)
    for _ in range(17):
        scenario.sweep()
    assert set(scenario.sent(WorkReason.AUDIT)) == set(arns(*range(500)))


def test_counts_no_work_item_as_stalled_while_others_finish() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(300))
    for number in range(300, 400):
        scenario.queue.send([SyncWorkItem(binding(number), "", WorkReason.UNVERIFIED)], NOW)
    # One in less than STALLED_SECONDS: after 50 s the queue is still too long.
    for seconds in range(0, 60, int(STALLED_SECONDS) - 1):
        scenario.clock.at(NOW + seconds + 0.5, lambda: scenario.carry_out(1))
    assert scenario.sweep().count(WorkReason.AUDIT) == 0


# --- Time -----------------------------------------------------------------------------------------


def test_ends_in_time_and_the_next_sweep_continues_where_it_stopped() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(450))
    # One work item in six seconds, which is too slow for the 30 audits of a minute.
    slow = iter(range(10**6))
    scenario.clock.every_tick(lambda: scenario.carry_out(1) if next(slow) % 12 == 0 else None)
    first = scenario.sweep()
    assert first.seconds <= SWEEP_TIMEOUT - RESERVE_SECONDS + 1.0
    assert 0 < first.count(WorkReason.AUDIT) < 30
    assert first.postponed == 30 - first.count(WorkReason.AUDIT)
    (cursor,) = cursors(scenario)
    assert cursor is not None
    assert cursor.arn == first.work[-1].binding.arn
    scenario.carry_out(100)
    for _ in range(60):
        scenario.carry_out(100)
        scenario.sweep()
    audits = Counter(scenario.sent(WorkReason.AUDIT))
    assert set(audits) == set(arns(*range(450)))
    assert max(audits.values()) - min(audits.values()) <= 1


def test_sends_only_changed_groups_without_time() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(30))
    scenario.change_address(1, B)
    result = scenario.sweeper.run(SCHEDULED, remaining_seconds=RESERVE_SECONDS)
    assert [it.reason for it in result.work] == [WorkReason.ADDRESSES_CHANGED]


# --- Findings -------------------------------------------------------------------------------------


def test_reports_invalid_tags_and_follows_all_other_groups() -> None:
    scenario = FleetScenario()
    scenario.add(*range(6))
    scenario.tagged.tag(arn(1), KIND_TAG, "nonsense")
    del scenario.facts.known[arn(2)]
    scenario.dns.set_failure(name(3), LookupFailure.NAME_DOES_NOT_EXIST)
    scenario.facts.known[arn(4)] = replace(FACTS, has_ip_targets=False)
    scenario.work(5)
    result = scenario.sweep()
    assert {finding.arn: finding.code for finding in result.findings} == {
        arn(1): FindingCode.INVALID_KIND,
        arn(2): FindingCode.NOT_FOUND,
        arn(3): FindingCode.LOOKUP_FAILED,
        arn(4): FindingCode.WRONG_TARGET_TYPE,
    }
    assert result.bound == 3
    assert sorted(scenario.sent(WorkReason.UNVERIFIED)) == arns(0, 5)


def test_describes_all_groups_in_one_call_and_rarely() -> None:
    scenario = FleetScenario()
    scenario.add_verified(1, 2)
    for _ in range(int(FACTS_SECONDS / 60)):
        scenario.sweep()
    assert scenario.facts.calls == [frozenset(arns(1, 2))]
    scenario.sweep()
    assert scenario.facts.calls == [frozenset(arns(1, 2))] * 2


def test_describes_a_new_group_at_once_and_ignores_a_missing_one() -> None:
    scenario = FleetScenario()
    scenario.add_verified(1, 2)
    scenario.sweep()
    scenario.tagged.untag(arn(2), ENDPOINT_TAG)
    scenario.sweep()
    assert len(scenario.facts.calls) == 1
    scenario.add(3)
    scenario.sweep()
    assert scenario.facts.calls[1:] == [frozenset(arns(1, 3))]


def test_describes_a_group_that_elb_does_not_know_again_after_some_minutes() -> None:
    scenario = FleetScenario()
    scenario.add(1)
    del scenario.facts.known[arn(1)]
    for _ in range(int(NOT_FOUND_SECONDS / 60)):
        (finding,) = scenario.sweep().findings
        assert finding.code is FindingCode.NOT_FOUND
    assert len(scenario.facts.calls) == 1
    scenario.facts.known[arn(1)] = FACTS
    assert scenario.sweep().findings == ()


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [
        lambda scenario, error: scenario.tagged.faults.plan(error),
        lambda scenario, error: scenario.facts.faults.plan(error),
        lambda scenario, error: scenario.queue.queue.faults.plan(error),
    ],
    ids=["listing", "facts", "waiting"],
)
@pytest.mark.parametrize("error", [THROTTLED, DENIED])
def test_a_failed_call_ends_the_sweep_before_it_sends_work(
    plan: Callable[[FleetScenario, AwsCallError], None], error: AwsCallError
) -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(30))
    scenario.change_address(1, B)
    plan(scenario, error)
    with pytest.raises(AwsCallError) as raised:
        scenario.sweep()
    assert raised.value is error
    assert scenario.queue.sent == []
    assert scenario.reporter.all == []
    scenario.work(5)
    assert scenario.sweep().count(WorkReason.ADDRESSES_CHANGED) == 1
    # The next sweep catches up on the missed audit, beside the group of the last work item.
    assert len(scenario.sent(WorkReason.AUDIT)) == 2


def test_a_queue_that_refuses_work_items_costs_one_minute() -> None:
    scenario = FleetScenario()
    scenario.add_verified(*range(300))
    for number in range(20):
        scenario.change_address(number, B)
    send, calls = scenario.queue.queue.send, iter(range(10**6))

    def failing(*args: str, **kwargs: str) -> None:
        if next(calls) == 25:
            raise THROTTLED
        send(*args, **kwargs)

    scenario.queue.queue.send = failing  # type: ignore[method-assign]
    scenario.work(5)
    with pytest.raises(AwsUnavailableError):
        scenario.sweep()
    assert cursors(scenario) == []
    for _ in range(16):
        scenario.sweep()
    assert (
        len(set(scenario.sent(WorkReason.AUDIT)) | set(scenario.sent(WorkReason.ADDRESSES_CHANGED)))
        == 300
    )
    assert {it.arn for it in scenario.done if isinstance(it, SyncWorkItem)} == set(
        arns(*range(300))
    )


faults = st.sampled_from(["listing", "facts", "queue", "none", "none"])


@settings(max_examples=30)
@given(
    st.lists(st.tuples(faults, st.integers(0, 9)), max_size=12),
    st.sets(st.integers(0, 39)),
    st.integers(1, 5),
    st.sampled_from([0.0, 5.0, 45.0]),
)
def test_every_group_is_in_sync_two_sweeps_after_the_last_failure(
    events: list[tuple[str, int]], moved: set[int], rate_limiter: int, lag: float
) -> None:
    scenario = FleetScenario(lag)
    scenario.add_verified(*range(40))
    scenario.work(rate_limiter)
    for number, (fault, mover) in enumerate(events):
        scenario.tagged.faults, scenario.facts.faults = Faults(), Faults()
        places = {
            "listing": scenario.tagged.faults,
            "facts": scenario.facts.faults,
            "queue": scenario.queue.queue.faults,
        }
        if fault in places:
            places[fault].plan(THROTTLED)
        scenario.change_address(mover, B if number % 2 else A)
        try:
            scenario.sweep()
        except AwsUnavailableError:
            assert fault != "none"
    scenario.facts.faults = Faults()
    for number in moved:
        scenario.change_address(number, B)
    for _ in range(2):
        scenario.sweep()
    scenario.clock.advance(60.0)
    result = scenario.sweeper.run(DRY, remaining_seconds=SWEEP_TIMEOUT)
    assert result.count(WorkReason.ADDRESSES_CHANGED) == result.count(WorkReason.UNVERIFIED) == 0
    assert result.findings == ()


# --- Dry runs and results -------------------------------------------------------------------------


def test_a_dry_run_lists_its_work_and_sends_none() -> None:
    scenario = FleetScenario()
    scenario.add_verified(1)
    scenario.add(2)
    scenario.change_address(1, B)
    document = scenario.sweep(DRY).to_document()
    assert scenario.queue.sent == []
    assert document["work"] == [
        {"arn": arn(1), "reason": "addresses_changed"},
        {"arn": arn(2), "reason": "unverified"},
    ]
    assert document["dry_run"] is True


def test_the_result_counts_the_work_and_lists_the_findings() -> None:
    scenario = FleetScenario()
    scenario.add(*range(3))
    scenario.tagged.tag(arn(1), KIND_TAG, "nonsense")
    scenario.work(5)
    document = json.loads(json.dumps(scenario.sweep().to_document()))
    assert document["trigger"] == {"kind": "schedule"}
    assert document["groups"] == {
        "bound": 2,
        "with_findings": 1,
        "changed": 0,
        "unverified": 2,
        "audited": 0,
        "postponed": 0,
    }
    (finding,) = document["findings"]
    assert (finding["arn"], finding["code"]) == (arn(1), "invalid_kind")
    assert "nonsense" in finding["detail"]
    assert "work" not in document


@pytest.mark.usefixtures("_powertools")
@pytest.mark.parametrize(("kind", "level"), [("rds-instance", "INFO"), ("nonsense", "WARNING")])
def test_logs_the_result_and_publishes_the_metrics(
    capsys: pytest.CaptureFixture[str], kind: str, level: str
) -> None:
    scenario = FleetScenario()
    scenario.add(1, 2)
    scenario.tagged.tag(arn(1), KIND_TAG, kind)
    scenario.work(5)
    result = scenario.sweep()

    PowertoolsReporter().report(result)

    checkpoint, metrics = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert checkpoint["level"] == level
    assert checkpoint["result"] == json.loads(json.dumps(result.to_document()))
    assert {name: metrics[name] for name in metrics if name[0] in "GS"} == {
        "SweepSucceeded": [1],
        "GroupsBound": [result.bound],
        "GroupsWithFindings": [int(kind == "nonsense")],
        "GroupsChanged": [0],
        "GroupsUnverified": [result.bound],
        "GroupsAudited": [0],
        "GroupsPostponed": [0],
    }


@pytest.mark.usefixtures("_powertools")
def test_splits_many_findings_into_several_log_events(capsys: pytest.CaptureFixture[str]) -> None:
    scenario = FleetScenario()
    result = replace(
        scenario.sweep(),
        findings=tuple(
            Finding(arn(n), FindingCode.NOT_FOUND, "gone")
            for n in range(2 * FINDINGS_PER_RECORD + 1)
        ),
    )

    PowertoolsReporter().report(result)

    *checkpoints, metrics = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    message = [
        finding["arn"] for checkpoint in checkpoints for finding in checkpoint["result"]["findings"]
    ]
    assert message == [finding.arn for finding in result.findings]
    assert len(checkpoints) == 3
    assert metrics["GroupsWithFindings"] == [len(message)]


@pytest.mark.usefixtures("_powertools")
def test_a_dry_run_publishes_no_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    PowertoolsReporter().report(FleetScenario().sweep(DRY))
    (line,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert line["result"]["dry_run"] is True


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
    scenario = FleetScenario()
    scenario.add(1)
    monkeypatch.setattr(app, "sweeper", {FUNCTION: scenario.sweeper}.__getitem__)
    document = app.handler(event, context(SWEEP_TIMEOUT, FUNCTION))
    assert document["trigger"] == {"kind": kind}
    assert scenario.sent(WorkReason.UNVERIFIED) == ([] if dry_run else arns(1))
    assert document == scenario.reporter.all[0].to_document()


@pytest.mark.parametrize(
    ("event", "message"),
    [([], "JSON object"), ({"dry_run": "yes"}, "dry_run"), ({"dryrun": True}, "dryrun")],
)
def test_rejects_any_other_sweep_trigger(
    monkeypatch: pytest.MonkeyPatch, event: object, message: str
) -> None:
    scenario = FleetScenario()
    monkeypatch.setattr(app, "sweeper", {FUNCTION: scenario.sweeper}.__getitem__)
    with pytest.raises(TriggerError, match=message):
        app.handler(event, context(SWEEP_TIMEOUT, FUNCTION))
    assert scenario.tagged.listings == 0


@pytest.mark.usefixtures("_powertools")
def test_builds_the_sweeper_once_per_container_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep_build.sweeper.cache_clear()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(SettingsError, match="SIGNING_KEY"):
        sweep_build.sweeper(FUNCTION)
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    ours = sweep_build.sweeper(FUNCTION)
    assert ours is sweep_build.sweeper(FUNCTION)
    assert ours.groups.scope == AwsScope("aws", "eu-west-1", "123456789012")
    assert ours.key.verifies(KEY.sign(["a part"]), ["a part"])
    assert ours.share == 0.5


@pytest.mark.usefixtures("_powertools")
def test_builds_the_readers_endpoint_with_the_identifier_of_the_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    lookups = sweep_build.build_sweeper(ENVIRONMENT, FUNCTION).lookups
    assert isinstance(lookups, NameLookups)
    readers = lookups.readers("orders.cluster-ro-abc.eu-west-1.rds.amazonaws.com")
    assert isinstance(readers, ClusterReadersEndpoint)
    assert readers.cluster.identifier == "orders"
    assert readers.name == "orders.cluster-ro-abc.eu-west-1.rds.amazonaws.com"
