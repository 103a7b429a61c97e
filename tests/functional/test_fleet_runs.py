"""A fleet of fakes with killed workers, failing calls, and duplicate, late or unreadable messages.

No work is lost or done twice, and only failing work items become dead letters.
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
#: The queue of the fakes, as in fleet.yaml.
RECEPTIONS, VISIBILITY_SECONDS = 3, 100.0


def started(*, containers: int = 1, exclusive: bool = True) -> Fleet:
    """Send a failover of an instance and of a cluster, drift, a new group and an audit."""
    fleet = Fleet(containers=containers, exclusive=exclusive)
    fleet.send(
        fleet.add(1, A, resolves_to=B, verified_for=A),
        fleet.add(2, A, resolves_to=B, verified_for=A, kind=DatabaseKind.RDS_CLUSTER_WRITER),
    )
    fleet.send(fleet.add(3, A, resolves_to=A), reason=WorkReason.UNVERIFIED)
    fleet.send(
        fleet.add(4, A, C, resolves_to=A, verified_for=A),
        fleet.add(5, A, resolves_to=A, verified_for=A),
        reason=WorkReason.AUDIT,
    )
    return fleet


EXPECTED = {arn_of(number): B if number <= 2 else A for number in range(1, 6)}


def assert_all_is_done(fleet: Fleet) -> None:
    """Assert that all groups are in sync and verified, and that the queue is empty."""
    for binding in fleet.bindings.values():
        address = EXPECTED[binding.arn]
        assert fleet.registered(binding) == {f"{address}:5432"}, binding.arn
        assert fleet.is_verified_for(binding, address), binding.arn
    assert_no_work_is_lost(fleet)
    assert fleet.work_queue.queue.dead == []
    assert fleet.work_queue.queue.waiting == 0
    assert len(fleet.done) == len(EXPECTED)


def assert_no_work_is_lost(fleet: Fleet) -> None:
    """Assert that no group was ever empty, and that each work item is done or a dead letter."""
    assert all(group.fewest_registered != 0 for group in fleet.groups.values())
    dead = {letter.id for letter in fleet.work_queue.queue.dead}
    assert dead == {message for message, times in fleet.returns.items() if times == RECEPTIONS}
    assert not dead & fleet.done
    assert len(dead | fleet.done) == fleet.sent


def changes(fleet: Fleet, binding: Binding) -> list[str]:
    """Return the calls that changed a group."""
    return [operation for operation, _ in fleet.groups[binding.arn].history if operation in CHANGES]


@cache
def finished() -> Fleet:
    """Return a fleet whose work items were carried out without failures."""
    fleet = started()
    fleet.run()
    return fleet


def test_carries_out_each_work_item_once() -> None:
    fleet = finished()

    assert_all_is_done(fleet)
    assert sorted(fleet.reporter.statuses) == ["in_sync"] * 2 + ["synced"] * 3
    once = ["RegisterTargets", "DeregisterTargets"]
    assert [changes(fleet, it) for it in fleet.bindings.values()] == [once, once, [], once[1:], []]


# --- Killed ---------------------------------------------------------------------------------------


def test_a_worker_killed_at_any_wait_leaves_no_work_undone() -> None:
    last_calls = set[str]()
    for step in range(1, finished().steps + 1):
        fleet = started()
        fleet.kills = {step}

        fleet.run()

        assert fleet.killed == 1, f"no container was killed at step {step}"
        assert_all_is_done(fleet)
        last_calls.update(fleet.last_calls)
    assert last_calls == {*finished().elb.operations}


def test_a_worker_killed_between_register_and_deregister_leaves_both_targets_until_the_retry() -> (
    None
):
    left = set[frozenset[str]]()
    for step in range(1, finished().steps):
        fleet = Fleet()
        cluster = fleet.add(
            2, A, resolves_to=B, verified_for=A, kind=DatabaseKind.RDS_CLUSTER_WRITER
        )
        fleet.send(cluster)
        fleet.kills = {step}
        if not plays_while_it_lies_there(fleet, cluster, left):
            break
        assert fleet.registered(cluster) == {f"{B}:5432"}
    a, b = f"{A}:5432", f"{B}:5432"
    assert left == {frozenset({a}), frozenset({a, b}), frozenset({b})}


def plays_while_it_lies_there(fleet: Fleet, group: Binding, left: set[frozenset[str]]) -> bool:
    """Run, and return the group's targets between the kill and the retry; None without a kill."""
    before_it_comes_again = fleet.clock.now() + VISIBILITY_SECONDS / 2
    fleet.clock.at(before_it_comes_again, lambda: left.add(frozenset(fleet.registered(group))))
    fleet.run()
    return fleet.killed > 0


