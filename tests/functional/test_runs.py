"""What a run does and does not do, beside the failure stories (test_failover_scenarios.py)."""

import pytest

from target_sync.errors import (
    ObservationDeniedError,
    ObservationError,
    TargetGroupAccessError,
    TargetGroupUnavailableError,
)
from target_sync.model import LookupFailure, RunStatus, TargetGroup
from tests.support.connection_path import (
    COMPLETED,
    EVENT,
    MANUAL,
    SCHEDULE,
    A,
    B,
    Road,
    target,
    throttled,
)


def test_the_group_is_described_before_the_endpoint_is_observed() -> None:
    road = Road(A)
    describe = road.group.describe

    def describe_while_the_name_moves() -> TargetGroup:
        described = describe()
        road.endpoint.says(B)
        return described

    road.group.describe = describe_while_the_name_moves  # type: ignore[method-assign]

    result = road.run(MANUAL)

    assert result.run.observations[0].addresses == {B}


def test_a_steady_run_ends_at_once_even_if_the_target_is_unhealthy() -> None:
    road = Road(A)
    road.listens()
    road.clock.advance(15)

    result = road.run(SCHEDULE)

    assert result.status is RunStatus.IN_SYNC
    assert not result.run.healthy
    assert road.group.calls["DescribeTargetHealth"] == 1


def test_the_first_address_of_an_empty_group_is_registered() -> None:
    road = Road(answer=[A])

    result = road.run(MANUAL)

    assert result.status is RunStatus.SYNCED
    assert road.registered == {str(target(A))}


def test_while_the_answer_stays_the_group_is_described_as_often_as_aws_checks_it() -> None:
    road = Road(A, watch_seconds=60)

    result = road.run(EVENT)

    assert result.run.iterations == road.group.calls["DescribeTargetHealth"] == 12
    assert result.run.dns_polls + result.run.iterations == road.endpoint.queries == 60


def test_after_a_completed_event_a_group_that_is_right_is_watched_for_half_a_minute() -> None:
    road = Road(A)

    result = road.run(COMPLETED)

    assert result.status is RunStatus.IN_SYNC
    assert road.elapsed == 30


def test_a_completed_event_that_is_early_is_followed_if_the_flip_comes_in_time() -> None:
    road = Road(A)
    road.later(25, lambda: road.fails_over(B))

    result = road.run(COMPLETED)

    assert result.status is RunStatus.SYNCED
    assert road.registered == {str(target(B))}


@pytest.mark.parametrize("watch_seconds", [60, 300, 540])
def test_a_run_waits_for_health_for_five_minutes_or_as_long_as_it_watches(
    watch_seconds: float,
) -> None:
    road = Road(A, watch_seconds=watch_seconds)
    road.fails_over(B)
    road.listens()

    result = road.run(EVENT)

    assert result.status is RunStatus.UNHEALTHY
    assert road.elapsed == pytest.approx(max(300, watch_seconds), abs=1)


def test_the_five_minutes_begin_with_the_last_registration() -> None:
    road = Road(A, watch_seconds=60)
    road.later(50, lambda: road.fails_over(B))
    road.later(50, road.listens)

    result = road.run(EVENT)

    assert result.status is RunStatus.UNHEALTHY
    assert road.elapsed == pytest.approx(350, abs=1)


def test_a_run_by_hand_does_not_wait_for_health() -> None:
    road = Road(A)
    road.fails_over(B)
    began = road.clock.now()

    result = road.run(MANUAL)

    assert result.status is RunStatus.SYNCED
    assert road.registered == {str(target(B))}
    assert road.clock.now() - began < 10
    # To find out, before the removal, and after it.
    assert road.group.calls["DescribeTargetHealth"] == 3


def test_a_dry_run_says_what_it_would_do_and_changes_nothing() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.run(MANUAL.__class__(kind=MANUAL.kind, dry_run=True))

    assert result.status is RunStatus.DRY_RUN
    assert not road.changes
    document = result.to_document()
    assert [t["target"] for t in _documents(document["planned"])] == [str(target(B))]
    assert [t["target"] for t in _documents(document["on_hold"])] == [str(target(A))]


def test_an_address_that_comes_back_while_draining_is_registered_again_once_stable() -> None:
    road = Road(A)
    road.group.take(target(A))

    result = road.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert road.registered == {str(target(A))}
    assert road.changes == [("RegisterTargets", (str(target(A)),))]


def test_a_stale_resolver_cannot_undo_a_fresh_answer() -> None:
    road = Road(A)
    road.fails_over(B)
    road.run(MANUAL)
    # A resolver that still has the old answer in its cache for the rest of its TTL.
    road.endpoint.stale = [frozenset({A})] * 5

    road.run(SCHEDULE)

    assert ("DeregisterTargets", (str(target(B)),)) not in road.changes
    assert road.registered == {str(target(B))}


