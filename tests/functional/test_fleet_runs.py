"""A whole fleet of fakes: workers die, calls fail, messages come twice, late, or as poison.

Nothing is lost, nothing is done twice, and the dead letters are what they should be.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_sync.fleet.model import Binding, WorkReason
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, DEFAULT_SHARE
from target_sync.model import DatabaseKind
from tests.support.scenario import A, B, C
from tests.support.workers import BATCH, WORKERS, Fault, Fleet, arn_of

PASSING = (Fault.THROTTLED, Fault.TIMED_OUT, Fault.REPLY_LOST)
CHANGES = ("RegisterTargets", "DeregisterTargets")
#: Of the fakes' queue, as in fleet.yaml.
RECEPTIONS, VISIBILITY_SECONDS = 3, 100.0


def story(*, containers: int = 1, alone: bool = True) -> Fleet:
    """A failover of an instance and of a cluster, drift, a new group, and an audit; to B, or A."""
    fleet = Fleet(containers=containers, alone=alone)
    fleet.sends(
        fleet.adds(1, A, resolves_to=B, record_of=A),
        fleet.adds(2, A, resolves_to=B, record_of=A, kind=DatabaseKind.RDS_CLUSTER_WRITER),
    )
    fleet.sends(fleet.adds(3, A, resolves_to=A), reason=WorkReason.UNVERIFIED)
    fleet.sends(
        fleet.adds(4, A, C, resolves_to=A, record_of=A),
        fleet.adds(5, A, resolves_to=A, record_of=A),
        reason=WorkReason.AUDIT,
    )
    return fleet


RIGHT = {arn_of(number): B if number <= 2 else A for number in range(1, 6)}


def assert_all_is_done(fleet: Fleet) -> None:
    """Every order was carried out: the groups are right, recorded, and nothing is left."""
    for binding in fleet.bindings.values():
        address = RIGHT[binding.arn]
        assert fleet.registered(binding) == {f"{address}:5432"}, binding.arn
        assert fleet.is_recorded_for(binding, address), binding.arn
    assert_nothing_went_wrong(fleet)
    assert fleet.work_items.queue.dead == []
    assert fleet.work_items.queue.waiting == 0
    assert len(fleet.done) == len(RIGHT)


def assert_nothing_went_wrong(fleet: Fleet) -> None:
    """No group was ever empty, and no order was lost: it was carried out, or is a dead letter."""
    assert all(group.fewest_registered != 0 for group in fleet.groups.values())
    dead = {letter.id for letter in fleet.work_items.queue.dead}
    assert dead == {message for message, times in fleet.returns.items() if times == RECEPTIONS}
    assert not dead & fleet.done
    assert len(dead | fleet.done) == fleet.sent


def changes(fleet: Fleet, binding: Binding) -> list[str]:
    """What was really called for to change a group."""
    return [operation for operation, _ in fleet.groups[binding.arn].history if operation in CHANGES]


@cache
def undisturbed() -> Fleet:
    """The story as it is when nothing happens."""
    fleet = story()
    fleet.plays()
    return fleet


def test_carries_out_each_work_item_once() -> None:
    fleet = undisturbed()

    assert_all_is_done(fleet)
    assert sorted(fleet.reports.statuses) == ["in_sync"] * 2 + ["synced"] * 3
    once = ["RegisterTargets", "DeregisterTargets"]
    assert [changes(fleet, it) for it in fleet.bindings.values()] == [once, once, [], once[1:], []]


# --- Killed -------------------------------------------------------------------------------------


def test_a_worker_killed_at_any_wait_leaves_no_work_undone() -> None:
    last_calls = set[str]()
    for step in range(1, undisturbed().steps + 1):
        fleet = story()
        fleet.kills = {step}

        fleet.plays()

        assert fleet.killed == 1, f"nobody was killed at step {step}"
        assert_all_is_done(fleet)
        last_calls.update(fleet.last_calls)
    assert last_calls == {*undisturbed().line.operations}


def test_a_worker_killed_between_register_and_deregister_leaves_both_targets_until_the_retry() -> (
    None
):
    left = set[frozenset[str]]()
    for step in range(1, undisturbed().steps):
        fleet = Fleet()
        cluster = fleet.adds(2, A, resolves_to=B, record_of=A, kind=DatabaseKind.RDS_CLUSTER_WRITER)
        fleet.sends(cluster)
        fleet.kills = {step}
        if not plays_while_it_lies_there(fleet, cluster, left):
            break
        assert fleet.registered(cluster) == {f"{B}:5432"}
    a, b = f"{A}:5432", f"{B}:5432"
    assert left == {frozenset({a}), frozenset({a, b}), frozenset({b})}


def plays_while_it_lies_there(fleet: Fleet, group: Binding, left: set[frozenset[str]]) -> bool:
    """Play, note what the group is between the death and the next try, and say if there was one."""
    before_it_comes_again = fleet.clock.now() + VISIBILITY_SECONDS / 2
    fleet.clock.at(before_it_comes_again, lambda: left.add(frozenset(fleet.registered(group))))
    fleet.plays()
    return fleet.killed > 0


def test_a_work_item_whose_worker_dies_every_time_is_the_only_dead_letter() -> None:
    fleet = Fleet()
    deadly, other = fleet.adds(1, A, resolves_to=B, record_of=A), fleet.adds(2, A, resolves_to=B)
    fleet.kills = {1, 2, 3}
    fleet.sends(deadly)
    fleet.plays()
    fleet.sends(other)

    fleet.plays()

    (letter,) = fleet.work_items.queue.dead
    assert letter.group == deadly.arn
    assert fleet.registered(other) == {f"{B}:5432"}
    # The next sweep sees that the record is of another answer, and sends it anew.
    fleet.clock.advance(60.0)
    fleet.sends(deadly)
    fleet.plays()
    assert fleet.registered(deadly) == {f"{B}:5432"}
    assert fleet.is_recorded_for(deadly, B)


# --- Calls that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING)
def test_a_transient_failure_of_any_call_leaves_no_work_undone(fault: Fault) -> None:
    for number in range(len(undisturbed().line.calls)):
        fleet = story()
        fleet.line.faults = {number: fault}

        fleet.plays()

        assert sum(fleet.returns.values()) == 1, f"call {number} did not fail"
        assert_all_is_done(fleet)


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.DELETED])
def test_a_permanent_failure_is_reported_once_and_affects_no_other_group(
    fault: Fault,
) -> None:
    for number, (operation, arn) in enumerate(undisturbed().line.calls):
        fleet = story()
        fleet.line.faults = {number: fault}

        fleet.plays()

        told = [context["target_group"] for context, _ in fleet.reports.failures]
        told += [
            context["target_group"] for context, it in fleet.reports.runs if it.status == "failed"
        ]
        reported = [arn] if (operation, fault) != ("AddTags", Fault.DELETED) else []
        assert told == reported, (number, operation)
        assert_nothing_went_wrong(fleet)
        assert not fleet.returns
        assert all(
            fleet.registered(it) == {f"{RIGHT[it.arn]}:5432"}
            for it in fleet.bindings.values()
            if it.arn != arn
        )


def test_an_api_outage_makes_dead_letters_of_the_sent_work_items_only() -> None:
    fleet = story()
    fleet.line.faults = dict.fromkeys(range(15), Fault.TIMED_OUT)

    fleet.plays()

    assert len(fleet.work_items.queue.dead) == len(RIGHT)
    assert_nothing_went_wrong(fleet)
    # The next sweep finds the groups as they are, and orders anew.
    fleet.clock.advance(60.0)
    fleet.sends(*fleet.bindings.values())
    fleet.work_items.queue.dead.clear()
    fleet.returns.clear()
    fleet.sent = 5
    fleet.plays()
    assert_all_is_done(fleet)


# --- Doubled, reordered, poisoned ----------------------------------------------------------------


def test_a_redelivered_message_of_finished_work_costs_one_snapshot() -> None:
    fleet = story(containers=2)
    fleet.undeleted = set(range(1, 1 + math.ceil(len(RIGHT) / BATCH)))

    fleet.plays()

    assert sum(fleet.returns.values()) == len(RIGHT)
    assert_all_is_done(fleet)
    assert [changes(fleet, it) for it in fleet.bindings.values()] == [
        changes(undisturbed(), it) for it in undisturbed().bindings.values()
    ]


def test_equal_work_items_of_watch_and_sweep_are_dropped_and_a_later_one_costs_one_snapshot() -> (
    None
):
    fleet = story()
    first, *_ = fleet.bindings.values()
    fleet.sends(first)
    assert fleet.sent == len(RIGHT), "SQS knows an equal order of the same minute"
    fleet.clock.advance(60.0)
    fleet.sends(first)

    fleet.plays()

    assert fleet.sent == len(fleet.done) == len(RIGHT) + 1
    assert changes(fleet, first) == ["RegisterTargets", "DeregisterTargets"]
    assert fleet.registered(first) == {f"{B}:5432"}


@pytest.mark.parametrize("containers", [1, 2, 5])
def test_two_workers_with_the_same_work_item_do_no_harm(containers: int) -> None:
    fleet = story(containers=containers, alone=False)
    fleet.work_items.queue.double()
    fleet.sent *= 2

    fleet.plays()

    for binding in fleet.bindings.values():
        assert fleet.registered(binding) == {f"{RIGHT[binding.arn]}:5432"}
        assert fleet.is_recorded_for(binding, RIGHT[binding.arn])
        assert fleet.groups[binding.arn].fewest_registered != 0
    assert fleet.work_items.queue.dead == []


@pytest.mark.parametrize("seed", range(5))
def test_the_sequence_of_messages_does_not_matter(seed: int) -> None:
    fleet = story(containers=2)
    fleet.work_items.queue.shuffle(Random(seed))  # noqa: S311 - an order of messages

    fleet.plays()

    assert_all_is_done(fleet)


def test_an_unreadable_message_is_the_only_dead_letter_and_delays_no_other() -> None:
    fleet = Fleet()
    fleet.poisons("poison")
    groups = [fleet.adds(number, A, resolves_to=B, record_of=A) for number in range(BATCH)]
    fleet.sends(*groups)
    began = fleet.clock.now()
    done_at = list[float]()
    fleet.clock.every_tick(lambda: done_at.append(fleet.clock.now()) if is_right() else None)

    def is_right() -> bool:
        return all(fleet.registered(group) == {f"{B}:5432"} for group in groups)

    fleet.plays()

    (letter,) = fleet.work_items.queue.dead
    assert (letter.body, letter.receptions) == ("poison", RECEPTIONS)
    assert done_at[0] - began < VISIBILITY_SECONDS
    assert_nothing_went_wrong(fleet)


def test_a_broken_group_delays_no_other() -> None:
    fleet = Fleet()
    # Its name has no answer, its group is gone, its answer is refused.
    mute, gone = fleet.adds(10, A, record_of=A), fleet.adds(11, A, resolves_to=B)
    refused = fleet.adds(12, A, resolves_to="8.8.8.8", record_of=A)
    good = fleet.adds(1, A, resolves_to=B, record_of=A)
    fleet.sends(mute, gone, refused, good)
    fleet.deletes(gone)
    began = fleet.clock.now()

    fleet.plays()

    ends = {context["target_group"]: result for context, result in fleet.reports.runs}
    assert ends[good.arn].status == "synced"
    registered_at = ends[good.arn].run.registered_at
    assert registered_at is not None
    assert registered_at - began < 10.0
    assert [letter.group for letter in fleet.work_items.queue.dead] == [mute.arn]
    assert_nothing_went_wrong(fleet)


# --- The share ------------------------------------------------------------------------------------


@pytest.mark.parametrize("containers", [1, 5])
def test_all_workers_together_keep_to_the_share(containers: int) -> None:
    fleet = Fleet(containers=containers)
    fleet.sends(*(fleet.adds(number, A, resolves_to=B, record_of=A) for number in range(20)))

    fleet.plays()

    assert fleet.reports.statuses == ["synced"] * 20
    part = ACCOUNT_QUOTA.per_worker(DEFAULT_SHARE, WORKERS)
    moments = fleet.line.moments
    for first, last in combinations(range(len(moments)), 2):
        seconds = moments[last] - moments[first]
        most = containers * (part.capacity + part.refill * seconds)
        assert last - first + 1 <= most + 1e-6


# --- Any history ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a history.

    Attributes:
        registered: What is in it at first.
        record: For which address it was verified; None for never.
        answers: What its name says, one after the other.
        cluster: Whether two sources tell of it.
    """

    registered: tuple[object, ...]
    checkpoint: object
    addresses: tuple[object, ...]
    cluster: bool