def test_a_work_item_whose_worker_dies_every_time_is_the_only_dead_letter() -> None:
    fleet = Fleet()
    failing, other = (
        fleet.add(1, A, resolves_to=B, verified_for=A),
        fleet.add(2, A, resolves_to=B),
    )
    fleet.kills = {1, 2, 3}
    fleet.send(failing)
    fleet.run()
    fleet.send(other)

    fleet.run()

    (letter,) = fleet.work_queue.queue.dead
    assert letter.group == failing.arn
    assert fleet.registered(other) == {f"{B}:5432"}
    # The next sweep finds an outdated checkpoint, and sends the group again.
    fleet.clock.advance(60.0)
    fleet.send(failing)
    fleet.run()
    assert fleet.registered(failing) == {f"{B}:5432"}
    assert fleet.is_verified_for(failing, B)


# --- Failing calls --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING)
def test_a_transient_failure_of_any_call_leaves_no_work_undone(fault: Fault) -> None:
    for number in range(len(finished().elb.calls)):
        fleet = started()
        fleet.elb.faults = {number: fault}

        fleet.run()

        assert sum(fleet.returns.values()) == 1, f"call {number} did not fail"
        assert_all_is_done(fleet)


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.DELETED])
def test_a_permanent_failure_is_reported_once_and_affects_no_other_group(
    fault: Fault,
) -> None:
    for number, (operation, arn) in enumerate(finished().elb.calls):
        fleet = started()
        fleet.elb.faults = {number: fault}

        fleet.run()

        failed = [context["target_group"] for context, _ in fleet.reporter.failures]
        failed += [
            context["target_group"] for context, it in fleet.reporter.runs if it.status == "failed"
        ]
        reported = [arn] if (operation, fault) != ("AddTags", Fault.DELETED) else []
        assert failed == reported, (number, operation)
        assert_no_work_is_lost(fleet)
        assert not fleet.returns
        assert all(
            fleet.registered(it) == {f"{EXPECTED[it.arn]}:5432"}
            for it in fleet.bindings.values()
            if it.arn != arn
        )


def test_an_api_outage_makes_dead_letters_of_the_sent_work_items_only() -> None:
    fleet = started()
    fleet.elb.faults = dict.fromkeys(range(15), Fault.TIMED_OUT)

    fleet.run()

    assert len(fleet.work_queue.queue.dead) == len(EXPECTED)
    assert_no_work_is_lost(fleet)
    # The next sweep sends the groups again.
    fleet.clock.advance(60.0)
    fleet.send(*fleet.bindings.values())
    fleet.work_queue.queue.dead.clear()
    fleet.returns.clear()
    fleet.sent = 5
    fleet.run()
    assert_all_is_done(fleet)


# --- Duplicate, reordered and unreadable messages -------------------------------------------------


def test_a_redelivered_message_of_finished_work_costs_one_snapshot() -> None:
    fleet = started(containers=2)
    fleet.undeleted = set(range(1, 1 + math.ceil(len(EXPECTED) / BATCH)))

    fleet.run()

    assert sum(fleet.returns.values()) == len(EXPECTED)
    assert_all_is_done(fleet)
    assert [changes(fleet, it) for it in fleet.bindings.values()] == [
        changes(finished(), it) for it in finished().bindings.values()
    ]


def test_equal_work_items_of_watch_and_sweep_are_dropped_and_a_later_one_costs_one_snapshot() -> (
    None
):
    fleet = started()
    first, *_ = fleet.bindings.values()
    fleet.send(first)
    assert fleet.sent == len(EXPECTED), "SQS drops an equal work item of the same minute"
    fleet.clock.advance(60.0)
    fleet.send(first)

    fleet.run()

    assert fleet.sent == len(fleet.done) == len(EXPECTED) + 1
    assert changes(fleet, first) == ["RegisterTargets", "DeregisterTargets"]
    assert fleet.registered(first) == {f"{B}:5432"}


