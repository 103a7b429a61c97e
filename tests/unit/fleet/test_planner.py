"""Planning a sweep."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from target_sync.fleet.checkpoints import AuditCursor, write_cursor
from target_sync.fleet.model import FindingCode, ListedGroup, WorkReason
from target_sync.fleet.planner import (
    AUDIT_SECONDS,
    SWEEP_SECONDS,
    RoundRobin,
    SweepCapacity,
    SweepPlan,
    endpoint_keys,
    newest_cursor,
    plan_sweep,
)
from target_sync.model import DatabaseKind, FailedObservation, LookupFailure
from tests.unit.fleet.builders import (
    KEY,
    A,
    B,
    arn,
    binding,
    observations,
    unverified,
    verified,
)

NOW = 1_732_300_020.0
CAPACITY = SweepCapacity.of()


def sweep(
    groups: Sequence[ListedGroup], *, cursor: AuditCursor | None = None, now: float = NOW
) -> SweepPlan:
    return plan_sweep(
        groups, observations(*groups), key=KEY, cursor=cursor, capacity=CAPACITY, now=now
    )


def of(result: SweepPlan, reason: WorkReason) -> list[str]:
    return [work.binding.arn for work in result.work if work.reason is reason]


def arns(numbers: Iterable[int]) -> set[str]:
    return {arn(number) for number in numbers}


def test_half_of_the_accounts_calls_describe_275_groups_per_minute() -> None:
    assert SweepCapacity(275) == CAPACITY
    assert CAPACITY.reserved == 68


def test_rejects_a_capacity_that_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="at least 4 groups"):
        SweepCapacity(3)


def test_queued_work_items_reduce_the_capacity_but_never_to_zero() -> None:
    assert CAPACITY.minus(0) == CAPACITY
    assert CAPACITY.minus(75) == SweepCapacity(200)
    assert CAPACITY.minus(272) == CAPACITY.minus(10_000) == SweepCapacity(4)


def test_a_fleet_above_the_capacity_has_a_longer_audit() -> None:
    assert CAPACITY.audit_seconds(1_000) == AUDIT_SECONDS
    assert CAPACITY.audit_seconds(5_000) == 74 * SWEEP_SECONDS


def test_an_empty_fleet_needs_no_work() -> None:
    assert sweep([]) == SweepPlan((), 0, (), (None,))


def test_plans_work_for_a_group_whose_addresses_changed() -> None:
    assert of(sweep([verified(1, B)]), WorkReason.ADDRESSES_CHANGED) == [arn(1)]


def test_one_more_or_one_less_address_is_a_change() -> None:
    assert of(sweep([verified(1, A, B)]), WorkReason.ADDRESSES_CHANGED) == [arn(1)]


@pytest.mark.parametrize("checkpoint", ["", "garbage", verified(2).checkpoint])
def test_verifies_a_group_without_a_valid_checkpoint(checkpoint: str) -> None:
    assert of(sweep([ListedGroup(binding(1), checkpoint, "")]), WorkReason.UNVERIFIED) == [arn(1)]


def test_a_failed_observation_causes_a_finding_and_no_work() -> None:
    groups = [verified(1), verified(2, B), unverified(3)]
    failed = FailedObservation(
        name="a name", failure=LookupFailure.TIMED_OUT, detail="No reply.", at=0.0
    )
    (endpoint_key,) = endpoint_keys(groups[1:2])
    result = plan_sweep(
        groups,
        {**observations(*groups), endpoint_key: failed},
        key=KEY,
        cursor=None,
        capacity=CAPACITY,
        now=NOW,
    )
    (finding,) = result.findings
    assert (finding.arn, finding.code, finding.detail) == (
        arn(2),
        FindingCode.LOOKUP_FAILED,
        "No reply.",
    )
    assert {work.binding.arn for work in result.work} == arns([1, 3])


def test_groups_with_the_same_endpoint_share_one_look_up() -> None:
    alike = [replace(binding(n), endpoint="db.corp.example.com") for n in (1, 2, 3)]
    other = replace(alike[2], kind=DatabaseKind.HOSTNAME)
    groups = [ListedGroup(it, "", "") for it in (*alike[:2], other)]
    assert len(endpoint_keys(groups)) == 2
    assert len(sweep(groups).work) == 3


def test_plans_changed_groups_first_then_unverified_ones_then_audits() -> None:
    groups = [verified(1), unverified(2), verified(3, B), verified(4), unverified(5)]
    reasons = [
        work.reason for work in sweep(groups, cursor=AuditCursor(arn(1), NOW - AUDIT_SECONDS)).work
    ]
    assert reasons == sorted(reasons, key=list(WorkReason).index)
    assert reasons.count(WorkReason.AUDIT) == 2


def test_audits_67_of_1000_groups_per_minute() -> None:
    groups = [verified(n) for n in range(1_000)]
    result = sweep(groups, cursor=AuditCursor(arn(0), NOW - SWEEP_SECONDS))
    assert [work.reason for work in result.work] == [WorkReason.AUDIT] * 67


def test_the_first_sweep_audits_as_many_groups_as_any_other() -> None:
    assert len(sweep([verified(n) for n in range(1_000)]).work) == 67


def test_catches_up_on_a_missed_sweep() -> None:
    groups = [verified(n) for n in range(1_000)]
    assert len(sweep(groups, cursor=AuditCursor(arn(0), NOW - 2 * SWEEP_SECONDS)).work) == 134


def test_ignores_a_cursor_from_the_future() -> None:
    result = sweep([verified(1)], cursor=AuditCursor(arn(1), NOW + 1.0))
    assert result == SweepPlan((), 0, (), (None,))


def test_plans_200_changes_of_1000_groups_in_one_sweep_beside_the_audits() -> None:
    groups = [verified(n, B if n < 200 else A) for n in range(1_000)]
    result = sweep(groups, cursor=AuditCursor(arn(999), NOW - SWEEP_SECONDS))
    assert set(of(result, WorkReason.ADDRESSES_CHANGED)) == arns(range(200))
    assert result.postponed == 0


def test_reserves_capacity_for_audits_and_unverified_groups_in_a_storm() -> None:
    groups = [
        *(verified(n, B) for n in range(1_000)),
        *(unverified(n) for n in range(1_000, 1_200)),
        *(verified(n) for n in range(1_200, 4_000)),
    ]
    result = sweep(groups, cursor=AuditCursor(arn(0), NOW - 4 * SWEEP_SECONDS))
    counts = [len(of(result, reason)) for reason in WorkReason]
    assert counts == [139, 68, 68]
    assert result.postponed > 0


def test_continues_a_postponed_audit_where_it_stopped() -> None:
    groups = [verified(n) for n in range(5_000)]
    first = sweep(groups, cursor=AuditCursor(arn(0), NOW - SWEEP_SECONDS))
    assert len(first.work) == 275
    assert first.postponed == 59
    second = sweep(groups, cursor=first.cursors[-1], now=NOW + SWEEP_SECONDS)
    assert not {w.binding.arn for w in first.work} & {w.binding.arn for w in second.work}
    assert first.cursors[-1] is not None
    assert first.cursors[-1].at == pytest.approx(NOW - SWEEP_SECONDS * 59 / 334, abs=0.01)


def test_the_cursor_passes_no_audit_that_was_not_sent() -> None:
    groups = [verified(n) for n in range(1_000)]
    first = sweep(groups, cursor=AuditCursor(arn(0), NOW - SWEEP_SECONDS))
    assert len(first.cursors) == 67 + 1
    assert first.cursors[0] is None
    sent = [work.binding.arn for work in first.work[:20]]
    cursor = first.cursors[20]
    assert cursor is not None
    assert cursor.arn == sent[-1]
    second = sweep(groups, cursor=cursor, now=NOW + SWEEP_SECONDS)
    assert len(second.work) == 67 + 47
    assert [work.binding.arn for work in (*first.work, *second.work)].count(cursor.arn) == 1
    assert second.work[0] == first.work[20]


def test_the_cursor_passes_groups_that_need_work_for_another_reason() -> None:
    groups = [verified(n, B if n % 2 else A) for n in range(30)]
    result = sweep(groups, cursor=AuditCursor(arn(0), NOW - AUDIT_SECONDS))
    audits = of(result, WorkReason.AUDIT)
    assert len(audits) == 15
    assert len(result.cursors) == 15 + 1
    # The last audit completes the round.
    assert result.cursors[-1] is not None
    assert result.cursors[-1].at == NOW


def test_finds_the_newest_cursor_of_a_listing() -> None:
    groups = [
        verified(n, cursor=write_cursor(AuditCursor(arn(n), NOW - n), KEY)) for n in (3, 2, 5)
    ]
    forged = verified(1, cursor=write_cursor(AuditCursor(arn(9), NOW), KEY))
    assert newest_cursor([*groups, forged, verified(7)], KEY, NOW) == AuditCursor(arn(2), NOW - 2)
    assert newest_cursor([], KEY, NOW) is None


@settings(max_examples=4)
@given(st.integers(1, 1_020), st.integers(0, 10**6), st.integers(0, 300))
def test_audits_every_group_within_15_minutes_even_in_a_storm(
    size: int, seed: int, storm: int
) -> None:
    groups = [verified(n + seed, B if n < storm else A) for n in range(size)]
    calm = arns(n + seed for n in range(min(storm, size), size))
    cursor, seen = None, set[str]()
    sweeps = round(AUDIT_SECONDS / SWEEP_SECONDS)
    for number in range(sweeps):
        result = sweep(groups, cursor=cursor, now=NOW + number * SWEEP_SECONDS)
        assert len(of(result, WorkReason.AUDIT)) <= math.ceil(size / sweeps)
        seen |= set(of(result, WorkReason.AUDIT))
        cursor = result.cursors[-1] or cursor
    assert seen >= calm


@settings(max_examples=25)
@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.lists(st.integers(4, 12), min_size=1, max_size=4),
    st.integers(0, 10**4),
)
@example(4, 24, 18, [8], 0)
def test_every_group_gets_work_although_others_stay_broken(
    changed: int, bad: int, calm: int, capacities: list[int], start: int
) -> None:
    groups = [
        *(verified(n, B) for n in range(changed)),
        *(unverified(100 + n) for n in range(bad)),
        *(verified(200 + n) for n in range(calm)),
    ]
    cursor, seen, round_robin = None, set[str](), RoundRobin()
    # The worst case: no group is ever repaired.
    for number in range(start, start + 2 * len(groups) + 2):
        now = NOW + number * SWEEP_SECONDS
        # The capacity depends on the queued work items.
        capacity = SweepCapacity(capacities[number % len(capacities)])
        result = plan_sweep(
            groups,
            observations(*groups),
            key=KEY,
            cursor=cursor,
            capacity=capacity,
            now=now,
            round_robin=round_robin,
        )
        assert len(result.work) <= capacity.groups
        seen |= {work.binding.arn for work in result.work}
        cursor, round_robin = result.cursors[-1] or cursor, round_robin.after(result.work)
    assert seen == {group.binding.arn for group in groups}


@settings(max_examples=50)
@given(st.integers(0, 75), st.integers(0, 400), st.integers(0, 400), st.integers(0, 10**6))
def test_the_next_sweep_plans_every_change(failovers: int, bad: int, calm: int, seed: int) -> None:
    groups = [
        *(verified(seed + n, B) for n in range(failovers)),
        *(unverified(seed + 1_000 + n) for n in range(bad)),
        *(verified(seed + 2_000 + n) for n in range(calm)),
    ]
    result = sweep(groups, cursor=AuditCursor(arn(seed), NOW - AUDIT_SECONDS))
    assert len(result.work) <= CAPACITY.groups
    assert set(of(result, WorkReason.ADDRESSES_CHANGED)) == arns(range(seed, seed + failovers))
    assert [w.reason for w in result.work[:failovers]] == [WorkReason.ADDRESSES_CHANGED] * failovers