@dataclass(frozen=True, slots=True)
class History:
    """What happens to a fleet.

    Attributes:
        flips: Seconds between two answers of each name.
        orders: Which group is ordered, how many seconds after the order before.
        kills: See ``Fleet``.
        undeleted: See ``Fleet``.
        faults: By the number of the call.
        poisons: How many messages are no orders.
        shuffled: By which seed the queue is out of order; None if it is not.
    """

    groups: tuple[Group, ...]
    flips: float
    work_items: tuple[tuple[int, float], ...]
    kills: frozenset[int]
    undeleted: frozenset[int]
    faults: Mapping[int, Fault]
    poisons: int
    shuffled: int | None
    containers: int


_ADDRESSES = st.sampled_from((A, B, C))
_GROUPS = st.builds(
    Group,
    registered=st.lists(_ADDRESSES, min_size=1, max_size=2, unique=True).map(tuple),
    checkpoint=st.none() | _ADDRESSES,
    addresses=st.lists(_ADDRESSES, min_size=1, max_size=4).map(tuple),
    cluster=st.booleans(),
)
_HISTORIES = st.builds(
    History,
    groups=st.lists(_GROUPS, min_size=1, max_size=4).map(tuple),
    flips=st.sampled_from((3.0, 20.0, 90.0, 130.0)),
    work_items=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from((0.0, 5.0, 60.0))), min_size=1, max_size=8
    ).map(tuple),
    kills=st.frozensets(st.integers(1, 80), max_size=6),
    undeleted=st.frozensets(st.integers(1, 8), max_size=2),
    faults=st.dictionaries(st.integers(0, 40), st.sampled_from(PASSING), max_size=8),
    poisons=st.integers(0, 2),
    shuffled=st.none() | st.integers(0, 9),
    containers=st.integers(1, 3),
)


