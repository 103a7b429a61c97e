"""The behaviour of runs, besides the failure scenarios (test_failover_scenarios.py)."""

from math import inf

import pytest

from target_sync.errors import (
    AwsAccessDeniedError,
    AwsUnavailableError,
    ObservationDeniedError,
    ObservationError,
)
from target_sync.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    RunStatus,
    TargetGroup,
)
from target_sync.reconcile.planner import MOST_REQUESTS, Reason
from tests.support.scenario import (
    COMPLETED,
    EVENT,
    MANUAL,
    SCHEDULE,
    A,
    B,
    C,
    Scenario,
    target,
    throttled,
)


def test_the_group_is_described_before_the_endpoint_is_observed() -> None:
    scenario = Scenario(A)
    describe = scenario.group.describe

    def describe_while_the_name_changes() -> TargetGroup:
        described = describe()
        scenario.endpoint.set_addresses(B)
        return described

    scenario.group.describe = describe_while_the_name_changes  # type: ignore[method-assign]

    result = scenario.run(MANUAL)

    assert result.run.observations[0].addresses == {B}


def test_a_plan_that_is_too_old_for_its_change_is_made_again() -> None:
    scenario = Scenario(A)
    scenario.endpoint.set_addresses(B)
    observe = scenario.endpoint.observe

    def observe_before_the_container_is_frozen() -> Observation | FailedObservation:
        observed = observe()
        if scenario.endpoint.queries == 1:
            scenario.clock.advance(6)
            scenario.endpoint.set_addresses(C)
        return observed

    scenario.endpoint.observe = observe_before_the_container_is_frozen  # type: ignore[method-assign]

    scenario.run(MANUAL)

    assert ("RegisterTargets", (str(target(B)),)) not in scenario.changes
    assert scenario.registered == {str(target(C))}


def test_a_bug_is_raised_after_the_record_of_the_run() -> None:
    scenario = Scenario(A)
    bug = KeyError("Marker")

    def fail() -> Observation:
        raise bug

    scenario.endpoint.observe = fail  # type: ignore[method-assign]

    with pytest.raises(KeyError):
        scenario.run(SCHEDULE)

    (result,) = scenario.reporter.results
    assert result.status is RunStatus.FAILED
    assert result.to_document()["last_failure"] == "The run ended with KeyError: 'Marker'"


def test_a_run_in_sync_ends_at_once_even_if_the_target_is_unhealthy() -> None:
    scenario = Scenario(A)
    scenario.set_listening()
    scenario.clock.advance(15)

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert not result.run.healthy
    assert scenario.group.calls["DescribeTargetHealth"] == 1


def test_the_first_address_of_an_empty_group_is_registered() -> None:
    scenario = Scenario(addresses=[A])

    result = scenario.run(MANUAL)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(A))}


def test_the_group_is_described_every_six_seconds_while_nothing_changes() -> None:
    scenario = Scenario(A, watch_seconds=60)

    result = scenario.run(EVENT)

    assert result.run.iterations == scenario.group.calls["DescribeTargetHealth"] == 10
    assert result.run.dns_polls + result.run.iterations == scenario.endpoint.queries == 60


def test_a_run_after_a_completed_failover_watches_as_after_any_event() -> None:
    scenario = Scenario(A)
    scenario.after(290, lambda: scenario.fail_over(B))

    result = scenario.run(COMPLETED)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(B))}


@pytest.mark.parametrize("watch_seconds", [60, 300, 540])
def test_a_run_waits_for_health_for_five_minutes_or_until_the_end_of_its_watch(
    watch_seconds: float,
) -> None:
    scenario = Scenario(A, watch_seconds=watch_seconds)
    scenario.fail_over(B)
    scenario.set_listening()

    result = scenario.run(EVENT)

    assert result.status is RunStatus.UNHEALTHY
    assert scenario.elapsed == pytest.approx(max(300, watch_seconds), abs=1)


