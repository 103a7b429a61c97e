"""What a run does and does not do, beside the failure stories (test_failover_scenarios.py)."""

import pytest

from target_sync.errors import (
    AwsAccessDeniedError,
    AwsUnavailableError,
    ObservationDeniedError,
    ObservationError,
)
from target_sync.model import LookupFailure, RunStatus, TargetGroup
from tests.support.scenario import (
    COMPLETED,
    EVENT,
    MANUAL,
    SCHEDULE,
    A,
    B,
    Scenario,
    target,
    throttled,
)


def test_the_group_is_described_before_the_endpoint_is_observed() -> None:
    scenario = Scenario(A)
    describe = scenario.group.describe

    def describe_while_the_name_moves() -> TargetGroup:
        described = describe()
        scenario.endpoint.set_addresses(B)
        return described

    scenario.group.describe = describe_while_the_name_moves  # type: ignore[method-assign]

    result = scenario.run(MANUAL)

    assert result.run.observations[0].addresses == {B}


def test_a_steady_run_ends_at_once_even_if_the_target_is_unhealthy() -> None:
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


def test_while_the_answer_stays_the_group_is_described_as_often_as_aws_checks_it() -> None:
    scenario = Scenario(A, watch_seconds=60)

    result = scenario.run(EVENT)

    assert result.run.iterations == scenario.group.calls["DescribeTargetHealth"] == 12
    assert result.run.dns_polls + result.run.iterations == scenario.endpoint.queries == 60


def test_after_a_completed_event_a_group_that_is_right_is_watched_for_half_a_minute() -> None:
    scenario = Scenario(A)

    result = scenario.run(COMPLETED)

    assert result.status is RunStatus.IN_SYNC
    assert scenario.elapsed == 30


def test_a_completed_event_that_is_early_is_followed_if_the_flip_comes_in_time() -> None:
    scenario = Scenario(A)
    scenario.after(25, lambda: scenario.fail_over(B))

    result = scenario.run(COMPLETED)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(B))}


@pytest.mark.parametrize("watch_seconds", [60, 300, 540])
def test_a_run_waits_for_health_for_five_minutes_or_as_long_as_it_watches(
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


def test_a_run_by_hand_does_not_wait_for_health() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    began = scenario.clock.now()

    result = scenario.run(MANUAL)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(B))}
    assert scenario.clock.now() - began < 10
    # To find out, before the removal, and after it.
    assert scenario.group.calls["DescribeTargetHealth"] == 3


def test_a_dry_run_says_what_it_would_do_and_changes_nothing() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.run(MANUAL.__class__(kind=MANUAL.kind, dry_run=True))

    assert result.status is RunStatus.DRY_RUN
    assert not scenario.changes
    document = result.to_document()
    assert [t["target"] for t in _documents(document["planned"])] == [str(target(B))]
    assert [t["target"] for t in _documents(document["on_hold"])] == [str(target(A))]


def test_an_address_that_comes_back_while_draining_is_registered_again_once_stable() -> None:
    scenario = Scenario(A)
    scenario.group.deregister_externally(target(A))

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(A))}
    assert scenario.changes == [("RegisterTargets", (str(target(A)),))]


def test_a_stale_resolver_cannot_undo_a_fresh_answer() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.run(MANUAL)
    # A resolver that still has the old answer in its cache for the rest of its TTL.
    scenario.endpoint.stale = [frozenset({A})] * 5

    scenario.run(SCHEDULE)

    assert ("DeregisterTargets", (str(target(B)),)) not in scenario.changes
    assert scenario.registered == {str(target(B))}


@pytest.mark.parametrize("failure", LookupFailure)
def test_a_failed_look_up_changes_nothing_and_is_an_error(failure: LookupFailure) -> None:
    scenario = Scenario(A)
    scenario.endpoint.set_failure(failure)

    with pytest.raises(ObservationError, match=failure.value) as raised:
        scenario.run(SCHEDULE)

    assert raised.value.retryable is (failure is not LookupFailure.ACCESS_DENIED)
    assert not scenario.changes
    assert scenario.reporter.results[-1].status is RunStatus.FAILED


