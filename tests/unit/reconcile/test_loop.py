"""The next step of a run, for what it has seen."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from target_sync.errors import AwsAccessDeniedError, AwsUnavailableError
from target_sync.model import (
    FailedObservation,
    LookupFailure,
    Observation,
    RunStatus,
    StandbyCheck,
    SwitchState,
    SyncPolicy,
    TargetGroup,
    TargetHealth,
    TargetState,
)
from target_sync.reconcile.loop import (
    DESCRIBE_SECONDS,
    HEALTHY_WITHIN_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Apply,
    Done,
    PollDns,
    RunConfig,
    RunState,
    Snapshot,
    Step,
    TakeSnapshot,
    WaitsFor,
)
from target_sync.reconcile.planner import Action, Change, Reason
from target_sync.reconcile.tracks import Membership, Track, Tracks
from target_sync.targets.pool_planner import PoolChange, PoolReason
from target_sync.targets.warm_pool import PoolReport
from tests.support.scenario import POLICY, A, B, target

HEALTHY, INITIAL = TargetState.HEALTHY, TargetState.INITIAL
DRAINING, UNHEALTHY = TargetState.DRAINING, TargetState.UNHEALTHY
DEADLINE = 585.0
WATCH = 300.0
WINDOW = 6.0

PLAIN = RunConfig(started_at=0, deadline=DEADLINE, watch_until=0)
#: As ``reconciler.py`` builds them.
SCHEDULED = replace(PLAIN, watch_seconds=WATCH)
EVENT = replace(SCHEDULED, watch_until=WATCH)
POLLING = replace(SCHEDULED, poll_until=65.0, dns_poll_seconds=5.0)
MANUAL = replace(PLAIN, wait_for_healthy=False)
SHORT = replace(PLAIN, deadline=300)

THROTTLED = AwsUnavailableError("DescribeTargetHealth", "Throttling", "Rate exceeded")
CHANGE = Change(target(B), Action.REGISTER, Reason.NOT_REGISTERED)


def new_run(config: RunConfig, policy: SyncPolicy = POLICY) -> RunState:
    return RunState(run_config=config, tracks=Tracks(policy=policy))


def group(**states: TargetState) -> TargetGroup:
    addresses = {"a": A, "b": B}
    return TargetGroup(
        tuple(TargetHealth(target(addresses[name]), state) for name, state in states.items())
    )


IN_SYNC = group(a=HEALTHY)


def dns(at: float, *addresses: object, second: object = None, ttl: int = 5) -> Observation:
    return Observation(
        name="db.example.com",
        addresses=frozenset(ip_address(str(a)) for a in addresses or (A,)),
        source="dns",
        ttl=ttl,
        at=at,
        second=None if second is None else frozenset({ip_address(str(second))}),
    )


def disagreeing(at: float, name: object, api: object) -> Observation:
    return replace(dns(at, name, second=api), disagreement="The sources disagree.")


def failed(at: float) -> FailedObservation:
    return FailedObservation(
        name="db.example.com", failure=LookupFailure.TIMED_OUT, detail="No reply.", at=at
    )


def take_snapshot(
    run: RunState, at: float, *addresses: object, of: TargetGroup = IN_SYNC
) -> tuple[RunState, Step]:
    return run.after_snapshot(Snapshot(of, dns(at, *addresses)))


def after_snapshots(
    run: RunState, snapshots: Iterable[tuple[float, TargetGroup]]
) -> tuple[RunState, Step]:
    """Return the run after snapshots of these groups, with equal observations."""
    step: Step = TakeSnapshot(0)
    for at, described in snapshots:
        run, step = take_snapshot(run, at, of=described)
    return run, step


def test_the_default_run_config_neither_watches_nor_polls() -> None:
    assert RunConfig(started_at=0, deadline=9, watch_until=0) == RunConfig(
        started_at=0,
        deadline=9,
        watch_until=0,
        watch_seconds=0,
        poll_until=0,
        dns_poll_seconds=0,
        wait_for_healthy=True,
        dry_run=False,
        iteration_seconds=1,
    )


# --- After a snapshot -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "step"),
    [
        pytest.param(PLAIN, Done(RunStatus.IN_SYNC), id="a manual run ends"),
        pytest.param(SCHEDULED, Done(RunStatus.IN_SYNC), id="a scheduled run ends"),
        pytest.param(EVENT, PollDns(1), id="a run after an event polls"),
        pytest.param(POLLING, PollDns(5), id="a polling run polls less often"),
    ],
)
def test_the_step_after_a_snapshot_in_sync(config: RunConfig, step: Step) -> None:
    assert take_snapshot(new_run(config), 0)[1] == step


def test_a_change_is_applied_at_once() -> None:
    run, step = take_snapshot(new_run(SCHEDULED), 10, B)

    assert isinstance(step, Apply)
    assert [c.target for c in step.plan.to_register] == [target(B)]
    assert run.detected_at == 10


def test_a_dry_run_ends_after_its_first_plan() -> None:
    assert take_snapshot(new_run(replace(PLAIN, dry_run=True)), 0, B)[1] == Done(RunStatus.DRY_RUN)


@pytest.mark.parametrize(
    ("at", "applies"), [(DEADLINE - 0.1, True), (DEADLINE, False), (DEADLINE + 1, False)]
)
def test_a_run_changes_nothing_after_its_deadline(at: float, *, applies: bool) -> None:
    step = take_snapshot(new_run(SCHEDULED), at, B)[1]

    assert isinstance(step, Apply) is applies
    assert applies or step == Done(RunStatus.UNFINISHED)


def test_a_watching_run_polls_dns_between_descriptions() -> None:
    run, step = take_snapshot(new_run(EVENT), 0)
    steps = [step]
    while isinstance(step, PollDns):
        run, step = run.after_dns_poll(dns(step.at))
        steps.append(step)

    assert steps == [*map(PollDns, range(1, 6)), TakeSnapshot(DESCRIBE_SECONDS)]
    assert (run.iterations, run.dns_polls) == (1, 5)


def test_the_next_description_is_due_six_seconds_after_the_last_snapshot() -> None:
    run, _ = after_snapshots(new_run(EVENT), [(0, IN_SYNC), (5, IN_SYNC)])

    assert run.after_dns_poll(dns(9.5))[1] == PollDns(10.5)
    assert run.after_dns_poll(dns(10.0))[1] == TakeSnapshot(11.0)


def test_a_due_confirmation_needs_a_snapshot() -> None:
    run, step = take_snapshot(new_run(SCHEDULED), 0, of=group(a=HEALTHY, b=HEALTHY))
    assert step == PollDns(1)
    run, _ = take_snapshot(run, 4, of=group(a=HEALTHY, b=HEALTHY))

    assert run.after_dns_poll(dns(4.5))[1] == PollDns(5.5)
    assert run.after_dns_poll(dns(5.0))[1] == TakeSnapshot(WINDOW)


@pytest.mark.parametrize("late", [0, 0.5, 0.9])
def test_a_snapshot_that_is_due_between_two_polls_replaces_the_second(late: float) -> None:
    watched, _ = take_snapshot(new_run(EVENT), 0)
    assert watched.after_dns_poll(dns(4.9))[1] == PollDns(5.9)
    assert watched.after_dns_poll(dns(5 + late))[1] == TakeSnapshot(DESCRIBE_SECONDS + late)

    run, _ = after_snapshots(
        new_run(SCHEDULED), [(at, group(a=HEALTHY, b=HEALTHY)) for at in (0, 4)]
    )
    assert run.after_dns_poll(dns(4.9))[1] == PollDns(5.9)
    assert run.after_dns_poll(dns(5 + late))[1] == TakeSnapshot(WINDOW + late)


def applied(run: RunState, at: float, of: TargetGroup = IN_SYNC) -> tuple[RunState, Step]:
    """Return the run after it registered the missing B."""
    run, step = take_snapshot(run, at, B, of=of)
    assert isinstance(step, Apply)
    return run.after_registration(step.plan.to_register, at).after_change(step.plan)


@pytest.mark.parametrize("config", [SCHEDULED, EVENT, MANUAL])
def test_a_run_polls_after_a_registration_until_the_removal_is_due(config: RunConfig) -> None:
    run, step = applied(new_run(config), 0)
    assert step == PollDns(1)
    for second in range(1, 5):
        run, step = run.after_dns_poll(dns(second, B))
        assert step == PollDns(second + 1)
    assert run.after_dns_poll(dns(5, B))[1] == TakeSnapshot(WINDOW)


def test_a_registration_needs_a_snapshot_if_no_removal_waits() -> None:
    assert applied(new_run(MANUAL), 0, of=group())[1] == TakeSnapshot(1)


@pytest.mark.parametrize(
    ("at", "step"),
    [
        (DEADLINE - WINDOW - 0.1, PollDns),
        (DEADLINE - WINDOW, TakeSnapshot),
        (DEADLINE - WINDOW + 0.1, TakeSnapshot),
    ],
)
def test_a_run_polls_after_a_registration_only_if_the_removal_is_due_in_time(
    at: float, step: type[PollDns | TakeSnapshot]
) -> None:
    assert isinstance(applied(new_run(MANUAL), at)[1], step)


def test_a_removal_needs_a_snapshot_a_second_later_even_if_another_one_waits() -> None:
    both = group(a=HEALTHY, b=HEALTHY)
    waiting, _ = take_snapshot(new_run(MANUAL), WINDOW, of=both)
    run, step = after_snapshots(new_run(MANUAL), [(0, both), (WINDOW, both)])
    assert isinstance(step, Apply)
    assert step.plan.to_deregister
    assert run.after_change(step.plan)[1] == TakeSnapshot(WINDOW + 1)
    assert waiting.plan is not None
    plan = replace(step.plan, changes=(*step.plan.changes, *waiting.plan.changes))
    assert plan.confirmation_due_at == 2 * WINDOW
    assert run.after_change(plan)[1] == TakeSnapshot(WINDOW + 1)


def test_every_run_waits_for_a_confirmation_that_is_due_before_the_deadline() -> None:
    extra = group(a=HEALTHY, b=HEALTHY)

    assert take_snapshot(new_run(PLAIN), DEADLINE - WINDOW - 0.1, of=extra)[1] == PollDns(
        DEADLINE - WINDOW - 0.1 + 1
    )
    assert take_snapshot(new_run(PLAIN), DEADLINE - WINDOW, of=extra)[1] == Done(
        RunStatus.UNFINISHED
    )


def test_a_run_watches_until_the_end_of_the_watch() -> None:
    run, _ = take_snapshot(new_run(EVENT), WATCH - 1.1)

    assert run.after_dns_poll(dns(WATCH - 1.1))[1] == PollDns(WATCH - 1.1 + 1)
    assert run.after_dns_poll(dns(WATCH - 1))[1] == Done(RunStatus.IN_SYNC)


def test_a_watch_ends_at_the_deadline() -> None:
    short = replace(EVENT, deadline=20)

    assert take_snapshot(new_run(short), 18.9)[1] == PollDns(19.9)
    assert take_snapshot(new_run(short), 19)[1] == Done(RunStatus.IN_SYNC)


# --- After a DNS poll -------------------------------------------------------------------------


def test_a_changed_observation_needs_a_snapshot_at_once() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)

    assert run.after_dns_poll(dns(1, B))[1] == TakeSnapshot(1)


def test_a_poll_is_compared_with_the_newest_observation() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    run, step = take_snapshot(run, 1, B, of=group(b=INITIAL))
    assert step == PollDns(2)

    assert run.after_dns_poll(dns(2, B))[1] == PollDns(3)
    assert run.after_dns_poll(dns(2, A))[1] == TakeSnapshot(2)


def test_a_changed_second_source_needs_a_snapshot_at_once() -> None:
    run, _ = new_run(EVENT).after_snapshot(Snapshot(IN_SYNC, dns(0, A, second=A)))

    assert run.after_dns_poll(dns(1, A, second=A))[1] == PollDns(2)
    assert run.after_dns_poll(dns(1, A, second=B))[1] == TakeSnapshot(1)


def test_a_poll_after_a_failed_snapshot_needs_a_snapshot() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    run, _ = run.after_snapshot(Snapshot(IN_SYNC, failed(1)))

    assert run.plan is None
    assert run.after_dns_poll(dns(2))[1] == TakeSnapshot(2)


def test_a_failed_poll_is_a_failure() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    run, step = run.after_dns_poll(failed(1))

    assert step == TakeSnapshot(2)
    assert (run.dns_polls, run.failures, run.failures_in_a_row) == (1, 1, 1)
    assert str(run.error) == "No reply."


def test_a_successful_poll_clears_the_failure() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    run, _ = run.after_dns_poll(failed(1))
    run, _ = run.after_dns_poll(dns(2))

    assert run.error is None
    assert run.failures == 1


# --- Failures ---------------------------------------------------------------------------------


def test_each_failure_in_a_row_doubles_the_pause() -> None:
    run, at, pauses = new_run(EVENT), 0.0, []
    for _ in range(5):
        run, step = run.after_failure(THROTTLED, at)
        assert isinstance(step, TakeSnapshot)
        pauses.append(step.at - at)
        at = step.at

    assert pauses == [1, 2, 4, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert (run.failures, run.failures_in_a_row) == (5, 5)


def test_a_snapshot_with_nothing_to_apply_ends_the_row_of_failures() -> None:
    run, _ = new_run(EVENT).after_failure(THROTTLED, 0)

    assert take_snapshot(run, 1)[0].failures_in_a_row == 0


def test_a_snapshot_with_something_to_apply_does_not_end_the_row_of_failures() -> None:
    run, _ = new_run(EVENT).after_failure(THROTTLED, 0)

    assert take_snapshot(run, 1, B)[0].failures_in_a_row == 1


def test_a_successful_change_ends_the_row_of_failures() -> None:
    run, _ = new_run(EVENT).after_failure(THROTTLED, 0)
    run, _ = take_snapshot(run, 1, B)

    assert run.after_registration([CHANGE], 1).failures_in_a_row == 0
    assert run.after_deregistration([CHANGE]).failures_in_a_row == 0
    assert run.after_deregistration([CHANGE]).failures == 1


@pytest.mark.parametrize("config", [PLAIN, SCHEDULED, MANUAL])
def test_a_run_without_a_watch_fails_at_once(config: RunConfig) -> None:
    assert new_run(config).after_failure(THROTTLED, 0)[1] == Done(RunStatus.FAILED, THROTTLED)


@pytest.mark.parametrize(
    ("config", "ends_at"),
    [
        pytest.param(EVENT, WATCH, id="a watch"),
        pytest.param(POLLING, 65.0, id="polling"),
        pytest.param(replace(EVENT, deadline=100.0), 100.0, id="a watch at the deadline"),
        pytest.param(replace(POLLING, deadline=30.0), 30.0, id="polling at the deadline"),
    ],
)
def test_a_run_retries_after_failures_until_the_end_of(config: RunConfig, ends_at: float) -> None:
    assert new_run(config).after_failure(THROTTLED, ends_at - 1.1)[1] == TakeSnapshot(
        ends_at - 1.1 + 1
    )
    assert new_run(config).after_failure(THROTTLED, ends_at - 1)[1] == Done(
        RunStatus.FAILED, THROTTLED
    )


@pytest.mark.parametrize("config", [SCHEDULED, POLLING])
def test_a_run_that_detected_a_change_retries_after_failures(config: RunConfig) -> None:
    run, _ = take_snapshot(new_run(config), 10, B)

    assert run.after_failure(THROTTLED, 10 + WATCH - 1.1)[1] == TakeSnapshot(10 + WATCH - 0.1)
    assert run.after_failure(THROTTLED, 10 + WATCH - 1)[1] == Done(RunStatus.FAILED, THROTTLED)


def test_a_final_error_ends_every_run() -> None:
    denied = AwsAccessDeniedError("DescribeTargetHealth", "AccessDenied", "not allowed")

    assert new_run(EVENT).after_failure(denied, 0)[1] == Done(RunStatus.FAILED, denied)


@pytest.mark.parametrize(
    ("failure", "retries"), [(LookupFailure.TIMED_OUT, True), (LookupFailure.ACCESS_DENIED, False)]
)
def test_a_run_retries_a_failed_observation_unless_it_was_denied(
    failure: LookupFailure, *, retries: bool
) -> None:
    step = new_run(EVENT).after_snapshot(Snapshot(IN_SYNC, replace(failed(0), failure=failure)))[1]

    assert isinstance(step, TakeSnapshot) is retries


def test_a_manual_run_fails_at_once_even_if_it_detected_a_change() -> None:
    run, _ = take_snapshot(new_run(MANUAL), 10, B)

    assert run.after_failure(THROTTLED, 10)[1] == Done(RunStatus.FAILED, THROTTLED)


# --- Polling ----------------------------------------------------------------------------------


def test_a_polling_run_polls_until_its_end_and_describes_nothing() -> None:
    run, step = take_snapshot(new_run(POLLING), 0)
    times = []
    while isinstance(step, PollDns):
        times.append(step.at)
        run, step = run.after_dns_poll(dns(step.at))

    assert times == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60]
    assert step == Done(RunStatus.IN_SYNC)
    assert run.iterations == 1


def test_polling_ends_at_the_deadline() -> None:
    short = replace(POLLING, deadline=30)

    assert take_snapshot(new_run(short), 24.9)[1] == PollDns(29.9)
    assert take_snapshot(new_run(short), 25)[1] == Done(RunStatus.IN_SYNC)


def test_a_polling_run_observes_every_second_after_a_change() -> None:
    run, _ = take_snapshot(new_run(POLLING), 0)
    run, step = run.after_dns_poll(dns(5, B))
    assert step == TakeSnapshot(5)
    run, step = take_snapshot(run, 5, B)
    assert isinstance(step, Apply)
    run = run.after_registration([CHANGE], 5)

    assert take_snapshot(run, 6, B, of=group(a=HEALTHY, b=INITIAL))[1] == PollDns(7)


def test_a_polling_run_continues_to_poll_after_a_change() -> None:
    run, _ = take_snapshot(new_run(POLLING), 0)
    run = run.after_registration([CHANGE], 5)

    assert take_snapshot(run, 20, B, of=group(b=HEALTHY))[1] == PollDns(25)
    assert take_snapshot(run, 60, B, of=group(b=HEALTHY))[1] == Done(RunStatus.SYNCED)


# --- After a change ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "step"),
    [
        pytest.param(SCHEDULED, PollDns(11), id="a scheduled run waits for health"),
        pytest.param(EVENT, PollDns(11), id="a run after an event waits for health"),
        pytest.param(MANUAL, Done(RunStatus.SYNCED), id="a manual run does not wait"),
    ],
)
def test_the_step_while_a_registered_target_is_not_healthy(config: RunConfig, step: Step) -> None:
    run, _ = take_snapshot(new_run(config), 0, B, of=group())
    run = run.after_registration([CHANGE], 0)

    assert take_snapshot(run, 10, B, of=group(b=INITIAL))[1] == step


def test_a_run_without_a_healthy_target_ends_unhealthy_at_its_deadline() -> None:
    run, _ = take_snapshot(new_run(SCHEDULED), 0, B, of=group())
    run = run.after_registration([CHANGE], 0)

    last = take_snapshot(run, DEADLINE - 1, B, of=group(b=UNHEALTHY))[1]

    assert last == Done(RunStatus.UNHEALTHY)


@pytest.mark.parametrize("registered_at", [0, 50])
def test_a_run_waits_five_minutes_for_health_after_its_last_registration(
    registered_at: float,
) -> None:
    run, _ = take_snapshot(new_run(SCHEDULED), 0, B, of=group())
    run = run.after_registration([CHANGE], registered_at)
    ends_at = registered_at + HEALTHY_WITHIN_SECONDS

    assert take_snapshot(run, ends_at - 1.5, B, of=group(b=INITIAL))[1] == PollDns(ends_at - 0.5)
    assert take_snapshot(run, ends_at - 1, B, of=group(b=INITIAL))[1] == Done(RunStatus.UNHEALTHY)


def test_a_watch_ends_after_a_change_once_every_target_is_healthy() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0, B, of=group())
    run = run.after_registration([CHANGE], 0)

    assert take_snapshot(run, 100, B, of=group(b=HEALTHY))[1] == Done(RunStatus.SYNCED)


def test_a_watch_ends_after_another_run_made_the_change() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)

    assert take_snapshot(run, 10, B, of=group(b=HEALTHY))[1] == Done(RunStatus.IN_SYNC)
    assert take_snapshot(run, 10, B, of=group(b=INITIAL))[1] == PollDns(11)


def test_a_watch_continues_after_a_removal_alone() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    run = run.after_deregistration([replace(CHANGE, action=Action.DEREGISTER)])

    assert take_snapshot(run, 10)[1] == PollDns(11)


def test_a_run_with_a_vetoed_plan_does_not_wait_for_health() -> None:
    run, _ = take_snapshot(new_run(SCHEDULED), 0, B, of=group())
    run = run.after_registration([CHANGE], 0)

    assert take_snapshot(run, 10, "8.8.8.8", of=group(b=INITIAL))[1] == Done(RunStatus.VETOED)


# --- Disagreeing sources ----------------------------------------------------------------------


def test_a_scheduled_run_watches_while_the_sources_disagree() -> None:
    run, step = new_run(SCHEDULED).after_snapshot(Snapshot(IN_SYNC, disagreeing(0, A, B)))
    assert step == PollDns(1)
    assert run.detected_at == 0

    assert run.after_snapshot(Snapshot(IN_SYNC, disagreeing(WATCH - 1.1, A, B)))[1] == PollDns(
        WATCH - 1.1 + 1
    )
    assert run.after_snapshot(Snapshot(IN_SYNC, disagreeing(WATCH - 1, A, B)))[1] == Done(
        RunStatus.UNFINISHED
    )


def test_a_run_with_disagreeing_sources_ends_at_the_deadline() -> None:
    short = replace(EVENT, deadline=20)

    step = new_run(short).after_snapshot(Snapshot(IN_SYNC, disagreeing(19, A, B)))[1]

    assert step == Done(RunStatus.UNFINISHED)


def test_a_run_ends_when_the_sources_agree_again() -> None:
    run, _ = new_run(SCHEDULED).after_snapshot(Snapshot(IN_SYNC, disagreeing(0, A, B)))

    assert run.after_snapshot(Snapshot(IN_SYNC, dns(1, A, second=A)))[1] == Done(RunStatus.IN_SYNC)


def test_a_manual_run_does_not_wait_while_the_sources_disagree() -> None:
    step = new_run(MANUAL).after_snapshot(Snapshot(IN_SYNC, disagreeing(0, A, B)))[1]

    assert step == Done(RunStatus.UNFINISHED)


def test_a_watch_continues_after_a_change_while_the_sources_disagree() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    moved = group(b=HEALTHY)

    assert run.after_snapshot(Snapshot(moved, disagreeing(10, B, A)))[1] == PollDns(11)
    without_second = replace(dns(10, B), disagreement="The RDS API failed.")
    assert run.after_snapshot(Snapshot(moved, without_second))[1] == PollDns(11)
    assert run.after_snapshot(Snapshot(moved, dns(10, B, second=B)))[1] == Done(RunStatus.IN_SYNC)


# --- What a run remembers ---------------------------------------------------------------------


def test_a_run_remembers_the_initial_and_the_current_targets() -> None:
    run, _ = after_snapshots(new_run(EVENT), [(0, IN_SYNC), (1, group(a=HEALTHY, b=HEALTHY))])

    assert run.initially_registered == frozenset({target(A)})
    assert run.tracks.registered == {target(A), target(B)}


def superseded(run: RunState) -> dict[object, float]:
    tracks = run.tracks.seen.items()
    return {t: k.superseded_since for t, k in tracks if k.superseded_since is not None}


def test_each_missing_target_supersedes_the_registered_ones() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0, B, of=IN_SYNC)
    assert superseded(run) == {target(A): 0}
    run, _ = take_snapshot(run, 1, "10.0.3.13", of=group(a=HEALTHY, b=INITIAL))

    assert superseded(run) == {target(A): 0, target(B): 1}


def test_an_announced_target_supersedes_the_desired_one() -> None:
    run, _ = new_run(EVENT).after_snapshot(Snapshot(IN_SYNC, disagreeing(0, A, A)))
    assert not superseded(run)
    run, _ = run.after_snapshot(Snapshot(IN_SYNC, disagreeing(1, A, B)))

    assert superseded(run) == {target(A): 1}


def test_the_detection_is_the_first_time_with_something_to_change() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    assert run.detected_at is None
    run, _ = take_snapshot(run, 5, of=group(a=HEALTHY, b=HEALTHY))
    assert run.detected_at == 5
    run, _ = take_snapshot(run, 7)

    assert run.detected_at == 5


def test_a_changed_address_is_detected_even_if_the_group_is_in_sync() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    run, _ = take_snapshot(run, 3, B, of=group(b=HEALTHY))

    assert run.detected_at == 3


def test_healthy_at_is_unbroken_and_after_the_detection() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    assert run.healthy_at is None  # nothing is detected yet
    run, _ = take_snapshot(run, 1, B, of=IN_SYNC)
    times = []
    for at, state in [(2.0, INITIAL), (3.0, HEALTHY), (4.0, HEALTHY), (5.0, UNHEALTHY)]:
        run, _ = take_snapshot(run, at, B, of=group(b=state))
        times.append(run.healthy_at)

    assert times == [None, 3, 3, None]


def test_a_run_is_healthy_only_if_every_desired_target_is() -> None:
    assert take_snapshot(new_run(EVENT), 0, A, B, of=group(a=HEALTHY, b=HEALTHY))[0].healthy
    assert not take_snapshot(new_run(EVENT), 0, A, B, of=IN_SYNC)[0].healthy
    assert not take_snapshot(new_run(EVENT), 0, "2001:db8::1")[0].healthy
    assert not new_run(EVENT).healthy
    assert not new_run(EVENT).after_snapshot(Snapshot(IN_SYNC, failed(0)))[0].healthy


@pytest.mark.parametrize(
    ("now", "stale"), [(100.0, False), (105.0, False), (105.1, True), (900.0, True)]
)
def test_an_observation_is_stale_after_five_seconds(now: float, *, stale: bool) -> None:
    run, _ = after_snapshots(new_run(EVENT), [(50, IN_SYNC), (100, IN_SYNC)])

    assert run.is_stale(now) is stale


@pytest.mark.parametrize("longest", range(4))
def test_a_run_remembers_the_longest_ttl(longest: int) -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    for at in range(4):
        run, _ = run.after_dns_poll(dns(float(at), ttl=60 if at == longest else 5))

    assert run.tracks.confirm_window(Track()) == 61


def test_a_run_keeps_its_first_and_its_newest_observation() -> None:
    run, _ = take_snapshot(new_run(POLLING), 0)
    for at in (5.0, 10.0, 15.0):
        run, _ = run.after_dns_poll(dns(at))

    assert [observation.at for observation in run.observations] == [0, 15]


def test_a_run_remembers_what_it_waited_for_last() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    assert run.waited_for == (WaitsFor.ANNOUNCED_CHANGE,)
    run, _ = run.after_failure(THROTTLED, 1)
    run, _ = applied(run, 2)
    assert run.waited_for == (WaitsFor.ANNOUNCED_CHANGE, WaitsFor.RETRY, WaitsFor.CONFIRMATION)
    run, _ = take_snapshot(run, 10, B, of=group(b=INITIAL))
    assert run.waited_for[-1] is WaitsFor.HEALTH
    run, _ = run.after_failure(THROTTLED, 11)
    assert run.waited_for == (
        WaitsFor.ANNOUNCED_CHANGE,
        WaitsFor.CONFIRMATION,
        WaitsFor.HEALTH,
        WaitsFor.RETRY,
    )


def test_a_registration_is_remembered_with_its_time() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0, B)
    run = run.after_registration([CHANGE], 3)

    assert run.registered == (CHANGE,)
    assert run.registered_at == 3
    assert run.changed
    again = run.after_registration([CHANGE], 5)
    assert (again.registered, again.registered_at) == ((CHANGE,), 5)


def test_a_removal_is_remembered() -> None:
    run, _ = take_snapshot(new_run(EVENT), 0)
    run = run.after_deregistration([CHANGE])

    assert run.deregistered == (CHANGE,)
    assert run.changed
    assert run.after_deregistration([CHANGE]).deregistered == (CHANGE,)


def test_a_removed_target_is_absent_and_the_others_stay_registered() -> None:
    run, _ = take_snapshot(new_run(EVENT), 3, A, B, of=group(a=HEALTHY, b=HEALTHY))

    run = run.after_deregistration([CHANGE])

    assert run.tracks.registered == {target(A)}
    left = run.tracks.seen[target(B)]
    assert (left.membership, left.member_since) == (Membership.LEFT, 3)


def test_the_time_of_an_undesired_healthy_target_is_unbroken() -> None:
    both, right_dead = group(a=HEALTHY, b=HEALTHY), group(a=UNHEALTHY, b=HEALTHY)
    since = []
    run = new_run(EVENT)
    for at, described in [(0.0, both), (5.0, both), (10.0, right_dead), (15.0, both)]:
        run, _ = take_snapshot(run, at, of=described)
        since.append(run.tracks.seen[target(B)].healthy_since)

    assert since == [0, 0, None, 15]


# --- The status at the end --------------------------------------------------------------------


def test_an_incomplete_plan_is_unfinished() -> None:
    slow = Snapshot(group(a=HEALTHY, b=HEALTHY), dns(0, ttl=300))

    assert new_run(SHORT).after_snapshot(slow)[1] == Done(RunStatus.UNFINISHED)


def test_a_failed_standby_check_is_unfinished() -> None:
    snapshot = Snapshot(group(a=HEALTHY, b=UNHEALTHY), dns(0), StandbyCheck(failure="Throttled."))

    run = new_run(PLAIN, replace(POLICY, serving_standby=True))

    assert run.after_snapshot(snapshot)[1] == Done(RunStatus.UNFINISHED)


def test_disagreeing_sources_are_unfinished() -> None:
    without_second = replace(dns(0), disagreement="The RDS API failed.")

    assert new_run(PLAIN).after_snapshot(Snapshot(IN_SYNC, without_second))[1] == Done(
        RunStatus.UNFINISHED
    )


def test_vetoed_takes_precedence_over_unfinished() -> None:
    vetoed = disagreeing(0, "8.8.8.8", A)

    assert new_run(MANUAL).after_snapshot(Snapshot(IN_SYNC, vetoed))[1] == Done(RunStatus.VETOED)


def test_a_run_does_not_wait_for_an_undesired_draining_target() -> None:
    assert take_snapshot(new_run(PLAIN), 0, of=group(a=HEALTHY, b=DRAINING))[1] == Done(
        RunStatus.IN_SYNC
    )


# --- The refresh of the warm pool -------------------------------------------------------------

REPORT = PoolReport(state=SwitchState.PROVEN)


def test_the_pool_is_refreshed_before_the_run_waits_for_the_next_one_or_ends() -> None:
    waits = take_snapshot(new_run(POLLING), 0)
    ends = take_snapshot(new_run(MANUAL), 0)

    assert waits[0].needs_refresh(waits[1])
    confirmed = replace(waits[0], waited_for=(WaitsFor.CONFIRMATION, WaitsFor.NEXT_RUN))
    assert confirmed.needs_refresh(waits[1])
    assert ends[0].needs_refresh(ends[1])
    assert waits[0].after_refresh(REPORT)[1] == waits[1] == PollDns(5.0)
    assert ends[0].after_refresh(REPORT)[1] == ends[1] == Done(RunStatus.IN_SYNC)


@pytest.mark.parametrize(
    ("config", "at", "of"),
    [
        (replace(MANUAL, dry_run=True), 0, IN_SYNC),
        (EVENT, 0, IN_SYNC),
        (SCHEDULED, 0, group(a=HEALTHY, b=HEALTHY)),
        (MANUAL, DEADLINE, IN_SYNC),
        (MANUAL, DEADLINE + 1, IN_SYNC),
    ],
    ids=["dry run", "announced change", "a change is due", "no time", "late"],
)
def test_the_pool_is_not_refreshed_while_something_else_is_due(
    config: RunConfig, at: float, of: TargetGroup
) -> None:
    run, step = take_snapshot(new_run(config), at, of=of)

    assert not run.needs_refresh(step)


def test_an_unfinished_run_refreshes_nothing() -> None:
    slow = Snapshot(group(a=HEALTHY, b=HEALTHY), dns(0, ttl=300))
    run, step = new_run(SHORT).after_snapshot(slow)

    assert step == Done(RunStatus.UNFINISHED)
    assert not run.needs_refresh(step)


def test_a_failed_run_refreshes_nothing() -> None:
    run, _ = take_snapshot(new_run(MANUAL), 0)

    assert not run.needs_refresh(run.after_failure(THROTTLED, 1)[1])
    failing, step = new_run(MANUAL).after_failure(THROTTLED, 1)
    assert not failing.needs_refresh(step)


def test_a_run_that_retries_a_failed_poll_refreshes_nothing() -> None:
    run, step = take_snapshot(new_run(POLLING), 0)
    assert run.needs_refresh(step)

    run, step = run.after_dns_poll(failed(5.0))

    assert step == TakeSnapshot(6.0)
    assert not run.needs_refresh(step)


def test_the_pool_is_refreshed_once_and_again_when_the_report_says_so() -> None:
    run, _ = take_snapshot(new_run(POLLING), 0)
    once, step = run.after_refresh(REPORT)
    assert not once.needs_refresh(step)

    run, step = run.after_refresh(replace(REPORT, due_at=10.0))
    assert step == PollDns(5.0)
    run, step = run.after_dns_poll(dns(5.0))
    assert step == TakeSnapshot(10.0)
    assert not run.needs_refresh(step)
    run, step = take_snapshot(run, 10.0)
    assert run.needs_refresh(step)


def test_a_changed_answer_comes_before_a_due_refresh() -> None:
    run, _ = take_snapshot(new_run(POLLING), 0)
    run, _ = run.after_refresh(replace(REPORT, due_at=5.0))

    run, step = run.after_dns_poll(dns(5.0, B))

    assert step == TakeSnapshot(5.0)
    assert not run.needs_refresh(step)


def test_the_reports_of_a_run_add_up() -> None:
    registered = (PoolChange(target(B), PoolReason.CANDIDATE),)
    first = replace(REPORT, registered=registered, failures=("one",), due_at=9.0)
    second = replace(REPORT, kept=registered, closed=(target(A),), failures=("two",))

    run, _ = take_snapshot(new_run(POLLING), 0)
    run, _ = run.after_refresh(first)
    run, _ = run.after_refresh(second)

    assert run.pool == replace(
        REPORT,
        registered=registered,
        kept=registered,
        closed=(target(A),),
        failures=("one", "two"),
    )