def test_the_five_minutes_begin_with_the_last_registration() -> None:
    scenario = Scenario(A, watch_seconds=60)
    scenario.after(50, lambda: scenario.fail_over(B))
    scenario.after(50, scenario.set_listening)

    result = scenario.run(EVENT)

    assert result.status is RunStatus.UNHEALTHY
    assert scenario.elapsed == pytest.approx(350, abs=1)


def test_a_manual_run_does_not_wait_for_health() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    began = scenario.clock.now()

    result = scenario.run(MANUAL)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(B))}
    assert scenario.clock.now() - began < 10
    # At the start, before the removal and after it.
    assert scenario.group.calls["DescribeTargetHealth"] == 3


def test_a_dry_run_returns_its_plan_and_changes_nothing() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.run(MANUAL.__class__(kind=MANUAL.kind, dry_run=True))

    assert result.status is RunStatus.DRY_RUN
    assert not scenario.changes
    document = result.to_document()
    assert [t["target"] for t in _documents(document["planned"])] == [str(target(B))]
    assert [t["target"] for t in _documents(document["on_hold"])] == [str(target(A))]


def test_a_draining_address_is_registered_again_after_the_confirm_window() -> None:
    scenario = Scenario(A)
    scenario.group.deregister_externally(target(A))

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(A))}
    assert scenario.changes == [("RegisterTargets", (str(target(A)),))]


def test_a_stale_resolver_does_not_undo_a_change() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.run(MANUAL)
    # A resolver returns the old address until the TTL of its cache expires.
    scenario.endpoint.stale = [frozenset({A})] * 5

    scenario.run(SCHEDULE)

    assert ("DeregisterTargets", (str(target(B)),)) not in scenario.changes
    assert scenario.registered == {str(target(B))}


@pytest.mark.parametrize("failure", LookupFailure)
def test_a_failed_look_up_changes_nothing_and_raises(failure: LookupFailure) -> None:
    scenario = Scenario(A)
    scenario.endpoint.set_failure(failure)

    with pytest.raises(ObservationError, match=failure.value) as raised:
        scenario.run(SCHEDULE)

    assert raised.value.retryable is (failure is not LookupFailure.ACCESS_DENIED)
    assert not scenario.changes
    assert scenario.reporter.results[-1].status is RunStatus.FAILED


def test_a_denied_observation_ends_a_watch_at_once() -> None:
    scenario = Scenario(A)
    scenario.endpoint.set_failure(LookupFailure.ACCESS_DENIED)

    with pytest.raises(ObservationDeniedError):
        scenario.run(EVENT)

    assert scenario.endpoint.queries == 1


def test_a_watch_that_ends_with_failures_raises() -> None:
    scenario = Scenario(A, watch_seconds=30)
    scenario.endpoint.set_failure(LookupFailure.SERVERS_FAILED)

    with pytest.raises(ObservationError):
        scenario.run(EVENT)

    assert scenario.registered == {str(target(A))}


@pytest.mark.parametrize("operation", ["RegisterTargets", "DeregisterTargets"])
def test_a_scheduled_run_that_detected_a_change_retries_a_throttled_call(operation: str) -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.faults[operation] = [throttled(operation)] * 3

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(B))}
    assert result.run.failures == 3


def test_a_scheduled_run_whose_call_keeps_failing_raises() -> None:
    scenario = Scenario(A, watch_seconds=60)
    scenario.fail_over(B)
    scenario.group.faults["RegisterTargets"] = [throttled("RegisterTargets")] * 1000

    with pytest.raises(AwsUnavailableError, match="ThrottlingException"):
        scenario.run(SCHEDULE)

    assert scenario.registered == {str(target(A))}
    assert "DeregisterTargets" not in scenario.group.calls
    # The pause doubles up to 4 s: 0, 1, 3, 7, 11 ... 59 s.
    assert scenario.group.calls["RegisterTargets"] == 17


def test_a_failed_registration_prevents_the_removals_of_its_plan() -> None:
    scenario = Scenario(A, B, addresses=[A])
    scenario.group.deregister_externally(target(A))
    # Both changes are due in one plan: the return of A, and the removal of B.
    scenario.group.faults["RegisterTargets"] = [throttled("RegisterTargets")] * 100

    with pytest.raises(AwsUnavailableError):
        scenario.run(SCHEDULE, remaining_seconds=60)

    assert {operation for operation, _ in scenario.changes} == {"RegisterTargets"}
    assert str(target(B)) in scenario.registered


