"""A scheduled run that polls DNS until the next one is due (DnsPollIntervalSeconds)."""

from collections import Counter
from itertools import pairwise

import pytest

from target_sync.errors import ObservationError
from target_sync.model import FailedObservation, LookupFailure, Observation, RunStatus
from target_sync.reconcile.reconciler import SCHEDULE_SECONDS
from target_sync.reconcile.triggers import SyncTrigger
from tests.support.scenario import EVENT, MANUAL, SCHEDULE, A, B, Scenario, target
from tests.support.scenarios import CHANGED_AFTER_FAILURES, TARGETS_CHANGED, outcome

DNS_POLL_INTERVAL_SECONDS = 5.0


@pytest.fixture
def scenario() -> Scenario:
    return Scenario(A, dns_poll_seconds=DNS_POLL_INTERVAL_SECONDS)


@outcome(
    "Failover; every event is lost, the scheduled run polls every 5 s",
    refused=98,
    metrics=TARGETS_CHANGED,
)
def test_dns_polls_find_a_failover_without_an_event() -> Scenario:
    scenario = Scenario(A, dns_poll_seconds=DNS_POLL_INTERVAL_SECONDS)
    scenario.after(2, lambda: scenario.fail_over(B))

    result = scenario.follow(SCHEDULE)

    assert result.seconds["to_detect"] == result.seconds["to_register"] == 5
    return scenario


@outcome(
    "Failover; every event is lost, and DNS fails for 20 s during a polling run",
    refused=117,
    metrics=CHANGED_AFTER_FAILURES,
)
def test_a_polling_run_retries_after_dns_failures() -> Scenario:
    scenario = Scenario(A, dns_poll_seconds=DNS_POLL_INTERVAL_SECONDS)
    scenario.after(2, lambda: scenario.fail_over(B))
    scenario.after(3, lambda: scenario.endpoint.set_failure(LookupFailure.SERVERS_FAILED))
    scenario.after(23, lambda: scenario.endpoint.set_addresses(B))

    result = scenario.follow(SCHEDULE)

    assert result.run.failures == 6  # at 5, 6, 8, 12, 16, 20 s
    return scenario


def test_a_polling_run_in_sync_makes_one_aws_call_and_a_query_for_each_poll(
    scenario: Scenario,
) -> None:
    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert scenario.group.calls == Counter(DescribeTargetHealth=1)
    assert (result.run.iterations, result.run.dns_polls) == (1, 12)
    assert scenario.endpoint.queries == 13


def test_a_polling_run_ends_at_most_one_poll_after_the_next_run_is_due(scenario: Scenario) -> None:
    scenario.run(SCHEDULE)

    assert SCHEDULE_SECONDS <= scenario.elapsed <= SCHEDULE_SECONDS + DNS_POLL_INTERVAL_SECONDS


def test_late_scheduled_runs_leave_no_gap_between_polls(scenario: Scenario) -> None:
    observed_at: list[float] = []
    observe = scenario.endpoint.observe

    def observe_and_record() -> Observation | FailedObservation:
        observed_at.append(scenario.clock.now())
        return observe()

    scenario.endpoint.observe = observe_and_record  # type: ignore[method-assign]

    scenario.run_concurrently(
        *((minute * SCHEDULE_SECONDS + 1.5, scenario.run_in_steps(SCHEDULE)) for minute in range(3))
    )

    observed_at.sort()
    pauses = [later - earlier for earlier, later in pairwise(observed_at)]
    assert max(pauses) <= DNS_POLL_INTERVAL_SECONDS


@pytest.mark.parametrize("trigger", [EVENT, MANUAL])
def test_only_a_scheduled_run_polls_dns(scenario: Scenario, trigger: SyncTrigger) -> None:
    without = Scenario(A)
    for each in (scenario, without):
        each.run(trigger)

    assert scenario.elapsed == without.elapsed


def test_a_failover_in_the_last_seconds_of_polling_is_completed(scenario: Scenario) -> None:
    scenario.after(59, lambda: scenario.fail_over(B))

    result = scenario.follow(SCHEDULE)

    assert result.run.healthy


def test_polling_continues_after_a_change() -> None:
    scenario = Scenario(A, dns_poll_seconds=DNS_POLL_INTERVAL_SECONDS, registration_seconds=0)
    scenario.after(3, lambda: scenario.fail_over(B))
    scenario.after(40, lambda: scenario.fail_over(A))

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(A))}
    assert len(scenario.changes) == 4


def test_polling_that_ends_with_failures_is_an_error(scenario: Scenario) -> None:
    scenario.after(30, lambda: scenario.endpoint.set_failure(LookupFailure.TIMED_OUT))

    with pytest.raises(ObservationError):
        scenario.run(SCHEDULE)

    assert scenario.registered == {str(target(A))}
    assert scenario.elapsed >= SCHEDULE_SECONDS - DNS_POLL_INTERVAL_SECONDS


def test_polling_ends_with_the_time_of_the_function(scenario: Scenario) -> None:
    assert scenario.run(SCHEDULE, remaining_seconds=45).status is RunStatus.IN_SYNC
    assert scenario.elapsed <= 30
