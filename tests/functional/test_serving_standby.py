"""A serving standby: it stays registered, so that the load balancer switches to it itself."""

from collections import Counter
from dataclasses import replace

import pytest

from target_sync.errors import ObservationError
from target_sync.model import LookupFailure, RunStatus
from target_sync.reconcile.planner import Reason
from target_sync.reconcile.result import SyncResult
from tests.support.scenario import EVENT, POLICY, SCHEDULE, A, B, C, Scenario, target
from tests.support.scenarios import TARGETS_CHANGED, outcome
from tests.support.standbys import FakeStandbys

SERVING_STANDBY = replace(POLICY, serving_standby=True)


class Pair(Scenario):
    """An instance at A whose standby has the address B."""

    def __init__(self, *registered: object) -> None:
        self.interfaces = FakeStandbys(A, B)
        super().__init__(
            *registered,
            addresses=[A],
            listening=[A],
            policy=SERVING_STANDBY,
            standbys=self.interfaces,
        )


@outcome("Failover to a serving standby", refused=9.5)
def test_the_load_balancer_switches_to_a_serving_standby_without_a_change() -> Scenario:
    scenario = Pair(A, B)
    scenario.fail_over(B)

    result = scenario.run(EVENT)

    assert result.status is RunStatus.IN_SYNC
    assert result.run.healthy
    assert _reason(result, A) is Reason.STANDBY
    assert not scenario.changes
    return scenario


@outcome(
    "Failover to a standby that was not registered yet, and failback",
    refused=103,
    metrics=("TargetsRegistered",),
)
def test_the_former_primary_stays_registered_for_a_failback() -> Scenario:
    scenario = Pair(A)
    scenario.fail_over(B)
    assert scenario.run(EVENT).status is RunStatus.SYNCED
    assert scenario.client.refused == 94.5  # the registration

    scenario.fail_over(A)
    assert scenario.run(EVENT).run.healthy

    assert scenario.changes == [("RegisterTargets", (str(target(B)),))]
    return scenario


@outcome(
    "Failover to a serving standby; RDS replaces the host of the former primary",
    refused=9.5,
    metrics=("TargetsDeregistered",),
)
def test_removes_an_address_that_no_longer_belongs_to_the_database() -> Scenario:
    scenario = Pair(A, B)
    scenario.fail_over(B)
    assert scenario.run(EVENT).status is RunStatus.IN_SYNC
    scenario.interfaces.owned = {B, C}

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.changes == [("DeregisterTargets", (str(target(A)),))]
    assert [c.reason for c in result.run.deregistered] == [Reason.ABSENCE_CONFIRMED]
    return scenario


@outcome(
    "Failover to a serving standby; the standby check fails",
    refused=9.5,
    metrics=("SyncUnfinished",),
)
def test_a_failed_standby_check_keeps_the_former_primary() -> Scenario:
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
    "Blue/green switchover with a serving standby; the former primary keeps accepting connections",
    refused=74.5,
    misrouted=20,
    metrics=TARGETS_CHANGED,
)
def test_a_healthy_former_primary_is_removed_after_the_grace_period() -> Scenario:
    scenario = Pair(A)
    scenario.fail_over(B)
    scenario.set_listening(A, B)

    result = scenario.follow(EVENT)

    assert [c.reason for c in result.run.deregistered] == [Reason.NOT_A_STANDBY]
    call_times = {
        op: at
        for (op, _), at in zip(scenario.group.history, scenario.group.call_times, strict=True)
    }
    assert call_times["DeregisterTargets"] - scenario.started_at == 20
    return scenario


@outcome("Failover to a serving standby; the name changes 30 s after the promotion", refused=9.5)
def test_a_late_name_removes_nothing() -> Scenario:
    scenario = Pair(A, B)
    scenario.promote(B)
    scenario.after(30, lambda: scenario.endpoint.set_addresses(B))

    result = scenario.run(EVENT)

    assert result.run.healthy
    assert not scenario.changes
    return scenario


def test_a_group_without_undesired_targets_makes_no_standby_check() -> None:
    scenario = Pair(A)

    assert scenario.run(SCHEDULE).status is RunStatus.IN_SYNC

    assert scenario.interfaces.checks == []
    assert scenario.group.calls == Counter(DescribeTargetHealth=1)


def test_a_run_in_sync_checks_the_standby_once() -> None:
    scenario = Pair(A, B)

    assert scenario.run(SCHEDULE).status is RunStatus.IN_SYNC

    assert scenario.interfaces.checks == [{B}]
    assert scenario.group.calls == Counter(DescribeTargetHealth=1)


def test_a_failed_observation_makes_no_standby_check() -> None:
    scenario = Pair(A, B)
    scenario.endpoint.set_failure(LookupFailure.TIMED_OUT)

    with pytest.raises(ObservationError):
        scenario.run(SCHEDULE)

    assert scenario.interfaces.checks == []


def test_a_dns_poll_makes_no_standby_check() -> None:
    scenario = Pair(A, B)

    result = scenario.run(EVENT)

    assert result.run.dns_polls > len(scenario.interfaces.checks) == result.run.iterations


def _reason(result: SyncResult, address: object) -> Reason:
    assert result.run.plan is not None
    (change,) = [c for c in result.run.plan.changes if c.target == target(address)]
    return change.reason
