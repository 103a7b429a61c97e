"""The state machine: what a run does next, given what it has seen."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from target_sync.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    RunStatus,
    StandbyCheck,
    SyncPolicy,
    TargetGroup,
    TargetHealth,
    TargetState,
)
from target_sync.reconcile.loop import (
    DESCRIBE_SECONDS,
    HEALTHY_WITHIN_SECONDS,
    LONGEST_PAUSE_SECONDS,
    STABLE_SECONDS,
    Apply,
    Done,
    PollDns,
    RunConfig,
    RunState,
    Snapshot,
    Step,
    TakeSnapshot,
)
from target_sync.reconcile.planner import Action, Change, Reason, confirm_window
from tests.support.scenario import POLICY, A, B, target

HEALTHY, INITIAL = TargetState.HEALTHY, TargetState.INITIAL
DRAINING, UNHEALTHY = TargetState.DRAINING, TargetState.UNHEALTHY
DEADLINE = 585.0
WATCH = 300.0
WINDOW = 6.0

QUIET = RunConfig(started_at=0, deadline=DEADLINE, watch_until=0)
#: As ``synchronizer.py`` makes them.
SCHEDULED = replace(QUIET, watch_seconds=WATCH)
EVENT = replace(SCHEDULED, watch_until=WATCH)
COMPLETED = replace(EVENT, change_completed=True)
VIGIL = replace(SCHEDULED, poll_until=65.0, dns_poll_seconds=5.0)
MANUAL = replace(QUIET, wait_for_healthy=False)

FOUND = Change(target(B), Action.REGISTER, Reason.NOT_REGISTERED)


def begun(task: RunConfig, policy: SyncPolicy = POLICY) -> RunState:
    return RunState(run_config=task, policy=policy)


def group(**states: TargetState) -> TargetGroup:
    addresses = {"a": A, "b": B}
    return TargetGroup(
        tuple(TargetHealth(target(addresses[name]), state) for name, state in states.items())
    )


RIGHT = group(a=HEALTHY)


def said(at: float, *addresses: object, second: object = None, ttl: int = 5) -> Observation:
    return Observation(
        name="db.example.com",
        addresses=frozenset(ip_address(str(a)) for a in addresses or (A,)),
        source="dns",
        ttl=ttl,
        at=at,
        second=None if second is None else frozenset({ip_address(str(second))}),
    )


def sources_disagree(at: float, name: object, api: object) -> Observation:
    return replace(said(at, name, second=api), disagreement="They do not agree.")


def failed(at: float) -> FailedObservation:
    return FailedObservation(
        name="db.example.com", failure=LookupFailure.TIMED_OUT, detail="No answer.", at=at
    )


def iterated(
    run: RunState,
    at: float,
    *addresses: object,
    of: TargetGroup = RIGHT,
) -> tuple[RunState, Step]:
    return run.after_snapshot(Snapshot(of, said(at, *addresses)))


def after_looks(
    run: RunState, iterations: Iterable[tuple[float, TargetGroup]]
) -> tuple[RunState, Step]:
    """The run after looks at these groups, with the same answer each time."""
    step: Step = TakeSnapshot(0)
    for at, seen in iterations:
        run, step = iterated(run, at, of=seen)
    return run, step


def test_a_task_that_says_no_more_watches_for_nothing_and_polls_for_nothing() -> None:
    assert RunConfig(started_at=0, deadline=9, watch_until=0) == RunConfig(
        started_at=0,
        deadline=9,
        watch_until=0,
        watch_seconds=0,
        change_completed=False,
        poll_until=0,
        dns_poll_seconds=0,
        wait_for_healthy=True,
        dry_run=False,
        iteration_seconds=1,
    )


# --- What follows a look ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "step"),
    [
        pytest.param(QUIET, Done(RunStatus.IN_SYNC), id="a run by hand is done"),
        pytest.param(SCHEDULED, Done(RunStatus.IN_SYNC), id="a scheduled run is done"),
        pytest.param(EVENT, PollDns(1), id="a watch polls"),
        pytest.param(COMPLETED, PollDns(1), id="so does one that is to settle"),
        pytest.param(VIGIL, PollDns(5), id="a vigil polls less often"),
    ],
)
def test_when_all_is_right(task: RunConfig, step: Step) -> None:
    assert iterated(begun(task), 0)[1] == step


def test_a_change_is_applied_at_once_and_looked_at_a_second_later() -> None:
    run, step = iterated(begun(SCHEDULED), 10, B)

    assert isinstance(step, Apply)
    assert step.next_snapshot_at == 11
    assert [v.target for v in step.plan.to_register] == [target(B)]
    assert run.detected_at == 10


def test_a_dry_run_is_done_after_its_first_plan() -> None:
    assert iterated(begun(replace(QUIET, dry_run=True)), 0, B)[1] == Done(RunStatus.DRY_RUN)


@pytest.mark.parametrize(
    ("at", "applies"), [(DEADLINE - 0.1, True), (DEADLINE, False), (DEADLINE + 1, False)]
)
def test_from_its_deadline_on_a_run_changes_nothing(at: float, *, applies: bool) -> None:
    step = iterated(begun(SCHEDULED), at, B)[1]

    assert isinstance(step, Apply) is applies
    assert applies or step == Done(RunStatus.UNFINISHED)


def test_a_watch_polls_until_the_group_is_to_be_described_again() -> None:
    run, step = iterated(begun(EVENT), 0)
    steps = [step]
    while isinstance(step, PollDns):
        run, step = run.after_dns_poll(said(step.at))
        steps.append(step)

    assert steps == [PollDns(1), PollDns(2), PollDns(3), PollDns(4), TakeSnapshot(DESCRIBE_SECONDS)]
    assert (run.iterations, run.dns_polls) == (1, 4)


def test_the_description_counts_from_the_last_look() -> None:
    run, _ = after_looks(begun(EVENT), [(0, RIGHT), (5, RIGHT)])

    assert run.after_dns_poll(said(8.5))[1] == PollDns(9.5)
    assert run.after_dns_poll(said(9.0))[1] == TakeSnapshot(10.0)


def test_when_a_confirmation_is_due_the_group_is_described_with_it() -> None:
    run, step = iterated(begun(SCHEDULED), 0, of=group(a=HEALTHY, b=HEALTHY))
    assert step == PollDns(1)
    run, _ = iterated(run, 4, of=group(a=HEALTHY, b=HEALTHY))

    assert run.after_dns_poll(said(4.5))[1] == PollDns(5.5)
    assert run.after_dns_poll(said(5.0))[1] == TakeSnapshot(WINDOW)


@pytest.mark.parametrize("late", [0, 0.5, 0.9])
def test_what_falls_due_between_two_looks_is_looked_at_with_the_second(late: float) -> None:
    watched, _ = iterated(begun(EVENT), 0)
    assert watched.after_dns_poll(said(3.9))[1] == PollDns(4.9)
    assert watched.after_dns_poll(said(4 + late))[1] == TakeSnapshot(DESCRIBE_SECONDS + late)

    run, _ = after_looks(begun(SCHEDULED), [(at, group(a=HEALTHY, b=HEALTHY)) for at in (0, 4)])
    assert run.after_dns_poll(said(4.9))[1] == PollDns(5.9)
    assert run.after_dns_poll(said(5 + late))[1] == TakeSnapshot(WINDOW + late)


def applied(run: RunState, at: float) -> tuple[RunState, Step]:
    """The run after it has applied the plan of a look at which B is missing."""
    run, step = iterated(run, at, B)
    assert isinstance(step, Apply)
    return run.after_registration(step.plan.to_register, at), run.after_change(step)


def test_a_run_by_hand_that_has_registered_polls_until_the_removal_is_confirmed() -> None:
    run, step = applied(begun(MANUAL), 0)
    assert step == PollDns(1)
    for second in range(1, 5):
        run, step = run.after_dns_poll(said(second, B))
        assert step == PollDns(second + 1)
    # The description of 0 s would be due again, but one is needed a second later anyway.
    assert run.after_dns_poll(said(5, B))[1] == TakeSnapshot(WINDOW)


def test_a_run_that_waits_for_health_looks_at_what_it_has_registered() -> None:
    assert applied(begun(SCHEDULED), 0)[1] == TakeSnapshot(1)


def test_a_removal_is_looked_at_a_second_later() -> None:
    both = group(a=HEALTHY, b=HEALTHY)
    run, step = after_looks(begun(MANUAL), [(0, both), (WINDOW, both)])
    assert isinstance(step, Apply)
    assert step.plan.to_deregister
    assert run.after_change(step) == TakeSnapshot(WINDOW + 1)


def test_a_removal_beside_which_another_waits_is_looked_at_a_second_later() -> None:
    both = group(a=HEALTHY, b=HEALTHY)
    waiting, _ = iterated(begun(MANUAL), WINDOW, of=both)
    run, step = after_looks(begun(MANUAL), [(0, both), (WINDOW, both)])
    assert isinstance(step, Apply)
    assert waiting.plan is not None
    plan = replace(step.plan, changes=(*step.plan.changes, *waiting.plan.changes))
    assert plan.to_deregister
    assert plan.confirmation_due_at == 2 * WINDOW
    assert run.after_change(replace(step, plan=plan)) == TakeSnapshot(WINDOW + 1)


def test_a_registration_beside_which_nothing_waits_is_looked_at_a_second_later() -> None:
    run, step = iterated(begun(MANUAL), 0, of=group())
    assert isinstance(step, Apply)
    assert run.after_change(step) == TakeSnapshot(1)


@pytest.mark.parametrize(
    ("at", "step"),
    [
        pytest.param(DEADLINE - WINDOW - 1.1, PollDns, id="is seen before the deadline"),
        pytest.param(DEADLINE - WINDOW - 1, TakeSnapshot, id="may not be"),
    ],
)
def test_who_polls_after_a_registration_is_sure_of_a_look_to_come(
    at: float, step: type[PollDns | TakeSnapshot]
) -> None:
    assert isinstance(applied(begun(MANUAL), at)[1], step)


def test_a_registration_that_took_longer_than_the_window_is_looked_at() -> None:
    run, _ = iterated(begun(replace(MANUAL, iteration_seconds=WINDOW)), 0, B)
    assert run.plan is not None
    assert run.after_change(Apply(run.plan, WINDOW - 0.1)) == PollDns(WINDOW - 0.1)
    assert run.after_change(Apply(run.plan, WINDOW)) == TakeSnapshot(WINDOW)


@pytest.mark.parametrize(
    ("task", "ttl", "looks_at"),
    [
        pytest.param(MANUAL, 5, WINDOW, id="due soon after, it waits for that"),
        pytest.param(MANUAL, 6, DESCRIBE_SECONDS, id="due later, it does not"),
        pytest.param(SCHEDULED, 5, DESCRIBE_SECONDS, id="who waits for health does not"),
    ],
)
def test_a_description_that_is_five_seconds_old(task: RunConfig, ttl: int, looks_at: float) -> None:
    run, step = begun(task).after_snapshot(Snapshot(RIGHT, said(0, B, ttl=ttl)))
    second = 0
    while not isinstance(step, TakeSnapshot):
        second += 1
        run, step = run.after_dns_poll(said(second, B, ttl=ttl))
    assert step == TakeSnapshot(looks_at)


def test_a_confirmation_that_is_due_before_the_deadline_keeps_any_run_busy() -> None:
    extra = group(a=HEALTHY, b=HEALTHY)

    assert iterated(begun(QUIET), DEADLINE - WINDOW - 0.1, of=extra)[1] == PollDns(
        DEADLINE - WINDOW - 0.1 + 1
    )
    assert iterated(begun(QUIET), DEADLINE - WINDOW, of=extra)[1] == Done(RunStatus.UNFINISHED)


def test_a_watch_goes_on_to_its_end_and_no_further() -> None:
    run, _ = iterated(begun(EVENT), WATCH - 1.1)

    assert run.after_dns_poll(said(WATCH - 1.1))[1] == PollDns(WATCH - 1.1 + 1)
    assert run.after_dns_poll(said(WATCH - 1))[1] == Done(RunStatus.IN_SYNC)


def test_a_watch_ends_with_the_time_of_the_function() -> None:
    short = replace(EVENT, deadline=20)

    assert iterated(begun(short), 18.9)[1] == PollDns(19.9)
    assert iterated(begun(short), 19)[1] == Done(RunStatus.IN_SYNC)


# --- What follows a poll ----------------------------------------------------------------------


def test_an_answer_that_changed_is_looked_at_at_once() -> None:
    run, _ = iterated(begun(EVENT), 0)

    assert run.after_dns_poll(said(1, B))[1] == TakeSnapshot(1)


def test_a_poll_is_compared_with_the_newest_answer_and_not_with_the_first() -> None:
    run, _ = iterated(begun(EVENT), 0)
    run, step = iterated(run, 1, B, of=group(b=INITIAL))
    assert step == PollDns(2)

    assert run.after_dns_poll(said(2, B))[1] == PollDns(3)
    assert run.after_dns_poll(said(2, A))[1] == TakeSnapshot(2)


def test_a_second_source_that_changed_is_looked_at_at_once() -> None:
    run, _ = begun(EVENT).after_snapshot(Snapshot(RIGHT, said(0, A, second=A)))

    assert run.after_dns_poll(said(1, A, second=A))[1] == PollDns(2)
    assert run.after_dns_poll(said(1, A, second=B))[1] == TakeSnapshot(1)


def test_a_poll_after_a_look_that_failed_leads_to_a_look() -> None:
    run, _ = iterated(begun(EVENT), 0)
    run, _ = run.after_snapshot(Snapshot(RIGHT, failed(1)))

    assert run.plan is None
    assert run.after_dns_poll(said(2))[1] == TakeSnapshot(2)


def test_a_poll_that_failed_is_a_failure_like_any_other() -> None:
    run, _ = iterated(begun(EVENT), 0)
    run, step = run.after_dns_poll(failed(1))

    assert step == TakeSnapshot(2)
    assert (run.dns_polls, run.failures, run.failures_in_a_row) == (1, 1, 1)
    assert run.failure is not None
    assert run.failure.detail == "No answer."


def test_a_poll_that_succeeds_forgets_the_failure() -> None:
    run, _ = iterated(begun(EVENT), 0)
    run, _ = run.after_dns_poll(failed(1))
    run, _ = run.after_dns_poll(said(2))

    assert run.failure is None
    assert run.failures == 1


# --- Failures ---------------------------------------------------------------------------------


def test_failures_in_a_row_are_longer_and_longer_apart() -> None:
    run, at, pauses = begun(EVENT), 0.0, []
    for _ in range(5):
        run, step = run.after_failure("Throttled.", at)
        assert isinstance(step, TakeSnapshot)
        pauses.append(step.at - at)
        at = step.at

    assert pauses == [1, 2, 4, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert (run.failures, run.failures_in_a_row) == (5, 5)


def test_a_look_that_leaves_nothing_to_apply_ends_the_row() -> None:
    run, _ = begun(EVENT).after_failure("Throttled.", 0)

    assert iterated(run, 1)[0].failures_in_a_row == 0


def test_a_look_that_leaves_something_to_apply_does_not_end_the_row() -> None:
    run, _ = begun(EVENT).after_failure("Throttled.", 0)

    assert iterated(run, 1, B)[0].failures_in_a_row == 1


def test_a_change_that_succeeds_ends_the_row() -> None:
    run, _ = begun(EVENT).after_failure("Throttled.", 0)

    assert run.after_registration([FOUND], 1).failures_in_a_row == 0
    assert run.after_deregistration([FOUND]).failures_in_a_row == 0
    assert run.after_deregistration([FOUND]).failures == 1


@pytest.mark.parametrize("task", [QUIET, SCHEDULED, MANUAL])
def test_a_run_that_nobody_told_to_watch_fails_at_once(task: RunConfig) -> None:
    assert begun(task).after_failure("Throttled.", 0)[1] == Done(RunStatus.FAILED)


@pytest.mark.parametrize(
    ("task", "ends"),
    [
        pytest.param(EVENT, WATCH, id="a watch"),
        pytest.param(VIGIL, 65.0, id="a vigil"),
        pytest.param(replace(EVENT, deadline=100.0), 100.0, id="a watch at the deadline"),
        pytest.param(replace(VIGIL, deadline=30.0), 30.0, id="a vigil at the deadline"),
    ],
)
def test_a_run_outlives_failures_until_the_end_of(task: RunConfig, ends: float) -> None:
    assert begun(task).after_failure("Throttled.", ends - 1.1)[1] == TakeSnapshot(ends - 1.1 + 1)
    assert begun(task).after_failure("Throttled.", ends - 1)[1] == Done(RunStatus.FAILED)


@pytest.mark.parametrize("task", [SCHEDULED, VIGIL])
def test_a_run_that_has_found_something_outlives_failures_as_if_told_to_watch(
    task: RunConfig,
) -> None:
    run, _ = iterated(begun(task), 10, B)

    assert run.after_failure("Throttled.", 10 + WATCH - 1.1)[1] == TakeSnapshot(10 + WATCH - 0.1)
    assert run.after_failure("Throttled.", 10 + WATCH - 1)[1] == Done(RunStatus.FAILED)


def test_a_run_by_hand_fails_at_once_even_if_it_has_found_something() -> None:
    run, _ = iterated(begun(MANUAL), 10, B)

    assert run.after_failure("Throttled.", 10)[1] == Done(RunStatus.FAILED)


# --- Vigilance --------------------------------------------------------------------------------


def test_a_vigil_polls_until_it_is_over_and_describes_nothing() -> None:
    run, step = iterated(begun(VIGIL), 0)
    moments = []
    while isinstance(step, PollDns):
        moments.append(step.at)
        run, step = run.after_dns_poll(said(step.at))

    assert moments == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]
    assert step == Done(RunStatus.IN_SYNC)
    assert run.iterations == 1


def test_a_vigil_ends_with_the_time_of_the_function() -> None:
    short = replace(VIGIL, deadline=30)

    assert iterated(begun(short), 24.9)[1] == PollDns(29.9)
    assert iterated(begun(short), 25)[1] == Done(RunStatus.IN_SYNC)


def test_what_a_vigil_finds_is_followed_every_second() -> None:
    run, _ = iterated(begun(VIGIL), 0)
    run, step = run.after_dns_poll(said(5, B))
    assert step == TakeSnapshot(5)
    run, step = iterated(run, 5, B)
    assert isinstance(step, Apply)
    run = run.after_registration([FOUND], 5)

    assert iterated(run, 6, B, of=group(a=HEALTHY, b=INITIAL))[1] == PollDns(7)


def test_a_vigil_goes_on_after_what_it_has_followed() -> None:
    run, _ = iterated(begun(VIGIL), 0)
    run = run.after_registration([FOUND], 5)

    assert iterated(run, 20, B, of=group(b=HEALTHY))[1] == PollDns(25)
    assert iterated(run, 60, B, of=group(b=HEALTHY))[1] == Done(RunStatus.SYNCED)


# --- After a change ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "step"),
    [
        pytest.param(SCHEDULED, PollDns(11), id="a scheduled run waits for health"),
        pytest.param(EVENT, PollDns(11), id="so does a watch"),
        pytest.param(MANUAL, Done(RunStatus.SYNCED), id="a run by hand does not"),
    ],
)
def test_while_what_was_registered_is_not_healthy(task: RunConfig, step: Step) -> None:
    run, _ = iterated(begun(task), 0, B, of=group())
    run = run.after_registration([FOUND], 0)

    assert iterated(run, 10, B, of=group(b=INITIAL))[1] == step


def test_a_run_that_waits_for_health_says_so_when_its_time_is_up() -> None:
    run, _ = iterated(begun(SCHEDULED), 0, B, of=group())
    run = run.after_registration([FOUND], 0)

    last = iterated(run, DEADLINE - 1, B, of=group(b=UNHEALTHY))[1]

    assert last == Done(RunStatus.UNHEALTHY)


@pytest.mark.parametrize("registered_at", [0, 50])
def test_a_run_waits_for_health_for_so_long_after_its_last_registration(
    registered_at: float,
) -> None:
    run, _ = iterated(begun(SCHEDULED), 0, B, of=group())
    run = run.after_registration([FOUND], registered_at)
    ends = registered_at + HEALTHY_WITHIN_SECONDS

    assert iterated(run, ends - 1.5, B, of=group(b=INITIAL))[1] == PollDns(ends - 0.5)
    assert iterated(run, ends - 1, B, of=group(b=INITIAL))[1] == Done(RunStatus.UNHEALTHY)


def test_a_watch_that_has_followed_the_change_is_over_when_all_is_healthy() -> None:
    run, _ = iterated(begun(EVENT), 0, B, of=group())
    run = run.after_registration([FOUND], 0)

    assert iterated(run, 100, B, of=group(b=HEALTHY))[1] == Done(RunStatus.SYNCED)


def test_a_watch_whose_answer_changed_is_over_when_another_run_has_made_the_change() -> None:
    run, _ = iterated(begun(EVENT), 0)

    assert iterated(run, 10, B, of=group(b=HEALTHY))[1] == Done(RunStatus.IN_SYNC)
    assert iterated(run, 10, B, of=group(b=INITIAL))[1] == PollDns(11)


def test_a_watch_that_only_removed_something_still_waits_for_the_change() -> None:
    run, _ = iterated(begun(EVENT), 0)
    run = run.after_deregistration([replace(FOUND, action=Action.DEREGISTER)])

    assert iterated(run, 10)[1] == PollDns(11)


def test_a_vetoed_plan_does_not_make_a_run_wait_for_health() -> None:
    run = begun(SCHEDULED).after_registration([FOUND], 0)

    assert iterated(run, 10, "8.8.8.8", of=group(b=INITIAL))[1] == Done(RunStatus.VETOED)


# --- A completed event ------------------------------------------------------------------------


def test_after_a_completed_event_a_group_that_stays_right_and_healthy_is_settled() -> None:
    run, _ = iterated(begun(COMPLETED), 0)

    assert iterated(run, STABLE_SECONDS - 0.1)[1] == PollDns(STABLE_SECONDS - 0.1 + 1)
    assert iterated(run, STABLE_SECONDS)[1] == Done(RunStatus.IN_SYNC)


def test_a_group_settles_at_the_first_look_after_its_time_too() -> None:
    run, _ = iterated(begun(COMPLETED), 0)

    assert iterated(run, STABLE_SECONDS + 0.5)[1] == Done(RunStatus.IN_SYNC)


def test_a_poll_settles_too() -> None:
    run, _ = iterated(begun(COMPLETED), 0)
    run, _ = iterated(run, STABLE_SECONDS - 2)

    assert run.after_dns_poll(said(STABLE_SECONDS))[1] == Done(RunStatus.IN_SYNC)


def test_any_other_event_does_not_settle() -> None:
    run, _ = iterated(begun(EVENT), 0)

    assert iterated(run, STABLE_SECONDS + 1)[1] == PollDns(STABLE_SECONDS + 2)


@pytest.mark.parametrize(
    "between", [group(a=UNHEALTHY), group(a=HEALTHY, b=HEALTHY)], ids=["unhealthy", "not right"]
)
def test_a_group_that_was_wrong_in_between_settles_anew(between: TargetGroup) -> None:
    run, _ = after_looks(begun(COMPLETED), [(0, RIGHT), (10, between), (20, RIGHT)])

    assert iterated(run, STABLE_SECONDS + 1)[1] == PollDns(STABLE_SECONDS + 2)
    assert iterated(run, 20 + STABLE_SECONDS)[1] == Done(RunStatus.IN_SYNC)


def test_a_group_whose_sources_disagree_does_not_settle() -> None:
    run, _ = iterated(begun(COMPLETED), 0)
    silent = replace(said(STABLE_SECONDS + 1), disagreement="The RDS API could not be asked.")

    assert run.after_snapshot(Snapshot(RIGHT, silent))[1] == PollDns(STABLE_SECONDS + 2)


# --- Disputes ---------------------------------------------------------------------------------


def test_a_dispute_keeps_a_scheduled_run_looking_as_if_told_to_watch() -> None:
    run, step = begun(SCHEDULED).after_snapshot(Snapshot(RIGHT, sources_disagree(0, A, B)))
    assert step == PollDns(1)
    assert run.detected_at == 0

    assert run.after_snapshot(Snapshot(RIGHT, sources_disagree(WATCH - 1.1, A, B)))[1] == PollDns(
        WATCH - 1.1 + 1
    )
    assert run.after_snapshot(Snapshot(RIGHT, sources_disagree(WATCH - 1, A, B)))[1] == Done(
        RunStatus.UNFINISHED
    )


def test_a_dispute_ends_with_the_time_of_the_function() -> None:
    short = replace(EVENT, deadline=20)

    step = begun(short).after_snapshot(Snapshot(RIGHT, sources_disagree(19, A, B)))[1]

    assert step == Done(RunStatus.UNFINISHED)


def test_a_dispute_that_is_over_keeps_no_run() -> None:
    run, _ = begun(SCHEDULED).after_snapshot(Snapshot(RIGHT, sources_disagree(0, A, B)))

    assert run.after_snapshot(Snapshot(RIGHT, said(1, A, second=A)))[1] == Done(RunStatus.IN_SYNC)


def test_a_dispute_does_not_keep_a_run_by_hand() -> None:
    step = begun(MANUAL).after_snapshot(Snapshot(RIGHT, sources_disagree(0, A, B)))[1]

    assert step == Done(RunStatus.UNFINISHED)


def test_a_watch_that_followed_a_change_goes_on_while_its_sources_disagree() -> None:
    run, _ = iterated(begun(EVENT), 0)
    moved = group(b=HEALTHY)

    assert run.after_snapshot(Snapshot(moved, sources_disagree(10, B, A)))[1] == PollDns(11)
    silent = replace(said(10, B), disagreement="The RDS API could not be asked.")
    assert run.after_snapshot(Snapshot(moved, silent))[1] == PollDns(11)
    assert run.after_snapshot(Snapshot(moved, said(10, B, second=B)))[1] == Done(RunStatus.IN_SYNC)


# --- What a run notes -------------------------------------------------------------------------


def test_what_was_registered_at_the_first_look_and_what_is_now_are_noted() -> None:
    run, _ = after_looks(begun(EVENT), [(0, RIGHT), (1, group(a=HEALTHY, b=HEALTHY))])

    assert run.initially_registered == frozenset({target(A)})
    assert run.registered_now == {target(A), target(B)}


def test_a_second_right_target_that_is_missing_adds_to_what_is_older() -> None:
    run, _ = iterated(begun(EVENT), 0, B, of=RIGHT)
    assert run.superseded_since == {target(A): 0}
    run, _ = iterated(run, 1, "10.0.3.13", of=group(a=HEALTHY, b=INITIAL))

    assert run.superseded_since == {target(A): 0, target(B): 1}


def test_detection_is_the_first_moment_at_which_something_was_to_do() -> None:
    run, _ = iterated(begun(EVENT), 0)
    assert run.detected_at is None
    run, _ = iterated(run, 5, of=group(a=HEALTHY, b=HEALTHY))
    assert run.detected_at == 5
    run, _ = iterated(run, 7)

    assert run.detected_at == 5


def test_an_answer_that_changed_is_detected_even_if_the_group_is_right() -> None:
    run, _ = iterated(begun(EVENT), 0)
    run, _ = iterated(run, 3, B, of=group(b=HEALTHY))

    assert run.detected_at == 3
    assert run.addresses_changed


def test_healthy_since_counts_from_a_detection_and_without_a_break() -> None:
    run, _ = iterated(begun(EVENT), 0)
    assert run.healthy_at is None  # nothing had happened
    run, _ = iterated(run, 1, B, of=RIGHT)
    moments = []
    for at, state in [(2.0, INITIAL), (3.0, HEALTHY), (4.0, HEALTHY), (5.0, UNHEALTHY)]:
        run, _ = iterated(run, at, B, of=group(b=state))
        moments.append(run.healthy_at)

    assert moments == [None, 3, 3, None]


def test_right_since_needs_a_complete_plan_and_health_without_a_break() -> None:
    moments = []
    run = begun(EVENT)
    groups = [RIGHT, RIGHT, group(a=INITIAL), RIGHT, group(a=HEALTHY, b=HEALTHY), RIGHT]
    for at, seen in enumerate(groups):
        run, _ = iterated(run, float(at), of=seen)
        moments.append(run.in_sync_since)

    assert moments == [0, 0, None, 3, None, 5]


def test_a_run_is_healthy_only_if_every_wanted_target_is() -> None:
    assert iterated(begun(EVENT), 0, A, B, of=group(a=HEALTHY, b=HEALTHY))[0].healthy
    assert not iterated(begun(EVENT), 0, A, B, of=RIGHT)[0].healthy
    assert not iterated(begun(EVENT), 0, "2001:db8::1")[0].healthy
    assert not begun(EVENT).healthy
    assert not begun(EVENT).after_snapshot(Snapshot(RIGHT, failed(0)))[0].healthy


@pytest.mark.parametrize(
    ("now", "stale"), [(100.0, False), (105.0, False), (105.1, True), (900.0, True)]
)
def test_an_answer_is_too_old_to_change_anything_after_five_seconds(
    now: float, *, stale: bool
) -> None:
    run = begun(EVENT).with_observation(said(50.0)).with_observation(said(100.0, B))

    assert run.is_stale(now) is stale


@pytest.mark.parametrize("longest", range(4))
@pytest.mark.parametrize("before", [(), (-2,), (-2, -1)])
def test_the_longest_ttl_of_a_series_is_never_forgotten(
    before: tuple[int, ...], longest: int
) -> None:
    run = begun(EVENT)
    for at in before:
        run = run.with_observation(said(float(at), B))
    for at in range(4):
        run = run.with_observation(said(float(at), ttl=60 if at == longest else 5))

    assert confirm_window(run.observations, POLICY) == 61
    assert [o.at for o in run.observations] == [*before, 0, 3]


def test_a_registration_is_noted_with_its_moment() -> None:
    run = begun(EVENT).after_registration([FOUND], 3)

    assert run.registered == (FOUND,)
    assert run.registered_at == 3
    assert run.changed
    assert run.after_registration([FOUND], 5).registered == (FOUND, FOUND)


def test_a_removal_is_noted() -> None:
    run = begun(EVENT).after_deregistration([FOUND])

    assert run.deregistered == (FOUND,)
    assert run.changed
    assert run.after_deregistration([FOUND]).deregistered == (FOUND, FOUND)


def test_what_was_removed_is_absent_from_then_on_and_the_others_are_still_there() -> None:
    run, _ = iterated(begun(EVENT), 3, A, B, of=group(a=HEALTHY, b=HEALTHY))

    run = run.after_deregistration([FOUND])

    assert run.registered_now == {target(A)}
    assert run.registered_since == {target(A): 3}
    assert run.absent_since == {target(B): 3}


def test_since_when_a_former_target_answers_is_remembered_without_a_break() -> None:
    both, right_dead = group(a=HEALTHY, b=HEALTHY), group(a=UNHEALTHY, b=HEALTHY)
    since = []
    run = begun(EVENT)
    for at, seen in [(0.0, both), (5.0, both), (10.0, right_dead), (15.0, both)]:
        run, _ = iterated(run, at, of=seen)
        since.append(dict(run.undesired_healthy_since))

    assert since == [{target(B): 0}, {target(B): 0}, {}, {target(B): 15}]


# --- How it ends ------------------------------------------------------------------------------


def test_an_incomplete_plan_is_unfinished() -> None:
    slow = Snapshot(group(a=HEALTHY, b=HEALTHY), said(0, ttl=3600))

    assert begun(QUIET).after_snapshot(slow)[1] == Done(RunStatus.UNFINISHED)


def test_a_standby_that_could_not_be_checked_is_unfinished() -> None:
    look = Snapshot(group(a=HEALTHY, b=UNHEALTHY), said(0), StandbyCheck(failure="Throttled."))

    run = begun(QUIET, replace(POLICY, serving_standby=True))

    assert run.after_snapshot(look)[1] == Done(RunStatus.UNFINISHED)


def test_a_source_that_disagrees_is_unfinished() -> None:
    silent = replace(said(0), disagreement="The RDS API could not be asked.")

    assert begun(QUIET).after_snapshot(Snapshot(RIGHT, silent))[1] == Done(RunStatus.UNFINISHED)


def test_a_veto_comes_before_what_is_unfinished() -> None:
    vetoed = sources_disagree(0, "8.8.8.8", A)

    assert begun(MANUAL).after_snapshot(Snapshot(RIGHT, vetoed))[1] == Done(RunStatus.VETOED)


def test_a_draining_target_that_is_not_wanted_keeps_nobody() -> None:
    assert iterated(begun(QUIET), 0, of=group(a=HEALTHY, b=DRAINING))[1] == Done(RunStatus.IN_SYNC)