def test_an_error_that_is_not_retryable_ends_a_watch_at_once() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.faults["RegisterTargets"] = [
        AwsAccessDeniedError("RegisterTargets", "AccessDenied", "not authorized")
    ]
    began = scenario.clock.now()

    with pytest.raises(AwsAccessDeniedError, match="not authorized"):
        scenario.run(EVENT)

    assert scenario.clock.now() == began


def test_a_run_does_not_wait_for_a_ttl_longer_than_its_time() -> None:
    scenario = Scenario(A)
    scenario.endpoint.ttl = 300
    scenario.endpoint.set_addresses(B)
    scenario.run(MANUAL, remaining_seconds=200)
    calls = scenario.group.calls["DescribeTargetHealth"]

    result = scenario.run(SCHEDULE, remaining_seconds=200)

    assert result.status is RunStatus.UNFINISHED
    assert scenario.group.calls["DescribeTargetHealth"] == calls + 1
    assert str(target(A)) in scenario.registered


@pytest.mark.parametrize("seconds", [0.5, 3.0, 10.0])
def test_a_registration_that_takes_effect_late_never_empties_the_group(seconds: float) -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.effective_after = seconds

    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(B))}
    assert scenario.group.fewest_registered == 1


def test_a_registration_without_effect_is_tried_three_times_and_removes_nothing() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.effective_after = inf

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.VETOED
    assert scenario.registered == {str(target(A))}
    assert scenario.group.calls["RegisterTargets"] == MOST_REQUESTS
    assert scenario.group.calls["DescribeTargetHealth"] <= 30
    assert [c.reason for c in result.run.registered] == [
        Reason.NOT_REGISTERED,
        Reason.RETURN_CONFIRMED,
    ]
    assert scenario.clock.now() - scenario.started_at < 60


def test_one_plan_registers_before_it_removes() -> None:
    scenario = Scenario(A, C, addresses=[A], listening=[A, B])
    # The removal of C is confirmed by the observation that first names B.
    scenario.after(5.5, lambda: scenario.endpoint.set_addresses(A, B))

    result = scenario.run(EVENT)

    assert result.status is RunStatus.SYNCED
    operations = [operation for operation, _ in scenario.group.history]
    registered = operations.index("RegisterTargets")
    assert operations[registered + 1] == "DeregisterTargets"
    assert scenario.registered == {str(target(A)), str(target(B))}


def test_a_run_without_time_changes_nothing() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.run(SCHEDULE, remaining_seconds=10)

    assert result.status is RunStatus.UNFINISHED
    assert not scenario.changes


def test_the_seconds_count_from_the_event() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.reconciler.run(EVENT, remaining_seconds=600, age_seconds=2.5)

    assert result.seconds["to_detect"] == 2.5


def test_an_event_from_the_future_gives_no_negative_seconds() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.reconciler.run(EVENT, remaining_seconds=600, age_seconds=-30)

    assert result.seconds["to_detect"] == 0


def _documents(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def test_a_briefly_different_answer_does_not_end_a_watch() -> None:
    scenario = Scenario(A)
    # One cache has the new address at a poll, the other one two seconds later.
    scenario.clock.at(
        scenario.started_at + 10.5, lambda: setattr(scenario.endpoint, "stale", [{B}, {A}, {A}])
    )
    scenario.clock.at(scenario.started_at + 12.5, lambda: scenario.endpoint.set_addresses(B))

    result = scenario.run(EVENT)

    assert scenario.changes[0] == ("RegisterTargets", (str(target(B)),))
    assert scenario.group.call_times[
        [op for op, _ in scenario.group.history].index("RegisterTargets")
    ] == (scenario.started_at + 13)
    assert scenario.registered == {str(target(B))}
    assert result.status is RunStatus.UNHEALTHY  # no server listens there in this scenario
