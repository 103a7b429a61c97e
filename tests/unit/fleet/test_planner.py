"""Which group gets the next run."""

from dataclasses import replace
from random import Random

from target_sync.fleet.model import Binding, FindingCode, RunReason
from target_sync.fleet.planner import (
    AUDIT_SECONDS,
    BACKGROUND_RUNS,
    RETRY_SECONDS,
    PlannedRun,
    RunPlanner,
)
from target_sync.model import IPAddress
from tests.unit.fleet.builders import POLICY, A, B, arn, binding, failed, observation

CHANGED, UNVERIFIED, AUDIT = RunReason


def planner_of(*numbers: int, verified: bool = True) -> RunPlanner:
    """Return a planner of groups that were observed at A, and verified at second 0."""
    planner = RunPlanner(Random(1).shuffle)  # noqa: S311 - a sequence
    planner.update(map(binding, numbers), 0.0)
    for number in numbers:
        observe(planner, number, A)
        if verified:
            planner.end_run(binding(number), frozenset({A}), 0.0)
    return planner


def observe(planner: RunPlanner, number: int, address: IPAddress | None) -> None:
    key = binding(number).endpoint_key
    planner.observe(key, failed() if address is None else observation(address))


def reason(planned: PlannedRun | None) -> RunReason | None:
    return planned.reason if planned else None


def runs(planner: RunPlanner, now: float, count: int) -> list[RunReason | None]:
    """Begin this many runs, and end each at once without success."""
    reasons = list[RunReason | None]()
    for _ in range(count):
        planned = planner.next_run(now)
        reasons.append(reason(planned))
        if planned:
            planner.end_run(planned.binding, None, now)
    return reasons


def test_a_group_in_sync_needs_no_run_before_its_audit() -> None:
    planner = planner_of(1)
    assert planner.next_run(AUDIT_SECONDS - 0.1) is None
    assert planner.next_run(AUDIT_SECONDS) == PlannedRun(binding(1), AUDIT)


def test_a_new_group_waits_until_it_was_observed() -> None:
    planner = RunPlanner(Random(1).shuffle)  # noqa: S311 - as above
    planner.update([binding(1)], 0.0)
    assert planner.next_run(0.0) is None
    assert planner.waiting() == 0
    observe(planner, 1, A)
    assert planner.waiting() == 1
    assert planner.next_run(0.0) == PlannedRun(binding(1), UNVERIFIED)
    assert planner.waiting() == 0


def test_a_group_never_has_two_runs() -> None:
    planner = planner_of(1)
    observe(planner, 1, B)
    assert reason(planner.next_run(0.0)) is CHANGED
    observe(planner, 1, A)
    observe(planner, 1, B)
    assert planner.next_run(2 * AUDIT_SECONDS) is None


def test_an_address_that_changes_back_needs_no_run() -> None:
    planner = planner_of(1)
    observe(planner, 1, B)
    observe(planner, 1, A)
    assert planner.waiting() == 0


def test_an_address_that_changes_during_the_run_needs_another_one() -> None:
    planner = planner_of(1)
    observe(planner, 1, B)
    planner.next_run(0.0)
    planner.end_run(binding(1), frozenset({A}), 1.0)
    assert reason(planner.next_run(1.0)) is CHANGED
    planner.end_run(binding(1), frozenset({B}), 2.0)
    assert planner.waiting() == 0


def test_an_unverified_group_whose_address_changes_is_urgent() -> None:
    planner = planner_of(1, 2, verified=False)
    observe(planner, 2, B)
    observe(planner, 2, B)
    assert planner.next_run(0.0) == PlannedRun(binding(2), CHANGED)


def test_a_failed_observation_causes_a_finding_and_no_run() -> None:
    planner = planner_of(1, 2)
    observe(planner, 1, B)
    observe(planner, 1, None)
    assert planner.waiting() == 0
    assert reason(planner.next_run(AUDIT_SECONDS)) is AUDIT
    assert planner.active.keys() == {arn(2)}
    (finding,) = planner.findings()
    assert (finding.arn, finding.code) == (arn(1), FindingCode.LOOKUP_FAILED)
    assert planner.longest_unverified(10.0) == 10.0


def test_ignores_the_observation_of_an_endpoint_that_no_group_has_any_more() -> None:
    planner = planner_of(1)
    planner.update([], 0.0)
    observe(planner, 1, B)
    assert (planner.bindings, planner.observations, planner.findings()) == ([], {}, ())
    assert planner.longest_unverified(10.0) == 0.0


def test_changed_groups_are_served_in_the_sequence_of_their_changes() -> None:
    planner = planner_of(1, 2, 3)
    for number in (2, 3, 1):
        observe(planner, number, B)
    seen = [planner.next_run(0.0) for _ in range(3)]
    assert [it.binding.arn for it in seen if it] == [arn(2), arn(3), arn(1)]


