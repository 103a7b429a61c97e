"""A standby that stays registered, so that the load balancer switches to it by itself."""

from collections import Counter
from dataclasses import replace

import pytest

from target_sync.errors import ObservationError
from target_sync.model import LookupFailure, RunStatus
from target_sync.reconcile.planner import Reason
from target_sync.reconcile.result import SyncResult
from tests.support.scenario import EVENT, POLICY, SCHEDULE, A, B, C, Scenario, target
from tests.support.scenarios import FROM_A_TO_B, TARGETS_CHANGED, outcome
from tests.support.standbys import FakeStandbys

KEEPS = replace(POLICY, serving_standby=True)


class Pair(Scenario):
    """An instance at A with its standby, and what RDS says of its addresses."""

    def __init__(self, *registered: object) -> None:
        self.interfaces = FakeStandbys(A, B)
        super().__init__(
            *registered, addresses=[A], listening=[A], policy=KEEPS, standbys=self.interfaces
        )


@outcome("Failover onto a standby that is kept in the group", refused=9.5)
def test_onto_a_kept_standby_the_load_balancer_switches_by_itself() -> Scenario:
    scenario = Pair(A, B)
    scenario.fail_over(B)

    result = scenario.run(EVENT)

    assert result.status is RunStatus.IN_SYNC
    assert result.run.healthy
    assert _reason(result, A) is Reason.STANDBY
    assert not scenario.changes
    return scenario


@outcome(
    "Failover; the standby was never in the group, and the former primary stays in it",
    refused=103,
    metrics=("TargetsRegistered",),
)
def test_the_former_primary_stays_and_is_there_when_the_database_fails_back() -> Scenario:
    scenario = Pair(A)
    scenario.fail_over(B)
    assert scenario.run(EVENT).status is RunStatus.SYNCED
    assert scenario.client.refused == 94.5  # the load balancer takes in what it did not know

    scenario.fail_over(A)
    assert scenario.run(EVENT).run.healthy

    assert scenario.changes == [("RegisterTargets", (str(target(B)),))]
    return scenario


@outcome(
    "Failover onto a kept standby; the host of the former primary is replaced by another",
    refused=9.5,
    metrics=("TargetsDeregistered",),
)
def test_an_address_that_is_not_the_databases_any_more_leaves() -> Scenario:
    scenario = Pair(A, B)
    scenario.fail_over(B)
    assert scenario.run(EVENT).status is RunStatus.IN_SYNC
    scenario.interfaces.owned = {B, C}

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.changes == [("DeregisterTargets", (str(target(A)),))]
    assert [v.reason for v in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]
    return scenario


@outcome(
    "Failover onto a kept standby; nobody can say whose the former address is",
    refused=9.5,
    metrics=("SyncUnfinished",),
)
def test_without_an_answer_of_the_api_the_former_address_stays_and_the_run_says_so() -> Scenario:
    scenario = Pair(A, B)
    scenario.fail_over(B)
    scenario.interfaces.failure = "DescribeNetworkInterfaces failed with Throttling."
    scenario.clock.advance(15)

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.UNFINISHED
    assert _reason(result, A) is Reason.STANDBY_CHECK_FAILED
    assert not scenario.changes
    return scenario


@outcome(
    "Blue/green switchover of an instance with a kept standby: the former primary still answers",
    refused=74.5,
    misrouted=20,
    metrics=TARGETS_CHANGED,
)
def test_a_former_primary_that_goes_on_answering_leaves_after_a_grace() -> Scenario:
    scenario = Pair(A)
    scenario.fail_over(B)
    scenario.set_listening(A, B)

    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert scenario.changes == FROM_A_TO_B
    assert [v.reason for v in result.run.deregistered] == [Reason.NOT_A_STANDBY]
    moments = {
        op: at
        for (op, _), at in zip(scenario.group.history, scenario.group.call_times, strict=True)
    }
    assert moments["DeregisterTargets"] - scenario.started_at == 20
    return scenario


@outcome(
    "Failover with a kept standby; the name moves 30 s after the standby was promoted", refused=9.5
)
def test_a_right_target_is_not_removed_while_the_name_is_late() -> Scenario:
    scenario = Pair(A, B)
    scenario.promote(B)
    scenario.after(30, lambda: scenario.endpoint.set_addresses(B))

    result = scenario.run(EVENT)

    assert result.run.healthy
    assert not scenario.changes
    return scenario


def test_a_group_without_a_former_target_asks_nobody() -> None:
    scenario = Pair(A)

    assert scenario.run(SCHEDULE).status is RunStatus.IN_SYNC

    assert scenario.interfaces.checks == []
    assert scenario.group.calls == Counter(DescribeTargetHealth=1)


def test_a_steady_run_with_a_standby_asks_once_about_it_alone() -> None:
    scenario = Pair(A, B)

    assert scenario.run(SCHEDULE).status is RunStatus.IN_SYNC

    assert scenario.interfaces.checks == [{B}]
    assert scenario.group.calls == Counter(DescribeTargetHealth=1)


def test_a_look_that_saw_no_answer_asks_nobody() -> None:
    scenario = Pair(A, B)
    scenario.endpoint.set_failure(LookupFailure.TIMED_OUT)

    with pytest.raises(ObservationError):
        scenario.run(SCHEDULE)

    assert scenario.interfaces.checks == []


def test_between_two_looks_nobody_is_asked() -> None:
    scenario = Pair(A, B)

    result = scenario.run(EVENT)

    assert result.run.dns_polls > len(scenario.interfaces.checks) == result.run.iterations


def _reason(result: SyncResult, address: object) -> Reason:
    assert result.run.plan is not None
    (verdict,) = [v for v in result.run.plan.changes if v.target == target(address)]
    return verdict.reason
