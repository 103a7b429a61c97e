"""Every row of the planner's table, every veto, and properties for any input."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.model import (
    Alias,
    Observation,
    StandbyCheck,
    SyncPolicy,
    Target,
    TargetGroup,
    TargetHealth,
    TargetState,
    desired_targets,
    in_order,
    undesired_targets,
)
from target_sync.reconcile.planner import (
    CONTEST_SECONDS,
    STANDBY_GRACE_SECONDS,
    Action,
    Change,
    Phase,
    Plan,
    Reason,
    VetoCode,
    make_plan,
)
from target_sync.reconcile.tracks import Membership, Tracks
from tests.support.scenario import POLICY, A, B, C, target

TTL = 5
WINDOW = TTL + 1
CONTEST = CONTEST_SECONDS


def group(*entries: tuple[Target, TargetState]) -> TargetGroup:
    return TargetGroup(tuple(TargetHealth(t, state) for t, state in entries))


def healthy(*addresses: object) -> TargetGroup:
    return group(*((target(a), TargetState.HEALTHY) for a in addresses))


def dns(
    at: float, *addresses: object, ttl: int | None = TTL, corroborated: bool = False
) -> Observation:
    observed_addresses = frozenset(ip_address(str(a)) for a in addresses)
    return Observation(
        name="db.example.com",
        addresses=observed_addresses,
        source="dns",
        ttl=ttl,
        at=at,
        second=observed_addresses if corroborated else None,
    )


def both(at: float, name: object, api: object) -> Observation:
    """Return an observation in which DNS and the second source name one address each."""
    return replace(dns(at, name), second=frozenset({ip_address(str(api))}))


def unchanged(
    *addresses: object, seconds: int = WINDOW, ttl: int | None = TTL
) -> list[Observation]:
    return [dns(float(at), *addresses, ttl=ttl) for at in range(seconds + 1)]


def tracks_of(
    before: TargetGroup, observations: Sequence[Observation], policy: SyncPolicy
) -> Tracks:
    """Return the tracks of a run that has always known this group."""
    tracks = Tracks(policy=policy).after_description(before, -inf)
    for observation in observations[:-1]:
        tracks = tracks.after_observation(observation)
    return tracks.after_snapshot(before, observations[-1])


def plan_of(
    before: TargetGroup,
    observations: Sequence[Observation],
    policy: SyncPolicy,
    *,
    check: StandbyCheck | None = None,
    known: Mapping[Target, Mapping[str, Any]] | None = None,
) -> Plan:
    """Return the plan of a run that knows this about some targets besides."""
    tracks = tracks_of(before, observations, policy)
    changed = {t: replace(tracks.seen[t], **fields) for t, fields in (known or {}).items()}
    tracks = replace(tracks, seen={**tracks.seen, **changed})
    return make_plan(before, observations[-1], tracks, check)


def change_of(plan: Plan, of: Target) -> tuple[Action, Reason]:
    (change,) = [c for c in plan.changes if c.target == of]
    return change.action, change.reason


@pytest.mark.parametrize(
    ("before", "observations", "action", "reason"),
    [
        pytest.param(
            healthy(), [dns(0, A)], Action.REGISTER, Reason.NOT_REGISTERED,
            id="a new address is registered at once",
        ),
        pytest.param(
            healthy(A), [dns(0, A)], Action.KEEP, Reason.REGISTERED,
            id="a registered desired address is kept",
        ),
        pytest.param(
            group((target(A), TargetState.UNHEALTHY)), [dns(0, A)], Action.KEEP, Reason.REGISTERED,
            id="an unhealthy desired target is kept",
        ),
        pytest.param(
            group((target(A), TargetState.UNHEALTHY_DRAINING)), [dns(0, A)],
            Action.KEEP, Reason.REGISTERED,
            id="an unhealthy draining target is still registered",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING)), [dns(0, A)],
            Action.HOLD, Reason.RETURN_UNCONFIRMED,
            id="a draining address in one observation waits",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING)), unchanged(A),
            Action.REGISTER, Reason.RETURN_CONFIRMED,
            id="a draining address is registered after the confirm window",
        ),
        pytest.param(
            healthy(A, B), [dns(0, B)], Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="a registered address missing from one observation stays",
        ),
        pytest.param(
            healthy(A, B), unchanged(B), Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="an absent address is removed after the confirm window",
        ),
        pytest.param(
            healthy(A, C), [dns(0, B, C, corroborated=True)],
            Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES,
            id="an address is removed at once if two sources agree on a new one",
        ),
        pytest.param(
            healthy(A), [dns(0, B, corroborated=True)],
            Action.HOLD, Reason.SUCCESSOR_UNSEEN,
            id="an address stays until the group lists a desired one",
        ),
        pytest.param(
            healthy(A, B), [both(0, A, A), dns(2, B, corroborated=True)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="agreement on an address that was always in the group waits for the window",
        ),
        pytest.param(
            healthy(A, B), [dns(0, B), dns(1, A, B), dns(2, B, corroborated=True)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="agreement on an older address waits for the window",
        ),
        pytest.param(
            healthy(A, B), [dns(0, B, corroborated=True)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="agreement on an address that another run registered waits for the window",
        ),
        pytest.param(
            healthy(A), [dns(0, B, corroborated=True), dns(1, B)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="only agreement in the newest observation counts",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING)), [dns(0, A, corroborated=True)],
            Action.HOLD, Reason.RETURN_UNCONFIRMED,
            id="agreement does not register a draining address earlier",
        ),
        pytest.param(
            healthy(A, B), [dns(0, A, B), *unchanged(B)[1:]],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="one observation of the window with the address keeps it",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING), (target(B), TargetState.HEALTHY)),
            [dns(0, B)], Action.IGNORE, Reason.DRAINING,
            id="an undesired draining address is ignored",
        ),
    ],
)  # fmt: skip
def test_the_change_of_a_target_follows_from_the_group_and_the_observations(
    before: TargetGroup, observations: list[Observation], action: Action, reason: Reason
) -> None:
    assert change_of(plan_of(before, observations, POLICY), target(A)) == (action, reason)


@pytest.mark.parametrize("port", [5431, 5433])
def test_the_same_address_on_another_port_is_another_target(port: int) -> None:
    other = target(A, port), TargetState.HEALTHY

    plan = plan_of(group(other), unchanged(A), POLICY)
    assert change_of(plan, target(A)) == (Action.REGISTER, Reason.NOT_REGISTERED)
    assert change_of(plan, target(A, port)) == (Action.HOLD, Reason.SUCCESSOR_UNSEEN)

    plan = plan_of(group(other, (target(A), TargetState.INITIAL)), unchanged(A), POLICY)
    assert change_of(plan, target(A, port)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_target_on_another_port_is_removed_only_after_the_confirm_window() -> None:
    plan = plan_of(group((target(A, 5433), TargetState.HEALTHY)), [dns(0, A)], POLICY)

    assert [c.target for c in plan.to_register] == [target(A)]
    assert not plan.to_deregister


@pytest.mark.parametrize(
    ("observations", "reason"),
    [
        pytest.param([dns(0, A), dns(WINDOW, B)], Reason.ABSENCE_UNCONFIRMED, id="desired"),
        pytest.param([both(0, B, A), dns(WINDOW, B)], Reason.ABSENCE_UNCONFIRMED, id="by the API"),
        pytest.param(
            [both(0, A, A), both(1, B, A), both(WINDOW + 1, B, A)], Reason.ABSENCE_CONFIRMED,
            id="first desired, then named by the API alone",
        ),
    ],
)  # fmt: skip
def test_ports_are_compared_by_value(observations: list[Observation], reason: Reason) -> None:
    policy = replace(POLICY, port=int(str(POLICY.port)))
    assert policy.port is not target(A).port

    plan = plan_of(healthy(A, B), observations, policy)

    assert change_of(plan, target(A))[1] is reason


def test_an_empty_observation_removes_nothing() -> None:
    plan = plan_of(healthy(A), unchanged(), POLICY)

    assert not plan.has_calls
    assert change_of(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)
    assert [v.code for v in plan.vetoes] == [VetoCode.EMPTY_ANSWER]
    assert "db.example.com has no address" in plan.vetoes[0].detail


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "10.1.0.1"],
)
def test_an_address_outside_the_allowed_networks_is_rejected_and_nothing_is_removed(
    address: str,
) -> None:
    plan = plan_of(healthy(A), unchanged(address), POLICY)

    assert change_of(plan, target(address)) == (Action.REJECT, Reason.NOT_ALLOWED)
    assert not plan.has_calls
    assert [v.code for v in plan.vetoes] == [VetoCode.OUTSIDE_ALLOWED_NETWORKS]
    assert address in plan.vetoes[0].detail


def test_addresses_of_the_other_ip_version_are_neither_registered_nor_removed_nor_vetoed() -> None:
    ipv6_address = "2001:db8::1"
    mixed = group((target(A), TargetState.HEALTHY), (target("2001:db8::2"), TargetState.HEALTHY))

    plan = plan_of(mixed, unchanged(A, ipv6_address), POLICY)

    assert [c.target for c in plan.changes] == [target(A)]
    assert not plan.vetoes


def test_an_observation_with_only_the_other_ip_version_counts_as_empty() -> None:
    plan = plan_of(healthy(A), unchanged("2001:db8::1"), POLICY)

    assert [v.code for v in plan.vetoes] == [VetoCode.EMPTY_ANSWER]
    assert change_of(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "0.0.0.1", "0.255.255.255", "169.254.1.1", "224.0.0.1"),
        *("240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "ff02::1"),
    ],
)
def test_no_setting_allows_an_address_that_no_database_can_have(address: str) -> None:
    anything = replace(POLICY, allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))

    assert not anything.allows(ip_address(address))
    assert anything.allows(ip_address("10.0.0.1"))


@pytest.mark.parametrize("addresses", [(), ("8.8.8.8",), (A, B, C)])
def test_a_veto_names_the_newest_observation(addresses: tuple[object, ...]) -> None:
    before = replace(dns(0, A), name="before.example.com")
    then = replace(dns(1, A), name="then.example.com")

    plan = plan_of(healthy(A), [before, then, dns(2, *addresses)], replace(POLICY, max_targets=2))

    assert [v.detail.split()[0] for v in plan.vetoes] == ["db.example.com"]


@pytest.mark.parametrize("reason", Reason)
def test_a_failed_check_and_changes_without_effect_block_a_plan(reason: Reason) -> None:
    plan = Plan((Change(target(A), Action.KEEP, reason),))

    assert plan.is_blocked is (reason in {Reason.STANDBY_CHECK_FAILED, Reason.NO_EFFECT})


def test_a_desired_target_is_registered_although_the_removal_is_vetoed() -> None:
    plan = plan_of(healthy(A), unchanged(B, "8.8.8.8"), POLICY)

    assert [c.target for c in plan.to_register] == [target(B)]
    assert change_of(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize("addresses", [(), ("8.8.8.8",)])
def test_two_agreeing_sources_do_not_overrule_a_veto(addresses: tuple[str, ...]) -> None:
    plan = plan_of(healthy(A), [dns(0, *addresses, corroborated=True)], POLICY)

    assert not plan.has_calls
    assert change_of(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


def test_the_last_registered_target_stays_even_if_two_sources_agree_on_a_draining_one() -> None:
    returned = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))

    plan = plan_of(
        returned,
        [both(0, A, A), dns(1, B, corroborated=True)],
        POLICY,
        known={target(A): {"superseded_since": 0}},
    )

    assert [v.code for v in plan.vetoes] == [VetoCode.WOULD_EMPTY_GROUP]
    assert not plan.has_calls


def test_too_many_addresses_are_all_rejected() -> None:
    policy = replace(POLICY, max_targets=2)

    plan = plan_of(healthy(A), unchanged(B, C, "10.0.9.9"), policy)

    assert not plan.has_calls
    assert change_of(plan, target(B)) == (Action.HOLD, Reason.REGISTRATION_VETOED)
    (veto,) = plan.vetoes
    assert veto.code is VetoCode.TOO_MANY_ADDRESSES
    assert veto.phases == frozenset(Phase)
    assert "3 addresses" in veto.detail


def test_the_maximum_number_of_addresses_is_allowed() -> None:
    assert not plan_of(healthy(), [dns(0, A, B)], replace(POLICY, max_targets=2)).vetoes


def test_the_last_registered_target_stays_until_its_draining_successor_is_confirmed() -> None:
    draining_successor = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))
    # A is absent for the whole window, and B from its first observation.
    observations = [dns(0), *(dns(float(at), B) for at in range(1, WINDOW + 1))]

    plan = plan_of(draining_successor, observations, POLICY)

    assert [v.code for v in plan.vetoes] == [VetoCode.WOULD_EMPTY_GROUP]
    assert change_of(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)
    assert change_of(plan, target(B)) == (Action.HOLD, Reason.RETURN_UNCONFIRMED)


def test_a_removal_waits_until_the_group_lists_the_successor() -> None:
    returned = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))

    plan = plan_of(returned, unchanged(B), POLICY)

    assert [c.target for c in plan.to_register] == [target(B)]
    assert change_of(plan, target(A)) == (Action.HOLD, Reason.SUCCESSOR_UNSEEN)
    assert plan.confirmation_due_at == WINDOW
    assert not plan.vetoes


@pytest.mark.parametrize(
    ("fields", "changes", "due_at", "has_veto"),
    [
        pytest.param(
            {"requests": 1, "requested_at": 0.0},
            (Reason.REPEATED, Reason.SUCCESSOR_UNSEEN), 6.0, False,
            id="waits for the effect before the first repetition",
        ),
        pytest.param(
            {"requests": 2, "requested_at": 0.0},
            (Reason.REPEATED, Reason.SUCCESSOR_UNSEEN), 12.0, False,
            id="waits twice as long before the second one",
        ),
        pytest.param(
            {"requests": 2, "requested_at": -12.0},
            (Reason.RETURN_CONFIRMED, Reason.SUCCESSOR_UNSEEN), None, False,
            id="repeats it then",
        ),
        pytest.param(
            {"requests": 3, "requested_at": -999.0}, (Reason.NO_EFFECT, Reason.REMOVAL_VETOED),
            None, True, id="leaves further repetitions to the next run",
        ),
        pytest.param(
            {"requests": 3, "requested_at": 0.0, "requested": Membership.LEFT},
            (Reason.RETURN_CONFIRMED, Reason.SUCCESSOR_UNSEEN), None, False,
            id="undoes a change at once",
        ),
    ],
)  # fmt: skip
def test_a_registration_without_effect_is_repeated_less_and_less_often(
    fields: Mapping[str, Any],
    changes: tuple[Reason, Reason],
    due_at: float | None,
    has_veto: bool,
) -> None:
    known = {"membership": Membership.LEFT, "requested": Membership.REGISTERED, **fields}
    absent = plan_of(healthy(A), [dns(0, B)], POLICY)
    assert change_of(absent, target(B)) == (Action.REGISTER, Reason.NOT_REGISTERED)

    plan = plan_of(
        healthy(A),
        [dns(-99, B), dns(0, B)],
        POLICY,
        known={target(A): {"named_since": -99}, target(B): {"member_since": -99, **known}},
    )

    assert (change_of(plan, target(B))[1], change_of(plan, target(A))[1]) == changes
    (change,) = [c for c in plan.changes if c.target == target(B)]
    assert change.due_at == due_at
    assert [v.code for v in plan.vetoes] == [VetoCode.WOULD_EMPTY_GROUP] * has_veto
    assert plan.is_blocked is has_veto


def test_a_removal_without_effect_is_repeated_less_and_less_often() -> None:
    def changed(**fields: object) -> tuple[Action, Reason]:
        known = {"superseded_since": -9.0, "requested": Membership.LEFT, **fields}
        plan = plan_of(
            healthy(A, B), [dns(0, B, corroborated=True)], POLICY, known={target(A): known}
        )
        return change_of(plan, target(A))

    removed = (Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES)
    assert changed(requests=1, requested_at=-5.0) == (Action.HOLD, Reason.REPEATED)
    assert changed(requests=1, requested_at=-6.0) == removed
    assert changed(requests=2, requested_at=-11.0) == (Action.HOLD, Reason.REPEATED)
    assert changed(requests=2, requested_at=-12.0) == removed
    assert changed(requests=2, requested_at=-12.5) == removed
    assert changed(requests=3, requested_at=-99.0) == (Action.HOLD, Reason.NO_EFFECT)
    assert changed(requests=3, requested=Membership.REGISTERED) == removed


@pytest.mark.parametrize(
    ("ttls", "window"),
    [
        ((5, 5), 6.0),
        ((0, 1), 6.0),
        ((3, 60, 2), 61.0),
        ((None,), 6.0),
        ((None, 30), 31.0),
    ],
)
def test_the_confirm_window_is_longer_than_every_ttl(
    ttls: Iterable[int | None], window: float
) -> None:
    assert window_of([dns(0, A, ttl=t) for t in ttls]) == window


def test_the_confirm_window_is_at_least_one_second() -> None:
    assert window_of([dns(0, A, ttl=None)], replace(POLICY, confirm_seconds=0)) == 1


OLD, NEW = (Alias("db.example.com.", f"{host}.example.com.", 0) for host in ("old", "new"))


@pytest.mark.parametrize(
    ("aliases", "window"),
    [
        pytest.param([(), ()], 6, id="no alias"),
        pytest.param([((OLD, 200),), ((OLD, 199),)], 6, id="an alias that stayed"),
        pytest.param([((OLD, 60),), ((NEW, 200),)], 201, id="an alias that moved"),
        pytest.param([(), ((NEW, 200),)], 201, id="a new alias"),
        pytest.param([((OLD, 200),), ()], 6, id="no alias any more"),
        pytest.param(
            [((OLD, 9),), ((NEW, 200),), ((OLD, 30),), ((OLD, 29),)], 31, id="one that moved back"
        ),
        pytest.param([((OLD, 9),), ((NEW, 80),), ((NEW, 20),)], 81, id="the longest TTL"),
        pytest.param([((OLD, 9),), ((NEW, 3600),)], 301, id="a TTL longer than any run"),
    ],
)
def test_the_confirm_window_counts_the_aliases_that_changed(
    aliases: Sequence[Sequence[tuple[Alias, int]]], window: float
) -> None:
    chains = [tuple(replace(alias, ttl=ttl) for alias, ttl in chain) for chain in aliases]
    first, *then = (
        replace(dns(float(at), A if at == 0 else B), aliases=chain)
        for at, chain in enumerate(chains)
    )

    assert window_of([first, *then]) == window


def test_every_alias_counts_for_a_target_that_this_run_never_saw_named() -> None:
    stale = [replace(dns(float(at), B), aliases=(replace(OLD, ttl=90 - at),)) for at in range(9)]

    assert window_of(stale) == 91


def window_of(observations: Sequence[Observation], policy: SyncPolicy = POLICY) -> float:
    """Return the confirm window of the target at A, which is registered."""
    tracks = tracks_of(healthy(A), observations, policy)
    return tracks.confirm_window(tracks.seen[target(A)])


def test_a_removal_is_due_exactly_when_the_window_ends() -> None:
    before_due = plan_of(healthy(A, B), unchanged(B)[:-1], POLICY)
    confirmed = plan_of(healthy(A, B), unchanged(B), POLICY)

    assert before_due.confirmation_due_at == WINDOW
    assert not before_due.is_complete
    assert [c.target for c in confirmed.to_deregister] == [target(A)]
    assert confirmed.confirmation_due_at is None


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        pytest.param(healthy(A, B), Reason.ABSENCE_CONFIRMED, id="removed"),
        pytest.param(
            group((target(B), TargetState.DRAINING)), Reason.RETURN_CONFIRMED, id="registered again"
        ),
    ],
)
def test_a_change_is_confirmed_after_the_window(before: TargetGroup, reason: Reason) -> None:
    plan = plan_of(before, [dns(0, B), dns(WINDOW + 0.5, B)], POLICY)

    assert reason in {c.reason for c in plan.changes}


def test_a_plan_without_changes_is_complete() -> None:
    plan = plan_of(healthy(A), [dns(0, A)], POLICY)

    assert plan.is_complete
    assert not plan.has_calls


def test_targets_have_a_stable_order() -> None:
    shuffled = [target("10.0.0.10"), target("10.0.0.9", 2), target("::1"), target("10.0.0.9", 1)]

    assert [str(t) for t in in_order(shuffled)] == [
        "10.0.0.9:1",
        "10.0.0.9:2",
        "10.0.0.10:5432",
        "[::1]:5432",
    ]


# --- What only the second source names ----------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "observations", "action", "reason"),
    [
        pytest.param(
            healthy(A), [both(0, A, A), both(1, A, B)], Action.REGISTER, Reason.ANNOUNCED,
            id="a new address of the second source is registered at once",
        ),
        pytest.param(
            healthy(A, B), [both(0, A, B)], Action.HOLD, Reason.CONTESTED,
            id="a registered address of the second source stays at first",
        ),
        pytest.param(
            healthy(A, B), [both(0, A, B), both(CONTEST - 0.1, A, B)],
            Action.HOLD, Reason.CONTESTED,
            id="it stays until the contest ends",
        ),
        pytest.param(
            healthy(A, B), [both(0, A, B), both(CONTEST, A, B)],
            Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="it is removed when the contest ends",
        ),
        pytest.param(
            healthy(A, B),
            [both(0, A, B), both(5, A, A), both(CONTEST, A, B)],
            Action.HOLD, Reason.CONTESTED,
            id="a second contest starts a new window",
        ),
        pytest.param(
            healthy(A, B), [both(0, B, B), both(1, A, B), both(WINDOW + 0.9, A, B)],
            Action.HOLD, Reason.CONTESTED,
            id="an address that was desired before stays for the confirm window",
        ),
        pytest.param(
            healthy(A, B), [both(0, B, B), both(1, A, B), both(WINDOW + 1, A, B)],
            Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="it is removed after the confirm window",
        ),
        pytest.param(
            healthy(A, B), [both(0, A, B), dns(WINDOW, A)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="a second source that stops replying removes nothing at once",
        ),
        pytest.param(
            healthy(A, B), [both(0, A, B), dns(1, A), dns(WINDOW + 1, A)],
            Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="without a reply for the confirm window the address is removed",
        ),
        pytest.param(
            healthy(A, B), [replace(both(at, A, B), ttl=60) for at in (0, 60.9)],
            Action.HOLD, Reason.CONTESTED,
            id="a contest lasts at least for the confirm window",
        ),
    ],
)  # fmt: skip
def test_the_change_of_a_target_that_only_the_second_source_names(
    before: TargetGroup, observations: list[Observation], action: Action, reason: Reason
) -> None:
    assert change_of(plan_of(before, observations, POLICY), target(B)) == (action, reason)


@pytest.mark.parametrize(
    ("before", "observations"),
    [
        pytest.param(healthy(A), [both(0, A, B)], id="the second source named it from the start"),
        pytest.param(
            healthy(A), [dns(0, A), both(1, A, B)], id="the second source did not reply before"
        ),
        pytest.param(
            healthy(A), [both(0, A, A), both(1, A, "8.8.8.8")],
            id="the address is not allowed",
        ),
    ],
)  # fmt: skip
def test_an_address_that_only_the_second_source_names_is_not_registered(
    before: TargetGroup, observations: list[Observation]
) -> None:
    plan = plan_of(before, observations, POLICY)

    assert [c.target for c in plan.changes] == [target(A)]
    assert not plan.vetoes


def test_a_draining_address_that_only_the_second_source_names_is_ignored() -> None:
    leaving = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))

    plan = plan_of(leaving, [both(0, A, A), both(1, A, B)], POLICY)

    assert change_of(plan, target(B)) == (Action.IGNORE, Reason.DRAINING)


def test_a_vetoed_registration_also_applies_to_announced_addresses() -> None:
    too_many = [replace(o, addresses=frozenset({A, C})) for o in (both(0, A, A), both(1, A, B))]

    plan = plan_of(healthy(A, C), too_many, replace(POLICY, max_targets=1))

    assert [v.code for v in plan.vetoes] == [VetoCode.TOO_MANY_ADDRESSES]
    assert change_of(plan, target(B)) == (Action.HOLD, Reason.REGISTRATION_VETOED)


def test_a_contested_target_stays_while_removals_are_vetoed() -> None:
    sources_disagree = replace(both(0, "8.8.8.8", B), ttl=TTL)

    plan = plan_of(healthy(A, B), [sources_disagree], POLICY)

    assert change_of(plan, target(B)) == (Action.HOLD, Reason.REMOVAL_VETOED)


def test_a_superseded_target_is_older_than_the_missing_one() -> None:
    observations = [both(0, A, B), both(WINDOW, A, B)]
    known, later = ({target(B): {"superseded_since": at}} for at in (0, 1))

    plan = plan_of(healthy(A, B), observations, POLICY, known=known)
    early = plan_of(healthy(A, B), observations, POLICY, known=later)
    agreed = plan_of(healthy(A, B), [*observations, both(9, A, A)], POLICY, known=known)

    assert change_of(plan, target(B)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)
    assert change_of(early, target(B)) == (Action.HOLD, Reason.CONTESTED)
    assert early.confirmation_due_at == 1 + WINDOW
    assert change_of(agreed, target(B)) == (Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES)


def test_the_confirm_window_begins_when_this_run_saw_the_target_registered() -> None:
    known = {target(A): {"member_since": 2}}

    before_due = plan_of(healthy(A, B), unchanged(B, seconds=WINDOW + 1), POLICY, known=known)
    confirmed = plan_of(healthy(A, B), unchanged(B, seconds=WINDOW + 2), POLICY, known=known)

    assert change_of(before_due, target(A)) == (Action.HOLD, Reason.ABSENCE_UNCONFIRMED)
    assert before_due.confirmation_due_at == 2 + WINDOW
    assert change_of(confirmed, target(A)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_the_contest_begins_when_this_run_saw_the_target_registered() -> None:
    known = {target(B): {"member_since": 2}}

    plan = plan_of(healthy(A, B), [both(0, A, B), both(5, A, B)], POLICY, known=known)

    assert plan.confirmation_due_at == 2 + CONTEST


def test_a_target_that_drained_before_the_run_returns_after_the_window_of_this_run() -> None:
    observations = [dns(-10, A), dns(WINDOW - 10, A)]

    plan = plan_of(group((target(A), TargetState.DRAINING)), observations, POLICY)

    assert change_of(plan, target(A)) == (Action.REGISTER, Reason.RETURN_CONFIRMED)


def test_a_target_that_this_run_saw_leave_returns_after_the_confirm_window() -> None:
    known = {target(A): {"membership": Membership.LEFT, "member_since": 2}}

    before_due = plan_of(healthy(B), unchanged(A, seconds=WINDOW + 1), POLICY, known=known)
    confirmed = plan_of(healthy(B), unchanged(A, seconds=WINDOW + 2), POLICY, known=known)

    assert change_of(before_due, target(A)) == (Action.HOLD, Reason.RETURN_UNCONFIRMED)
    assert before_due.confirmation_due_at == 2 + WINDOW
    assert change_of(confirmed, target(A)) == (Action.REGISTER, Reason.RETURN_CONFIRMED)


@pytest.mark.parametrize("port", [5431, 5433])
def test_another_port_of_a_contested_address_is_not_contested(port: int) -> None:
    before = group((target(A), TargetState.HEALTHY), (target(B, port), TargetState.HEALTHY))

    plan = plan_of(before, [both(0, A, B), both(WINDOW, A, B)], POLICY)

    assert change_of(plan, target(B, port)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_contested_target_has_a_due_time() -> None:
    plan = plan_of(healthy(A, B), [both(2, A, B)], POLICY)

    assert plan.confirmation_due_at == 2 + CONTEST
    assert not plan.is_complete


# --- The standby ------------------------------------------------------------------------------

SERVING = replace(POLICY, serving_standby=True)
CONFIRMED_A = StandbyCheck(confirmed=frozenset({A}))
CHECK_FAILED = StandbyCheck(failure="DescribeNetworkInterfaces failed with Throttling.")
UNDESIRED_AT_A = group((target(A), TargetState.UNHEALTHY), (target(B), TargetState.HEALTHY))


def plan_for(
    before: TargetGroup,
    observations: list[Observation],
    *,
    check: StandbyCheck | None = CONFIRMED_A,
    undesired_healthy_since: float | None = None,
    policy: SyncPolicy = SERVING,
) -> Plan:
    known = {target(A): {"healthy_since": undesired_healthy_since}}
    known = {t: fields for t, fields in known.items() if t in before.registered}
    return plan_of(before, observations, policy, check=check, known=known)


def test_an_unhealthy_target_that_belongs_to_the_database_is_kept_as_the_standby() -> None:
    plan = plan_for(UNDESIRED_AT_A, unchanged(B))

    assert change_of(plan, target(A)) == (Action.KEEP, Reason.STANDBY)
    assert plan.is_complete
    assert not plan.is_blocked


def test_the_port_of_a_standby_is_compared_by_value() -> None:
    plan = plan_for(
        UNDESIRED_AT_A,
        unchanged(B),
        policy=replace(SERVING, port=int(str(SERVING.port))),
    )

    assert change_of(plan, target(A)) == (Action.KEEP, Reason.STANDBY)


def test_a_failed_standby_check_keeps_the_target_without_a_due_time() -> None:
    plan = plan_for(UNDESIRED_AT_A, unchanged(B), check=CHECK_FAILED)

    assert change_of(plan, target(A)) == (Action.HOLD, Reason.STANDBY_CHECK_FAILED)
    assert plan.is_complete
    assert plan.is_blocked


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(StandbyCheck(), id="it does not belong to the database"),
        pytest.param(None, id="there was no check"),
    ],
)
def test_an_undesired_target_is_removed_after_the_confirm_window(
    check: StandbyCheck | None,
) -> None:
    at_first = plan_for(UNDESIRED_AT_A, [dns(0, B)], check=check)
    confirmed = plan_for(UNDESIRED_AT_A, unchanged(B), check=check)

    assert change_of(at_first, target(A)) == (Action.HOLD, Reason.ABSENCE_UNCONFIRMED)
    assert change_of(confirmed, target(A)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_healthy_standby_is_removed_after_the_grace_period() -> None:
    began = 3.0
    ends = began + STANDBY_GRACE_SECONDS
    before_due = plan_for(
        healthy(A, B), [dns(0, B), dns(ends - 0.1, B)], undesired_healthy_since=began
    )
    confirmed, later = (
        plan_for(healthy(A, B), [dns(0, B), dns(at, B)], undesired_healthy_since=began)
        for at in (ends, ends + 0.5)
    )
    named = plan_for(healthy(A, B), [dns(ends - 2, A), dns(ends, B)], undesired_healthy_since=began)

    assert change_of(before_due, target(A)) == (Action.HOLD, Reason.STANDBY_HEALTHY)
    assert before_due.confirmation_due_at == ends
    assert change_of(confirmed, target(A)) == (Action.DEREGISTER, Reason.NOT_A_STANDBY)
    assert change_of(later, target(A)) == (Action.DEREGISTER, Reason.NOT_A_STANDBY)
    assert change_of(named, target(A)) == (Action.HOLD, Reason.STANDBY_HEALTHY)
    assert named.confirmation_due_at == ends + WINDOW


def test_a_desired_target_that_is_not_registered_yet_takes_its_room_only_once() -> None:
    before = group((target(B), TargetState.UNHEALTHY))
    check = StandbyCheck(confirmed=frozenset({B}))

    plan = plan_of(before, unchanged(A), replace(POLICY, max_targets=2), check=check)

    assert change_of(plan, target(A)) == (Action.REGISTER, Reason.NOT_REGISTERED)
    assert change_of(plan, target(B)) == (Action.KEEP, Reason.STANDBY)


def test_a_healthy_standby_is_not_removed_after_a_vetoed_observation() -> None:
    vetoed = [dns(at, B, "8.8.8.8") for at in (90, 100)]
    plan = plan_for(healthy(A, B), vetoed, undesired_healthy_since=0)

    assert change_of(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize("port", [5431, 5433])
def test_a_target_on_another_port_is_never_a_standby(port: int) -> None:
    before = group((target(A, port), TargetState.UNHEALTHY), (target(B), TargetState.HEALTHY))

    plan = plan_for(before, unchanged(B))

    assert change_of(plan, target(A, port)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_target_outside_the_allowed_networks_is_never_a_standby() -> None:
    outside = ip_address("10.1.0.1")
    before = group((target(outside), TargetState.UNHEALTHY), (target(B), TargetState.HEALTHY))

    plan = plan_for(before, unchanged(B), check=StandbyCheck(confirmed=frozenset({outside})))

    assert change_of(plan, target(outside)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


@pytest.mark.parametrize(("max_targets", "stay"), [(1, set()), (2, {A}), (3, {A, C}), (4, {A, C})])
def test_standbys_do_not_exceed_the_maximum_number_of_targets(
    max_targets: int, stay: set[object]
) -> None:
    before = group(
        (target(C), TargetState.UNHEALTHY),
        (target(A), TargetState.UNHEALTHY),
        (target(B), TargetState.HEALTHY),
    )

    plan = plan_for(
        before,
        unchanged(B),
        check=StandbyCheck(confirmed=frozenset({A, C})),
        policy=replace(SERVING, max_targets=max_targets),
    )

    assert {c.target.address for c in plan.changes if c.reason is Reason.STANDBY} == stay
    assert {c.target.address for c in plan.to_deregister} == {A, C} - stay


def test_a_target_on_another_port_does_not_count_as_a_standby() -> None:
    before = group(
        (target(A, 5433), TargetState.UNHEALTHY),
        (target(C), TargetState.UNHEALTHY),
        (target(B), TargetState.HEALTHY),
    )

    plan = plan_for(
        before,
        unchanged(B),
        check=StandbyCheck(confirmed=frozenset({C})),
        policy=replace(SERVING, max_targets=2),
    )

    assert change_of(plan, target(C)) == (Action.KEEP, Reason.STANDBY)


def test_too_many_addresses_leave_no_room_for_a_standby() -> None:
    two_formers = group(
        (target(A), TargetState.UNHEALTHY),
        (target("10.0.9.9"), TargetState.UNHEALTHY),
        (target(B), TargetState.HEALTHY),
    )

    plan = plan_for(two_formers, [dns(0, B, C)], policy=replace(SERVING, max_targets=1))

    assert change_of(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        pytest.param({A: "healthy", B: "healthy"}, {A}, id="both are healthy"),
        pytest.param({A: "healthy", B: "initial"}, {A}, id="the desired one is registering"),
        pytest.param({A: "healthy", B: "unused"}, {A}, id="the desired one is in no zone"),
        pytest.param({A: "healthy"}, {A}, id="the desired one is not in the group"),
        pytest.param({A: "healthy", B: "draining"}, {A}, id="the desired one is draining"),
        pytest.param({A: "healthy", B: "unhealthy"}, set(), id="the desired one is dead"),
        pytest.param(
            {A: "healthy", B: "unhealthy.draining"},
            set(),
            id="the desired one is dead and draining",
        ),
        pytest.param({A: "unhealthy", B: "healthy"}, set(), id="the undesired one is dead"),
        pytest.param({A: "initial", B: "healthy"}, set(), id="the undesired one is registering"),
        pytest.param({B: "healthy"}, set(), id="there is no undesired one"),
        pytest.param({A: "healthy", C: "unhealthy"}, {A}, id="another undesired one is dead"),
    ],
)
def test_undesired_targets_are_healthy_while_no_desired_target_is_dead(
    states: dict[object, str], expected: set[object]
) -> None:
    before = group(*((target(a), TargetState(state)) for a, state in states.items()))

    tracks = tracks_of(before, [dns(0, B)], POLICY)

    since = {t.address: track.healthy_since for t, track in tracks.seen.items()}
    assert {a for a, at in since.items() if at is not None} == expected


# --- IP versions ---------------------------------------------------------------------------------

IPV6_ADDRESS = ip_address("2001:db8::1")
IPV6_POLICY = replace(POLICY, allowed_networks=(ip_network("2001:db8::/32"),))


def test_the_allowed_networks_select_the_ip_version() -> None:
    both = dns(0, A, IPV6_ADDRESS)

    assert desired_targets(both, POLICY) == {target(A)}
    assert desired_targets(both, IPV6_POLICY) == {target(IPV6_ADDRESS)}
    assert POLICY.families == {4}
    assert IPV6_POLICY.families == {6}


def test_targets_of_the_other_ip_version_are_not_undesired() -> None:
    mixed = healthy(A, B, IPV6_ADDRESS)

    assert undesired_targets(mixed, dns(0, B), POLICY) == {target(A)}
    assert undesired_targets(mixed, dns(0, B), IPV6_POLICY) == {target(IPV6_ADDRESS)}


def test_addresses_of_the_other_ip_version_do_not_count() -> None:
    plan = plan_of(healthy(A), [dns(0, A, IPV6_ADDRESS)], replace(POLICY, max_targets=1))

    assert not plan.vetoes


# --- Properties ------------------------------------------------------------------------------

some_addresses = st.sampled_from(["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.9.0.1", "8.8.8.8"])
some_targets = st.builds(target, some_addresses, st.sampled_from([5432, 5433]))
some_groups = st.dictionaries(some_targets, st.sampled_from(TargetState), max_size=5).map(
    lambda entries: group(*entries.items())
)
some_observations = st.lists(
    st.tuples(
        st.floats(0.1, 10),
        st.frozensets(some_addresses, max_size=4),
        st.sampled_from([None, 1, 5]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
).map(
    lambda steps: [
        dns(sum(s[0] for s in steps[: n + 1]), *addresses, ttl=ttl, corroborated=corroborated)
        for n, (_, addresses, ttl, corroborated) in enumerate(steps)
    ]
)
some_policies = st.builds(lambda most: replace(POLICY, max_targets=most), st.integers(1, 4))
some_confirmed_addresses = st.frozensets(some_addresses.map(ip_address), max_size=3)
some_checks = st.builds(StandbyCheck, confirmed=some_confirmed_addresses) | st.just(CHECK_FAILED)


@given(some_groups, some_observations, some_checks)
def test_a_standby_has_a_confirmed_address_on_the_database_port(
    before: TargetGroup, observations: list[Observation], check: StandbyCheck
) -> None:
    plan = plan_of(before, observations, SERVING, check=check)

    for stays in (c.target for c in plan.changes if c.reason is Reason.STANDBY):
        assert stays.address in check.confirmed
        assert stays.port == SERVING.port
        assert SERVING.allows(stays.address)


@given(some_groups, some_observations, some_policies)
def test_two_agreeing_sources_remove_an_old_target_beside_a_new_one_at_once(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    observations[-1] = replace(observations[-1], second=observations[-1].addresses)

    plan = plan_of(before, observations, policy)

    if plan.to_register and before.draining.isdisjoint(c.target for c in plan.to_register):
        assert not [c for c in plan.changes if c.reason is Reason.ABSENCE_UNCONFIRMED]


@given(some_groups, some_observations, some_policies)
def test_agreement_on_an_older_address_removes_nothing_at_once(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    others = [t for t in before.targets if t.target != target(A)]
    known = TargetGroup((*others, TargetHealth(target(A), TargetState.HEALTHY)))
    always = [replace(o, addresses=o.addresses | {A}) for o in observations]
    back = replace(always[-1], addresses=frozenset({A}), second=frozenset({A}))

    plan = plan_of(known, [*always, back], policy)

    assert not [c for c in plan.changes if c.reason is Reason.ABSENT_IN_BOTH_SOURCES]


@given(some_groups, some_observations, some_policies)
def test_every_target_gets_exactly_one_change(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    plan = plan_of(before, observations, policy)

    listed = {t.target for t in before.targets}
    desired = {Target(a, policy.port) for a in observations[-1].addresses}
    assert [c.target for c in plan.changes] == list(in_order(listed | desired))


@pytest.mark.parametrize("state", [TargetState.HEALTHY, TargetState.DRAINING])
@pytest.mark.parametrize("check", [None, StandbyCheck()])
def test_the_work_for_a_plan_grows_with_the_number_of_targets_and_not_with_its_square(
    state: TargetState, check: StandbyCheck | None
) -> None:
    def calls(count: int) -> int:
        targets = [target(A + n) for n in range(count)]
        before = group(*((t, state) for t in targets))
        made = 0

        def count_call(_frame: object, event: str, _argument: object) -> None:
            nonlocal made
            made += event == "call"

        previous = sys.getprofile()
        sys.setprofile(count_call)
        try:
            plan_of(before, [dns(0, C)], POLICY, check=check)
        finally:
            sys.setprofile(previous)
        return made

    assert calls(200) < 2.5 * calls(100)
