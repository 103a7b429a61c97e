"""A fleet of fakes with killed, overlapping and paused containers, and failing calls.

No group ever lacks a registered target or gets one that was never desired, and all end in sync.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, DEFAULT_SHARE, QUOTAS, Call
from target_sync.model import DatabaseKind
from tests.support.fleet import SCHEDULED, TIMEOUT, Fault, Fleet, Hang, at
from tests.support.scenario import A, B, C
from tests.unit.fleet.builders import arn

TRANSIENT = (Fault.THROTTLED, Fault.TIMED_OUT, Fault.REPLY_LOST)
WRITER = DatabaseKind.RDS_CLUSTER_WRITER
CHANGES = ("RegisterTargets", "DeregisterTargets")
ONCE = list(CHANGES)


def started() -> Fleet:
    """Return a failover of an instance and of a cluster, drift, and a group in sync."""
    fleet = Fleet()
    fleet.add(1, A, resolves_to=B)
    fleet.add(2, A, resolves_to=B, kind=WRITER)
    fleet.add(3, A, C, resolves_to=A)
    fleet.add(4, A, resolves_to=A)
    return fleet


EXPECTED = {arn(1): B, arn(2): B, arn(3): A, arn(4): A}


def assert_in_sync(fleet: Fleet, expected: Mapping[str, object]) -> None:
    """Assert that all groups are in sync, and were never empty."""
    for group, address in expected.items():
        assert fleet.registered(group) == {str(address)}, group
        assert fleet.groups[group].fewest_registered != 0, group
    assert fleet.reporter.bugs == []


def changes(fleet: Fleet, group: str) -> list[str]:
    """Return the calls that changed a group."""
    return [it for it in fleet.elb.operations(group) if it in CHANGES]


@cache
def finished() -> Fleet:
    """Return a fleet that was brought in sync without failures."""
    fleet = started()
    fleet.play(1)
    return fleet


def test_brings_each_group_in_sync_with_the_fewest_changes() -> None:
    fleet = finished()

    assert_in_sync(fleet, EXPECTED)
    assert [changes(fleet, group) for group in EXPECTED] == [ONCE, ONCE, ONCE[1:], []]
    assert [fleet.reporter.statuses(group) for group in EXPECTED] == [
        *[["synced"]] * 3,
        ["in_sync"],
    ]


# --- Killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.KILLED, Fault.KILLED_AFTER])
def test_a_container_killed_at_any_call_leaves_no_work_undone(fault: Fault) -> None:
    for number, (_, group) in enumerate(finished().elb.calls):
        fleet = started()
        fleet.elb.faults = {number: fault}

        fleet.play(2)

        assert fleet.killed == 1
        assert_in_sync(fleet, EXPECTED)
        # The new container repeats at most the change whose result the old one never saw.
        for other in EXPECTED.keys() - {group}:
            assert len(changes(fleet, other)) <= len(ONCE)


@pytest.mark.parametrize("every", [1, 7, 41])
def test_containers_that_are_killed_again_and_again_do_no_harm(every: int) -> None:
    fleet = started()
    fleet.kills = set(range(every, 4_000, every))

    fleet.play(3)
    fleet.kills = set()
    fleet.play(2)

    assert fleet.killed > 1
    assert_in_sync(fleet, EXPECTED)


# --- Failing calls --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_transient_failure_of_any_call_leaves_no_work_undone(fault: Fault) -> None:
    for number in range(len(finished().elb.calls)):
        fleet = started()
        fleet.elb.faults = {number: fault}

        fleet.play(3)

        assert_in_sync(fleet, EXPECTED)


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.DELETED])
def test_a_permanent_failure_is_reported_once_and_affects_no_other_group(fault: Fault) -> None:
    for number, (_, group) in enumerate(finished().elb.calls):
        fleet = started()
        fleet.elb.faults = {number: fault}

        fleet.play(1)

        statuses = {it: fleet.reporter.statuses(it) for it in EXPECTED}
        assert [it for it in EXPECTED if "failed" in statuses[it]] == [group]
        assert len(statuses[group]) == 1
        others = EXPECTED.keys() - {group}
        assert_in_sync(fleet, {other: EXPECTED[other] for other in others})
        assert all(changes(fleet, it) == changes(finished(), it) for it in others)
        # The group gets its next run after a minute.
        fleet.play(2)
        assert_in_sync(fleet, EXPECTED)


def test_an_outage_of_elb_costs_time_and_nothing_else() -> None:
    fleet = started()
    fleet.elb.faults = dict.fromkeys(range(15), Fault.TIMED_OUT)

    fleet.play(5)

    assert_in_sync(fleet, EXPECTED)
    assert fleet.failures == []


def test_a_call_that_never_returns_affects_no_other_group() -> None:
    for number, (_, group) in enumerate(finished().elb.calls):
        fleet = started()
        fleet.elb.faults = {number: Fault.HANGS}

        fleet.play(1)

        assert_in_sync(fleet, {it: EXPECTED[it] for it in EXPECTED.keys() - {group}})


def test_a_database_without_a_response_affects_no_other_group() -> None:
    fleet = started()
    fleet.lookups[fleet.name(1)] = Hang()

    fleet.play(1)

    assert fleet.registered(arn(1)) == {str(A)}
    assert_in_sync(fleet, {it: EXPECTED[it] for it in EXPECTED.keys() - {arn(1)}})


# --- Several containers ---------------------------------------------------------------------------


@pytest.mark.parametrize("containers", [2, 3, 6])
def test_overlapping_containers_do_no_harm(containers: int) -> None:
    fleet = started()

    fleet.play(2, containers=containers)

    assert_in_sync(fleet, EXPECTED)


def test_a_container_that_was_paused_continues_from_what_it_observes() -> None:
    for paused_at in range(3, 14):
        fleet = Fleet()
        fleet.add(1, A, resolves_to=A)
        fleet.sweep()
        at(fleet, 2.0, fleet.dns.set_addresses, fleet.name(1), B)
        # Lambda freezes the first container; meanwhile the name returns, and another one sees it.
        steps = fleet.sweeper.run_in_steps(SCHEDULED, remaining_seconds=TIMEOUT)
        began = fleet.clock.now()
        while fleet.clock.now() < began + paused_at:
            fleet.clock.sleep_until(next(steps))
        steps.close()
        fleet.dns.set_addresses(fleet.name(1), A)
        fleet.play(2)
        assert fleet.registered(arn(1)) == {str(A)}

        fleet.sweep()

        assert_in_sync(fleet, {arn(1): A})


# --- The share ------------------------------------------------------------------------------------


def test_a_container_keeps_to_the_share() -> None:
    fleet = Fleet()
    for number in range(60):
        fleet.add(number, A, resolves_to=B)

    fleet.play(2)

    assert_in_sync(fleet, {arn(number): B for number in range(60)})
    kinds = {"DescribeTargetHealth": Call.DESCRIBE, **dict.fromkeys(CHANGES, Call.REGISTRATION)}
    calls = [
        (at, kinds[it]) for at, (it, _) in zip(fleet.elb.moments, fleet.elb.calls, strict=True)
    ]
    limits = [(ACCOUNT_QUOTA, calls)]
    limits += [(quota, [it for it in calls if it[1] is call]) for call, quota in QUOTAS.items()]
    for quota, counted in limits:
        part = quota.part(DEFAULT_SHARE)
        for first, last in combinations(range(len(counted)), 2):
            seconds = counted[last][0] - counted[first][0]
            assert last - first + 1 <= part.capacity + part.refill * seconds + 1e-6


# --- Any history ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a history.

    Attributes:
        registered: The targets at the start.
        addresses: The addresses of its name, one after the other.
        cluster: Whether it is a cluster, with two sources.
    """

    registered: tuple[object, ...]
    addresses: tuple[object, ...]
    cluster: bool


