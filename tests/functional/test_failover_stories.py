"""What a run does in each situation, told on a virtual clock over a group as AWS documents it."""

from collections import Counter

import pytest

from target_sync.core.convergence import Status
from target_sync.core.model import LookupFailure, TargetGroup
from target_sync.core.planning import Veto, VetoCode
from target_sync.core.result import SyncResult
from target_sync.errors import (
    ObservationDeniedError,
    ObservationError,
    TargetGroupAccessError,
    TargetGroupUnavailableError,
)
from tests.support.road import EVENT, MANUAL, SCHEDULE, A, B, Road, target, throttled


def test_a_steady_scheduled_run_is_one_aws_call_and_one_dns_query() -> None:
    road = Road(A)

    result = road.run(SCHEDULE)

    assert result.status is Status.IN_SYNC
    assert road.group.calls == Counter(DescribeTargetHealth=1)
    assert road.endpoint.queries == 1
    assert result.seconds == {"to_detect": None, "to_register": None, "to_healthy": None}


def test_the_group_is_described_before_the_endpoint_is_observed() -> None:
    road = Road(A)
    describe = road.group.describe

    def describe_while_the_name_moves() -> TargetGroup:
        described = describe()
        road.endpoint.says(B)
        return described

    road.group.describe = describe_while_the_name_moves  # type: ignore[method-assign]

    result = road.run(MANUAL)

    assert result.convergence.observations[0].addresses == {B}


def test_a_steady_run_ends_at_once_even_if_the_target_is_unhealthy() -> None:
    road = Road(A)
    road.listens()
    road.clock.advance(15)

    result = road.run(SCHEDULE)

    assert result.status is Status.IN_SYNC
    assert not result.convergence.healthy
    assert road.group.calls["DescribeTargetHealth"] == 1


def test_the_first_address_of_an_empty_group_is_registered() -> None:
    road = Road(answer=[A])

    result = road.run(MANUAL)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(A))}


def test_a_failover_with_dns_already_flipped_ends_exact_and_never_without_a_target() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.run(EVENT)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}
    assert road.group.smallest is not None
    assert road.group.smallest >= 1
    assert road.changes == [
        ("RegisterTargets", (str(target(B)),)),
        ("DeregisterTargets", (str(target(A)),)),
    ]


def test_the_new_address_is_registered_at_once_and_the_old_one_leaves_when_confirmed() -> None:
    road = Road(A)
    road.fails_over(B)
    began = road.clock.now()

    result = road.run(EVENT)

    assert result.seconds["to_detect"] == 0
    assert result.seconds["to_register"] == 0
    assert result.seconds["to_healthy"] is not None
    assert 90 <= result.seconds["to_healthy"] <= 100
    removed_at = road.group.moments[road.group.history.index(("DeregisterTargets", (target(A),)))]
    assert removed_at - began == 6  # the answer had to be so for longer than its TTL
    assert road.clock.now() - began < 105


def test_while_the_answer_stays_the_group_is_described_as_often_as_aws_checks_it() -> None:
    road = Road(A, watch_seconds=60)

    result = road.run(EVENT)

    assert result.convergence.looks == road.group.calls["DescribeTargetHealth"] == 12
    assert result.convergence.polls + result.convergence.looks == road.endpoint.queries == 60


def test_an_event_before_the_flip_is_followed_when_the_flip_comes() -> None:
    road = Road(A)
    began = road.clock.now()
    road.clock.at(began + 20, lambda: road.fails_over(B))

    result = road.run(EVENT)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}
    assert result.seconds["to_detect"] == pytest.approx(20, abs=1)


def test_an_event_that_nothing_follows_ends_with_its_watch() -> None:
    road = Road(A, watch_seconds=60)
    began = road.clock.now()

    result = road.run(EVENT)

    assert result.status is Status.IN_SYNC
    assert road.clock.now() - began == pytest.approx(60, abs=1)
    assert not road.changes


def test_a_lost_event_is_made_good_by_the_schedule() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.run(SCHEDULE)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}