@pytest.mark.parametrize("containers", [1, 2, 5])
def test_two_workers_with_the_same_work_item_do_no_harm(containers: int) -> None:
    fleet = started(containers=containers, exclusive=False)
    fleet.work_queue.queue.duplicate()
    fleet.sent *= 2

    fleet.run()

    for binding in fleet.bindings.values():
        assert fleet.registered(binding) == {f"{EXPECTED[binding.arn]}:5432"}
        assert fleet.is_verified_for(binding, EXPECTED[binding.arn])
        assert fleet.groups[binding.arn].fewest_registered != 0
    assert fleet.work_queue.queue.dead == []


@pytest.mark.parametrize("seed", range(5))
def test_the_sequence_of_messages_does_not_matter(seed: int) -> None:
    fleet = started(containers=2)
    fleet.work_queue.queue.shuffle(Random(seed))  # noqa: S311 - a test

    fleet.run()

    assert_all_is_done(fleet)


def test_an_unreadable_message_is_the_only_dead_letter_and_delays_no_other() -> None:
    fleet = Fleet()
    fleet.send_unreadable("poison")
    groups = [fleet.add(number, A, resolves_to=B, verified_for=A) for number in range(BATCH)]
    fleet.send(*groups)
    began = fleet.clock.now()
    done_at = list[float]()
    fleet.clock.every_tick(lambda: done_at.append(fleet.clock.now()) if is_right() else None)

    def is_right() -> bool:
        return all(fleet.registered(group) == {f"{B}:5432"} for group in groups)

    fleet.run()

    (letter,) = fleet.work_queue.queue.dead
    assert (letter.body, letter.receptions) == ("poison", RECEPTIONS)
    assert done_at[0] - began < VISIBILITY_SECONDS
    assert_no_work_is_lost(fleet)


def test_a_broken_group_delays_no_other() -> None:
    fleet = Fleet()
    # A failed look-up, a deleted group, and a vetoed address.
    unresolved, gone = fleet.add(10, A, verified_for=A), fleet.add(11, A, resolves_to=B)
    refused = fleet.add(12, A, resolves_to="8.8.8.8", verified_for=A)
    good = fleet.add(1, A, resolves_to=B, verified_for=A)
    fleet.send(unresolved, gone, refused, good)
    fleet.delete_group(gone)
    began = fleet.clock.now()

    fleet.run()

    ends = {context["target_group"]: result for context, result in fleet.reporter.runs}
    assert ends[good.arn].status == "synced"
    registered_at = ends[good.arn].run.registered_at
    assert registered_at is not None
    assert registered_at - began < 10.0
    assert [letter.group for letter in fleet.work_queue.queue.dead] == [unresolved.arn]
    assert_no_work_is_lost(fleet)


# --- The share ------------------------------------------------------------------------------------


@pytest.mark.parametrize("containers", [1, 5])
def test_all_workers_together_keep_to_the_share(containers: int) -> None:
    fleet = Fleet(containers=containers)
    fleet.send(*(fleet.add(number, A, resolves_to=B, verified_for=A) for number in range(20)))

    fleet.run()

    assert fleet.reporter.statuses == ["synced"] * 20
    part = ACCOUNT_QUOTA.per_worker(DEFAULT_SHARE, WORKERS)
    moments = fleet.elb.moments
    for first, last in combinations(range(len(moments)), 2):
        seconds = moments[last] - moments[first]
        most = containers * (part.capacity + part.refill * seconds)
        assert last - first + 1 <= most + 1e-6