@settings(max_examples=100)
@given(_HISTORIES)
def test_any_history_loses_no_work_and_ends_in_sync(history: History) -> None:
    fleet = Fleet(containers=history.containers)
    fleet.kills, fleet.undeleted = set(history.kills), set(history.undeleted)
    fleet.line.faults = dict(history.faults)
    groups = [_put(fleet, number, group, history) for number, group in enumerate(history.groups)]
    for number, seconds in history.work_items:
        fleet.clock.advance(seconds)
        fleet.sends(groups[number % len(groups)])
    for _ in range(history.poisons):
        fleet.poisons("poison")
    if history.shuffled is not None:
        fleet.work_items.queue.shuffle(Random(history.shuffled))  # noqa: S311 - as above

    fleet.plays()

    assert_nothing_went_wrong(fleet)
    for letter in fleet.work_items.queue.dead:
        assert letter.receptions == RECEPTIONS
    assert sum(letter.body == "poison" for letter in fleet.work_items.queue.dead) == history.poisons
    _assert_only_what_was_ever_answered(fleet, groups, history)
    _calms_down(fleet)
    _assert_records_hold(fleet, groups, history)
    _audits(fleet, groups)
    for binding, group in zip(groups, history.groups, strict=True):
        assert fleet.registered(binding) == {f"{group.addresses[-1]}:5432"}
        assert fleet.is_recorded_for(binding, group.addresses[-1])