def test_a_run_by_hand_does_not_wait_for_health() -> None:
    road = Road(A)
    road.fails_over(B)
    began = road.clock.now()

    result = road.run(MANUAL)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}
    assert road.clock.now() - began < 10


def test_a_dry_run_says_what_it_would_do_and_changes_nothing() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.run(MANUAL.__class__(kind=MANUAL.kind, dry_run=True))

    assert result.status is Status.DRY_RUN
    assert not road.changes
    document = result.to_document()
    assert [t["target"] for t in _documents(document["planned"])] == [str(target(B))]
    assert [t["target"] for t in _documents(document["on_hold"])] == [str(target(A))]


def test_drift_made_by_hand_is_repaired_by_the_schedule() -> None:
    road = Road(A)
    road.group.take(target(A))
    road.clock.advance(21)  # drained

    assert road.run(SCHEDULE).status is Status.SYNCED
    assert road.registered == {str(target(A))}


def test_an_address_that_comes_back_while_draining_is_registered_again_once_stable() -> None:
    road = Road(A)
    road.group.take(target(A))

    result = road.run(SCHEDULE)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(A))}
    assert road.changes == [("RegisterTargets", (str(target(A)),))]


def test_failing_back_onto_a_draining_address_ends_right() -> None:
    road = Road(A)
    road.fails_over(B)
    assert road.run(EVENT).status is Status.SYNCED
    road.fails_over(A)

    result = road.run(EVENT)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(A))}
    assert road.group.smallest is not None
    assert road.group.smallest >= 1


def test_the_right_address_on_a_wrong_port_is_repaired() -> None:
    road = Road(answer=[A])
    road.group.put(target(A, 5433))
    road.listens(A)

    result = road.run(SCHEDULE)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(A))}


def test_stale_extra_targets_are_removed_together() -> None:
    road = Road(A)
    road.group.put(target(B), target("10.0.3.9"))

    result = road.run(SCHEDULE)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(A))}
    assert road.changes[-1] == ("DeregisterTargets", (str(target(B)), str(target("10.0.3.9"))))


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
    assert road.reporter.results[-1].status is Status.FAILED


def test_a_look_that_is_denied_ends_a_watch_at_once() -> None:
    road = Road(A)
    road.endpoint.fails(LookupFailure.ACCESS_DENIED)

    with pytest.raises(ObservationDeniedError):
        road.run(EVENT)

    assert road.endpoint.queries == 1


def test_a_watch_outlives_a_resolver_that_fails_for_a_while() -> None:
    road = Road(A)
    road.fails_over(B)
    road.endpoint.fails(LookupFailure.TIMED_OUT)
    road.clock.at(road.clock.now() + 30, lambda: road.endpoint.says(B))

    result = road.run(EVENT)

    assert result.status is Status.SYNCED
    assert result.convergence.failures == 9  # at 0, 1, 3, 7, 11 ... 27 s
    assert result.to_document()["last_failure"] is None


def test_a_watch_that_ends_in_failures_is_an_error() -> None:
    road = Road(A, watch_seconds=30)
    road.endpoint.fails(LookupFailure.SERVERS_FAILED)

    with pytest.raises(ObservationError):
        road.run(EVENT)

    assert road.registered == {str(target(A))}


def test_a_public_answer_is_never_registered_and_removes_nothing() -> None:
    road = Road(A)
    road.endpoint.says("8.8.8.8")

    result = road.run(SCHEDULE)

    assert result.status is Status.VETOED
    assert road.registered == {str(target(A))}
    assert not road.changes
    assert [v.code for v in _vetoes(result)] == [VetoCode.OUTSIDE_ALLOWED_NETWORKS]


def test_a_watch_goes_on_after_a_vetoed_answer() -> None:
    road = Road(A)
    road.endpoint.says("8.8.8.8")
    road.clock.at(road.clock.now() + 10, lambda: road.fails_over(B))

    result = road.run(EVENT)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}