# --- Any history ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a history.

    Attributes:
        registered: The targets at the start.
        checkpoint: The address of its checkpoint; None without one.
        addresses: The addresses of its name, one after the other.
        cluster: Whether it is a cluster, with two sources.
    """

    registered: tuple[object, ...]
    checkpoint: object
    addresses: tuple[object, ...]
    cluster: bool


@dataclass(frozen=True, slots=True)
class History:
    """The events of a fleet.

    Attributes:
        flips: Seconds between two changes of each name.
        work_items: Which group is sent, and how many seconds after the work item before.
        kills: See ``Fleet``.
        undeleted: See ``Fleet``.
        faults: The faults by the number of the call.
        poisons: The number of unreadable messages.
        shuffled: The seed that shuffles the queue; None to keep the sequence.
    """

    groups: tuple[Group, ...]
    flips: float
    work_items: tuple[tuple[int, float], ...]
    kills: frozenset[int]
    undeleted: frozenset[int]
    faults: Mapping[int, Fault]
    unreadable: int
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
    unreadable=st.integers(0, 2),
    shuffled=st.none() | st.integers(0, 9),
    containers=st.integers(1, 3),
)


@settings(max_examples=100)
@given(_HISTORIES)
def test_any_history_loses_no_work_and_ends_in_sync(history: History) -> None:
    fleet = Fleet(containers=history.containers)
    fleet.kills, fleet.undeleted = set(history.kills), set(history.undeleted)
    fleet.elb.faults = dict(history.faults)
    groups = [_add(fleet, number, group, history) for number, group in enumerate(history.groups)]
    for number, seconds in history.work_items:
        fleet.clock.advance(seconds)
        fleet.send(groups[number % len(groups)])
    for _ in range(history.unreadable):
        fleet.send_unreadable("poison")
    if history.shuffled is not None:
        fleet.work_queue.queue.shuffle(Random(history.shuffled))  # noqa: S311 - as above

    fleet.run()

    assert_no_work_is_lost(fleet)
    for letter in fleet.work_queue.queue.dead:
        assert letter.receptions == RECEPTIONS
    assert (
        sum(letter.body == "poison" for letter in fleet.work_queue.queue.dead) == history.unreadable
    )
    _assert_only_observed_targets(fleet, groups, history)
    _wait_until_quiet(fleet)
    _assert_valid_checkpoints(fleet, groups, history)
    _audit_all(fleet, groups)
    for binding, group in zip(groups, history.groups, strict=True):
        assert fleet.registered(binding) == {f"{group.addresses[-1]}:5432"}
        assert fleet.is_verified_for(binding, group.addresses[-1])


def _add(fleet: Fleet, number: int, group: Group, history: History) -> Binding:
    kind = DatabaseKind.RDS_CLUSTER_WRITER if group.cluster else DatabaseKind.RDS_INSTANCE
    binding = fleet.add(
        number,
        *group.registered,
        resolves_to=group.addresses[0],
        verified_for=group.checkpoint,
        kind=kind,
    )
    for turn, address in enumerate(group.addresses[1:], 1):
        at = fleet.clock.now() + turn * history.flips
        fleet.clock.at(at, partial(fleet.dns.set_addresses, binding.endpoint, address))
    return binding


def _assert_only_observed_targets(
    fleet: Fleet, groups: Sequence[Binding], history: History
) -> None:
    for binding, group in zip(groups, history.groups, strict=True):
        for operation, targets in fleet.groups[binding.arn].history:
            if operation == "RegisterTargets":
                assert {it.address for it in targets} <= set(group.addresses)


def _wait_until_quiet(fleet: Fleet) -> None:
    """Wait until after the last change and the minute of the last work item."""
    fleet.kills, fleet.undeleted, fleet.elb.faults = set(), set(), {}
    fleet.clock.advance(600.0)


def _assert_valid_checkpoints(fleet: Fleet, groups: Sequence[Binding], history: History) -> None:
    """Assert that a group with a valid checkpoint is in sync, if its work items are done."""
    sent = {groups[number % len(groups)].arn for number, _ in history.work_items}
    carried_out = sent - {letter.group for letter in fleet.work_queue.queue.dead}
    for binding, group in zip(groups, history.groups, strict=True):
        address = group.addresses[-1]
        if binding.arn in carried_out and fleet.is_verified_for(binding, address):
            assert fleet.registered(binding) == {f"{address}:5432"}


def _audit_all(fleet: Fleet, groups: Sequence[Binding]) -> None:
    """Audit every group once."""
    fleet.send(*groups, reason=WorkReason.AUDIT)
    fleet.run()