@pytest.mark.parametrize("failure", LookupFailure)
def test_a_failed_look_up_changes_nothing_and_is_an_error(failure: LookupFailure) -> None:
    road = Road(A)
    road.endpoint.fails(failure)

    with pytest.raises(ObservationError, match=failure.value) as raised:
        road.run(SCHEDULE)

    assert raised.value.retryable is (failure is not LookupFailure.ACCESS_DENIED)
    assert not road.changes
    assert road.reporter.results[-1].status is RunStatus.FAILED


def test_a_look_that_is_denied_ends_a_watch_at_once() -> None:
    road = Road(A)
    road.endpoint.fails(LookupFailure.ACCESS_DENIED)

    with pytest.raises(ObservationDeniedError):
        road.run(EVENT)

    assert road.endpoint.queries == 1


def test_a_watch_that_ends_in_failures_is_an_error() -> None:
    road = Road(A, watch_seconds=30)
    road.endpoint.fails(LookupFailure.SERVERS_FAILED)

    with pytest.raises(ObservationError):
        road.run(EVENT)

    assert road.registered == {str(target(A))}


@pytest.mark.parametrize("operation", ["RegisterTargets", "DeregisterTargets"])
def test_a_scheduled_run_that_has_found_something_to_do_outlives_a_throttled_call(
    operation: str,
) -> None:
    road = Road(A)
    road.fails_over(B)
    road.group.faults[operation] = [throttled(operation)] * 3

    result = road.run(SCHEDULE)

    assert result.status is RunStatus.SYNCED
    assert road.registered == {str(target(B))}
    assert result.run.failures == 3


def test_a_scheduled_run_whose_call_goes_on_failing_is_an_error_in_the_end() -> None:
    road = Road(A, watch_seconds=60)
    road.fails_over(B)
    road.group.faults["RegisterTargets"] = [throttled("RegisterTargets")] * 1000

    with pytest.raises(TargetGroupUnavailableError, match="ThrottlingException"):
        road.run(SCHEDULE)

    assert road.registered == {str(target(A))}
    assert "DeregisterTargets" not in road.group.calls
    # Failures in a row are a longer and longer way apart: 0, 1, 3, 7, 11 ... 59 s.
    assert road.group.calls["RegisterTargets"] == 17


def test_a_failed_registration_is_never_followed_by_a_removal_in_the_same_plan() -> None:
    road = Road(A, B, answer=[A])
    road.group.take(target(A))
    # Both are due in one plan: A comes back from draining, B has been gone for the window.
    road.group.faults["RegisterTargets"] = [throttled("RegisterTargets")] * 100

    with pytest.raises(TargetGroupUnavailableError):
        road.run(SCHEDULE, remaining_seconds=60)

    assert {operation for operation, _ in road.changes} == {"RegisterTargets"}
    assert str(target(B)) in road.registered


def test_an_error_that_will_not_pass_ends_even_a_watch_at_once() -> None:
    road = Road(A)
    road.fails_over(B)
    road.group.faults["RegisterTargets"] = [
        TargetGroupAccessError("RegisterTargets", "AccessDenied", "not authorized")
    ]
    began = road.clock.now()

    with pytest.raises(TargetGroupAccessError, match="not authorized"):
        road.run(EVENT)

    assert road.clock.now() == began


def test_a_ttl_longer_than_the_run_ends_it_instead_of_keeping_it_busy() -> None:
    road = Road(A)
    road.endpoint.ttl = 3600
    road.endpoint.says(B)
    road.run(MANUAL)
    calls = road.group.calls["DescribeTargetHealth"]

    result = road.run(SCHEDULE)

    assert result.status is RunStatus.UNFINISHED
    assert road.group.calls["DescribeTargetHealth"] == calls + 1
    assert str(target(A)) in road.registered


def test_a_run_that_has_no_time_left_changes_nothing() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.run(SCHEDULE, remaining_seconds=10)

    assert result.status is RunStatus.UNFINISHED
    assert not road.changes


def test_the_seconds_count_from_the_moment_of_the_event() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.reconciler.run(EVENT, remaining_seconds=600, age_seconds=2.5)

    assert result.seconds["to_detect"] == 2.5


def test_a_clock_that_disagrees_with_the_events_does_not_make_negative_seconds() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.reconciler.run(EVENT, remaining_seconds=600, age_seconds=-30)

    assert result.seconds["to_detect"] == 0


def _documents(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def test_an_answer_that_comes_and_goes_does_not_end_a_watch() -> None:
    road = Road(A)
    # Two caches: at a poll one has the new answer already; the other one has it two seconds later.
    road.clock.at(road.began + 10.5, lambda: setattr(road.endpoint, "stale", [{B}, {A}, {A}]))
    road.clock.at(road.began + 12.5, lambda: road.endpoint.says(B))

    result = road.run(EVENT)

    assert road.changes[0] == ("RegisterTargets", (str(target(B)),))
    assert road.group.moments[[op for op, _ in road.group.history].index("RegisterTargets")] == (
        road.began + 13
    )
    assert road.registered == {str(target(B))}
    assert result.status is RunStatus.UNHEALTHY  # nobody listens there in this story