@dataclass(frozen=True, slots=True)
class History:
    """The events of a fleet.

    Attributes:
        flips: Seconds between two changes of each name.
        kills: See ``Fleet``.
        faults: The faults by the number of the call.
    """

    groups: tuple[Group, ...]
    flips: float
    kills: frozenset[int]
    faults: Mapping[int, Fault]
    containers: int


_ADDRESSES = st.sampled_from((A, B, C))
_GROUPS = st.builds(
    Group,
    registered=st.lists(_ADDRESSES, min_size=1, max_size=2, unique=True).map(tuple),
    addresses=st.lists(_ADDRESSES, min_size=1, max_size=4).map(tuple),
    cluster=st.booleans(),
)
_HISTORIES = st.builds(
    History,
    groups=st.lists(_GROUPS, min_size=1, max_size=4).map(tuple),
    flips=st.sampled_from((1.5, 3.0, 20.0, 58.0)),
    kills=st.frozensets(st.integers(1, 600), max_size=6),
    faults=st.dictionaries(
        st.integers(0, 40),
        st.sampled_from((*TRANSIENT, Fault.HANGS, Fault.KILLED, Fault.KILLED_AFTER)),
        max_size=8,
    ),
    containers=st.integers(1, 3),
)


@settings(max_examples=60)
@given(_HISTORIES)
def test_any_history_ends_in_sync(history: History) -> None:
    fleet = Fleet()
    for number, group in enumerate(history.groups):
        kind = WRITER if group.cluster else DatabaseKind.RDS_INSTANCE
        fleet.add(number, *group.registered, resolves_to=group.addresses[0], kind=kind)
        for turn, address in enumerate(group.addresses[1:], 1):
            name = fleet.name(number, kind)
            at(fleet, turn * history.flips, fleet.dns.set_addresses, name, address)
    fleet.kills, fleet.elb.faults = set(history.kills), dict(history.faults)
    fleet.play(3, containers=history.containers)

    fleet.kills, fleet.elb.faults = set(), {}
    fleet.play(3)

    for number, group in enumerate(history.groups):
        registered = fleet.groups[arn(number)].history
        for operation, targets in registered:
            if operation == "RegisterTargets":
                assert {it.address for it in targets} <= set(group.addresses)
    assert_in_sync(
        fleet, {arn(number): group.addresses[-1] for number, group in enumerate(history.groups)}
    )