def test_a_look_that_is_denied_ends_a_watch_at_once() -> None:
    scenario = Scenario(A)
    scenario.endpoint.set_failure(LookupFailure.ACCESS_DENIED)

    with pytest.raises(ObservationDeniedError):
        scenario.run(EVENT)

    assert scenario.endpoint.queries == 1


def test_a_watch_that_ends_in_failures_is_an_error() -> None:
    scenario = Scenario(A, watch_seconds=30)
    scenario.endpoint.set_failure(LookupFailure.SERVERS_FAILED)

    with pytest.raises(ObservationError):
        scenario.run(EVENT)

    assert scenario.registered == {str(target(A))}


@pytest.mark.parametrize("operation", ["RegisterTargets", "DeregisterTargets"])
def test_a_scheduled_run_that_has_found_something_to_do_outlives_a_throttled_call(
    operation: str,
) -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.faults[operation] = [throttled(operation)] * 3

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert scenario.registered == {str(target(B))}
    assert result.run.failures == 3


def test_a_scheduled_run_whose_call_goes_on_failing_is_an_error_in_the_end() -> None:
    scenario = Scenario(A, watch_seconds=60)
    scenario.fail_over(B)
    scenario.group.faults["RegisterTargets"] = [throttled("RegisterTargets")] * 1000

    with pytest.raises(AwsUnavailableError, match="ThrottlingException"):
        scenario.run(SCHEDULE)

    assert scenario.registered == {str(target(A))}
    assert "DeregisterTargets" not in scenario.group.calls
    # Failures in a row are a longer and longer way apart: 0, 1, 3, 7, 11 ... 59 s.
    assert scenario.group.calls["RegisterTargets"] == 17


def test_a_failed_registration_is_never_followed_by_a_removal_in_the_same_plan() -> None:
    scenario = Scenario(A, B, addresses=[A])
    scenario.group.deregister_externally(target(A))
    # Both are due in one plan: A comes back from draining, B has been gone for the window.
    scenario.group.faults["RegisterTargets"] = [throttled("RegisterTargets")] * 100

    with pytest.raises(AwsUnavailableError):
        scenario.run(SCHEDULE, remaining_seconds=60)

    assert {operation for operation, _ in scenario.changes} == {"RegisterTargets"}
    assert str(target(B)) in scenario.registered


def test_an_error_that_will_not_pass_ends_even_a_watch_at_once() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)
    scenario.group.faults["RegisterTargets"] = [
        AwsAccessDeniedError("RegisterTargets", "AccessDenied", "not authorized")
    ]
    began = scenario.clock.now()

    with pytest.raises(AwsAccessDeniedError, match="not authorized"):
        scenario.run(EVENT)

    assert scenario.clock.now() == began


def test_a_ttl_longer_than_the_run_ends_it_instead_of_keeping_it_busy() -> None:
    scenario = Scenario(A)
    scenario.endpoint.ttl = 3600
    scenario.endpoint.set_addresses(B)
    scenario.run(MANUAL)
    calls = scenario.group.calls["DescribeTargetHealth"]

    result = scenario.run(SCHEDULE)

    assert result.status is RunStatus.UNFINISHED
    assert scenario.group.calls["DescribeTargetHealth"] == calls + 1
    assert str(target(A)) in scenario.registered


def test_a_run_that_has_no_time_left_changes_nothing() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.run(SCHEDULE, remaining_seconds=10)

    assert result.status is RunStatus.UNFINISHED
    assert not scenario.changes


def test_the_seconds_count_from_the_moment_of_the_event() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.reconciler.run(EVENT, remaining_seconds=600, age_seconds=2.5)

    assert result.seconds["to_detect"] == 2.5


def test_a_clock_that_disagrees_with_the_events_does_not_make_negative_seconds() -> None:
    scenario = Scenario(A)
    scenario.fail_over(B)

    result = scenario.reconciler.run(EVENT, remaining_seconds=600, age_seconds=-30)

    assert result.seconds["to_detect"] == 0


def _documents(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def test_an_answer_that_comes_and_goes_does_not_end_a_watch() -> None:
    scenario = Scenario(A)
    # Two caches: at a poll one has the new answer already; the other one has it two seconds later.
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
    assert result.status is RunStatus.UNHEALTHY  # nobody listens there in this story