def test_failovers_come_first_and_block_neither_new_groups_nor_audits() -> None:
    planner = planner_of(*range(100))
    for number in range(20):
        observe(planner, number, B)
    planner.update(map(binding, range(120)), 0.0)
    for number in range(100, 120):
        observe(planner, number, A)
    assert runs(planner, 100.0, 8) == [CHANGED, CHANGED, UNVERIFIED, AUDIT] * 2


def test_without_other_work_failovers_have_every_turn() -> None:
    planner = planner_of(*range(20))
    for number in range(20):
        observe(planner, number, B)
    assert runs(planner, 0.0, 20) == [CHANGED] * 20


def test_a_failed_group_is_tried_again_after_a_pause_behind_the_others() -> None:
    planner = planner_of(1, verified=False)
    assert runs(planner, 0.0, 2) == [UNVERIFIED, None]
    planner.update([binding(1), binding(2)], 1.0)
    observe(planner, 2, A)
    assert reason(planner.next_run(RETRY_SECONDS)) is UNVERIFIED
    assert planner.next_run(RETRY_SECONDS) is not None
    assert planner.longest_unverified(RETRY_SECONDS) == RETRY_SECONDS


def test_only_failovers_begin_beside_many_other_runs() -> None:
    planner = planner_of(*range(BACKGROUND_RUNS + 2), verified=False)
    for _ in range(BACKGROUND_RUNS):
        assert reason(planner.next_run(0.0)) is UNVERIFIED
    assert planner.next_run(0.0) is None
    for number in range(BACKGROUND_RUNS + 2):
        observe(planner, number, B)
    assert reason(planner.next_run(0.0)) is CHANGED


def test_a_group_whose_name_failed_during_the_run_is_verified() -> None:
    planner = planner_of(1)
    observe(planner, 1, B)
    planner.next_run(0.0)
    observe(planner, 1, None)
    planner.end_run(binding(1), frozenset({B}), 1.0)
    observe(planner, 1, B)
    assert planner.waiting() == 0


def test_the_audit_visits_every_group_once_in_a_round_oldest_first() -> None:
    count = 90
    planner, seen = planner_of(*range(count)), list[str]()
    # A group verified in the last 30 s gets no audit.
    for tick in range(29 + int(AUDIT_SECONDS)):
        while planned := planner.next_run(float(tick)):
            seen.append(planned.binding.arn)
            planner.end_run(planned.binding, frozenset({A}), float(tick))
    assert seen == [arn(number) for number in range(count)]


def test_an_audit_that_is_late_is_caught_up_in_part() -> None:
    planner = planner_of(*range(90))
    late = 3_600.0
    made = 0
    while planned := planner.next_run(late):
        planner.end_run(planned.binding, frozenset({A}), late)
        made += 1
    # A minute's worth, and the one that is due now.
    assert made == 7


def test_a_group_whose_tags_changed_is_unverified_and_keeps_the_run_that_it_has() -> None:
    planner = planner_of(1)
    observe(planner, 1, B)
    planner.next_run(0.0)
    changed = replace(binding(1), policy=replace(POLICY, port=6432))
    planner.update([changed], 1.0)
    assert planner.next_run(1.0) is None
    # The end of the former binding's run says nothing about the new one.
    planner.end_run(binding(1), frozenset({B}), 2.0)
    assert planner.next_run(2.0) == PlannedRun(changed, UNVERIFIED)


def test_a_group_that_is_listed_again_is_unverified() -> None:
    planner = planner_of(1)
    planner.update([], 1.0)
    planner.update([binding(1)], 2.0)
    assert planner.next_run(2.0) is None
    observe(planner, 1, A)
    assert reason(planner.next_run(2.0)) is UNVERIFIED


def test_the_groups_of_abandoned_runs_are_unverified() -> None:
    planner = planner_of(1, 2)
    observe(planner, 1, B)
    planner.next_run(0.0)
    planner.update([binding(1), binding(2)], 0.0)
    planner.abandon_runs()
    assert planner.next_run(0.0) == PlannedRun(binding(1), UNVERIFIED)


def test_new_groups_have_another_sequence_in_another_container() -> None:
    def sequence(seed: int) -> list[Binding]:
        planner = RunPlanner(Random(seed).shuffle)  # noqa: S311 - as above
        planner.update(map(binding, range(8)), 0.0)
        for number in range(8):
            observe(planner, number, A)
        return [it.binding for _ in range(8) if (it := planner.next_run(0.0))]

    assert sequence(1) != sequence(2)
    assert sorted(sequence(1), key=str) == sorted(sequence(2), key=str)