def test_a_scheduled_run_that_cannot_see_the_group_fails_at_once_and_changes_nothing() -> None:
    road = Road(A)
    road.fails_over(B)
    road.group.faults["DescribeTargetHealth"] = [throttled("DescribeTargetHealth")]

    with pytest.raises(TargetGroupUnavailableError, match="ThrottlingException"):
        road.run(SCHEDULE)

    assert road.registered == {str(target(A))}
    assert road.clock.now() == road.began


@pytest.mark.parametrize("operation", ["RegisterTargets", "DeregisterTargets"])
def test_a_scheduled_run_that_has_found_something_to_do_outlives_a_throttled_call(
    operation: str,
) -> None:
    road = Road(A)
    road.fails_over(B)
    road.group.faults[operation] = [throttled(operation)] * 3

    result = road.run(SCHEDULE)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}
    assert result.convergence.failures == 3


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


@pytest.mark.parametrize(
    "operation", ["DescribeTargetHealth", "RegisterTargets", "DeregisterTargets"]
)
def test_a_watch_outlives_a_throttled_call(operation: str) -> None:
    road = Road(A)
    road.fails_over(B)
    road.group.faults[operation] = [throttled(operation)] * 3

    result = road.run(EVENT)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}
    assert result.convergence.failures == 3


@pytest.mark.parametrize("operation", ["RegisterTargets", "DeregisterTargets"])
def test_a_change_whose_reply_was_lost_does_no_harm(operation: str) -> None:
    road = Road(A)
    road.fails_over(B)
    road.group.lost_replies[operation] = [
        TargetGroupUnavailableError(operation, "ReadTimeoutError", "no reply")
    ]

    result = road.run(EVENT)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}


def test_a_crash_between_register_and_deregister_is_finished_by_the_next_run() -> None:
    road = Road(A)
    road.fails_over(B)
    road.runs_until_it_calls("RegisterTargets", SCHEDULE)
    assert road.registered == {str(target(A)), str(target(B))}

    result = road.run(SCHEDULE)

    assert result.status is Status.SYNCED
    assert road.registered == {str(target(B))}


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


def test_a_new_target_that_never_becomes_healthy_is_said_when_the_time_is_up() -> None:
    road = Road(A)
    road.endpoint.says(B)
    began = road.clock.now()

    result = road.run(EVENT, remaining_seconds=200)

    assert result.status is Status.UNHEALTHY
    assert result.seconds["to_healthy"] is None
    assert road.registered == {str(target(B))}
    assert road.clock.now() - began <= 200 - 15


def test_a_run_without_time_to_confirm_leaves_the_removal_to_the_next_one() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.run(SCHEDULE, remaining_seconds=18)

    assert result.status is Status.UNFINISHED
    assert road.registered == {str(target(A)), str(target(B))}
    assert road.run(SCHEDULE).status is Status.SYNCED
    assert road.registered == {str(target(B))}


def test_a_ttl_longer_than_the_run_ends_it_instead_of_keeping_it_busy() -> None:
    road = Road(A)
    road.endpoint.ttl = 3600
    road.endpoint.says(B)
    road.run(MANUAL)
    calls = road.group.calls["DescribeTargetHealth"]

    result = road.run(SCHEDULE)

    assert result.status is Status.UNFINISHED
    assert road.group.calls["DescribeTargetHealth"] == calls + 1
    assert str(target(A)) in road.registered


def test_a_run_that_has_no_time_left_changes_nothing() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.run(SCHEDULE, remaining_seconds=10)

    assert result.status is Status.UNFINISHED
    assert not road.changes


def test_the_seconds_count_from_the_moment_of_the_event() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.synchronizer.run(EVENT, remaining_seconds=600, age_seconds=2.5)

    assert result.seconds["to_detect"] == 2.5


def test_a_clock_that_disagrees_with_the_events_does_not_make_negative_seconds() -> None:
    road = Road(A)
    road.fails_over(B)

    result = road.synchronizer.run(EVENT, remaining_seconds=600, age_seconds=-30)

    assert result.seconds["to_detect"] == 0


def _documents(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def _vetoes(result: SyncResult) -> tuple[Veto, ...]:
    assert result.convergence.plan is not None
    return result.convergence.plan.vetoes