def _put(fleet: Fleet, number: int, group: Group, history: History) -> Binding:
    kind = DatabaseKind.RDS_CLUSTER_WRITER if group.cluster else DatabaseKind.RDS_INSTANCE
    binding = fleet.adds(
        number,
        *group.registered,
        resolves_to=group.addresses[0],
        record_of=group.checkpoint,
        kind=kind,
    )
    for turn, address in enumerate(group.addresses[1:], 1):
        at = fleet.clock.now() + turn * history.flips
        fleet.clock.at(at, partial(fleet.dns.set_addresses, binding.endpoint, address))
    return binding


def _assert_only_what_was_ever_answered(
    fleet: Fleet, groups: Sequence[Binding], history: History
) -> None:
    for binding, group in zip(groups, history.groups, strict=True):
        for operation, targets in fleet.groups[binding.arn].history:
            if operation == "RegisterTargets":
                assert {it.address for it in targets} <= set(group.addresses)


def _calms_down(fleet: Fleet) -> None:
    """Nothing happens any more, the last flip is over, and so is the minute of the last order."""
    fleet.kills, fleet.undeleted, fleet.line.faults = set(), set(), {}
    fleet.clock.advance(600.0)


def _assert_records_hold(fleet: Fleet, groups: Sequence[Binding], history: History) -> None:
    """A group whose orders came through has no record of the present answer unless it is right."""
    ordered = {groups[number % len(groups)].arn for number, _ in history.work_items}
    came_through = ordered - {letter.group for letter in fleet.work_items.queue.dead}
    for binding, group in zip(groups, history.groups, strict=True):
        address = group.addresses[-1]
        if binding.arn in came_through and fleet.is_recorded_for(binding, address):
            assert fleet.registered(binding) == {f"{address}:5432"}


def _audits(fleet: Fleet, groups: Sequence[Binding]) -> None:
    """The audit comes to every group once."""
    fleet.sends(*groups, reason=WorkReason.AUDIT)
    fleet.plays()
