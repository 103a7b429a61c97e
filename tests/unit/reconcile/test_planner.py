"""Every row of the planner's table, every veto, and the properties that hold for all input."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.model import (
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
from target_sync.reconcile.loop import RunConfig, RunState
from target_sync.reconcile.planner import (
    CONTEST_SECONDS,
    STANDBY_GRACE_SECONDS,
    Action,
    Change,
    Evidence,
    Phase,
    Plan,
    Reason,
    VetoCode,
    confirm_window,
    healthy_undesired_targets,
    make_plan,
)
from tests.support.scenario import POLICY, A, B, C, target

TTL = 5
WINDOW = TTL + 1
CONTEST = CONTEST_SECONDS


def group(*entries: tuple[Target, TargetState]) -> TargetGroup:
    return TargetGroup(tuple(TargetHealth(t, state) for t, state in entries))


def healthy(*addresses: object) -> TargetGroup:
    return group(*((target(a), TargetState.HEALTHY) for a in addresses))


def said(
    at: float, *addresses: object, ttl: int | None = TTL, corroborated: bool = False
) -> Observation:
    named = frozenset(ip_address(str(a)) for a in addresses)
    return Observation(
        name="db.example.com",
        addresses=named,
        source="dns",
        ttl=ttl,
        at=at,
        second=named if corroborated else None,
    )


def by_two(at: float, name: object, api: object) -> Observation:
    """The name gives one address, and the second source another, or the same."""
    return replace(said(at, name), second=frozenset({ip_address(str(api))}))


def steadily(*addresses: object, seconds: int = WINDOW, ttl: int | None = TTL) -> list[Observation]:
    return [said(float(at), *addresses, ttl=ttl) for at in range(seconds + 1)]


def verdict(plan: Plan, wanted: Target) -> tuple[Action, Reason]:
    (found,) = [v for v in plan.changes if v.target == wanted]
    return found.action, found.reason


@pytest.mark.parametrize(
    ("before", "observations", "action", "reason"),
    [
        pytest.param(
            healthy(), [said(0, A)], Action.REGISTER, Reason.NOT_REGISTERED,
            id="a new address is registered at once",
        ),
        pytest.param(
            healthy(A), [said(0, A)], Action.KEEP, Reason.REGISTERED,
            id="a registered address in the answer is kept",
        ),
        pytest.param(
            group((target(A), TargetState.UNHEALTHY)), [said(0, A)], Action.KEEP, Reason.REGISTERED,
            id="health does not decide who is registered",
        ),
        pytest.param(
            group((target(A), TargetState.UNHEALTHY_DRAINING)), [said(0, A)],
            Action.KEEP, Reason.REGISTERED,
            id="an unhealthy target in its grace period is still registered",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING)), [said(0, A)],
            Action.HOLD, Reason.RETURN_UNCONFIRMED,
            id="a draining address in one answer waits",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING)), steadily(A),
            Action.REGISTER, Reason.RETURN_CONFIRMED,
            id="a draining address in every answer of the window is registered",
        ),
        pytest.param(
            healthy(A, B), [said(0, B)], Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="a registered address missing from one answer stays",
        ),
        pytest.param(
            healthy(A, B), steadily(B), Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="a registered address in no answer of the window goes",
        ),
        pytest.param(
            healthy(A), [said(0, B, corroborated=True)],
            Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES,
            id="a registered address goes at once when two sources agree on a new one",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, A, A), said(1, A, B), said(2, B, corroborated=True)],
            Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES,
            id="a registered address goes at once when two sources agree on one that came later",
        ),
        pytest.param(
            healthy(A, B), [said(0, A), said(2, B, corroborated=True)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="a second source that was silent did not speak against the later one",
        ),
        pytest.param(
            healthy(A, B), [said(0, B), said(1, A, B), said(2, B, corroborated=True)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="two sources that agree on what was before wait for the window",
        ),
        pytest.param(
            healthy(A, B), [said(0, B, corroborated=True)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="two sources that agree on what somebody else registered wait for the window",
        ),
        pytest.param(
            healthy(A), [said(0, B, corroborated=True), said(1, B)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="only the newest answer's agreement counts",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING)), [said(0, A, corroborated=True)],
            Action.HOLD, Reason.RETURN_UNCONFIRMED,
            id="two sources that agree do not hurry a draining address back",
        ),
        pytest.param(
            healthy(A, B), [said(0, A, B), *steadily(B)[1:]],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="one answer of the window with the address keeps it",
        ),
        pytest.param(
            group((target(A), TargetState.DRAINING), (target(B), TargetState.HEALTHY)),
            [said(0, B)], Action.IGNORE, Reason.DRAINING,
            id="a draining address that is not wanted is left to drain",
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_the_first_address(
    before: TargetGroup, observations: list[Observation], action: Action, reason: Reason
) -> None:
    assert verdict(make_plan(before, observations, POLICY), target(A)) == (action, reason)


@pytest.mark.parametrize("port", [5431, 5433])
def test_the_same_address_on_another_port_is_another_target(port: int) -> None:
    plan = make_plan(group((target(A, port), TargetState.HEALTHY)), steadily(A), POLICY)

    assert verdict(plan, target(A, 5432)) == (Action.REGISTER, Reason.NOT_REGISTERED)
    assert verdict(plan, target(A, port)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_wrong_port_in_the_same_plan_as_the_right_one_waits_for_its_confirmation() -> None:
    plan = make_plan(group((target(A, 5433), TargetState.HEALTHY)), [said(0, A)], POLICY)

    assert [v.target for v in plan.to_register] == [target(A)]
    assert not plan.to_deregister


@pytest.mark.parametrize(
    ("observations", "reason"),
    [
        pytest.param([said(0, A), said(WINDOW, B)], Reason.ABSENCE_UNCONFIRMED, id="the answer"),
        pytest.param([by_two(0, B, A), said(WINDOW, B)], Reason.ABSENCE_UNCONFIRMED, id="the API"),
        pytest.param(
            [by_two(0, A, A), by_two(1, B, A), by_two(WINDOW + 1, B, A)], Reason.ABSENCE_CONFIRMED,
            id="the answer, and then the API alone",
        ),
    ],
)  # fmt: skip
def test_a_port_is_the_right_one_by_its_number_whichever_object_that_is(
    observations: list[Observation], reason: Reason
) -> None:
    policy = replace(POLICY, port=int(str(POLICY.port)))
    assert policy.port is not target(A).port

    plan = make_plan(healthy(A, B), observations, policy)

    assert verdict(plan, target(A))[1] is reason


def test_an_empty_answer_removes_nothing() -> None:
    plan = make_plan(healthy(A), steadily(), POLICY)

    assert not plan.has_calls
    assert verdict(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)
    assert [v.code for v in plan.vetoes] == [VetoCode.EMPTY_ANSWER]
    assert "db.example.com has no address" in plan.vetoes[0].detail


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "10.1.0.1"],
)
def test_an_address_outside_the_allowed_networks_is_refused_and_nothing_is_removed(
    address: str,
) -> None:
    plan = make_plan(healthy(A), steadily(address), POLICY)

    assert verdict(plan, target(address)) == (Action.REJECT, Reason.NOT_ALLOWED)
    assert not plan.has_calls
    assert [v.code for v in plan.vetoes] == [VetoCode.OUTSIDE_ALLOWED_NETWORKS]
    assert address in plan.vetoes[0].detail


def test_addresses_of_the_other_family_are_neither_registered_nor_removed_nor_vetoed() -> None:
    six = "2001:db8::1"
    mixed = group((target(A), TargetState.HEALTHY), (target("2001:db8::2"), TargetState.HEALTHY))

    plan = make_plan(mixed, steadily(A, six), POLICY)

    assert [v.target for v in plan.changes] == [target(A)]
    assert not plan.vetoes


def test_an_answer_of_the_other_family_alone_counts_as_empty() -> None:
    plan = make_plan(healthy(A), steadily("2001:db8::1"), POLICY)

    assert [v.code for v in plan.vetoes] == [VetoCode.EMPTY_ANSWER]
    assert verdict(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "::1"])
def test_no_setting_allows_an_address_that_no_load_balancer_reaches(address: str) -> None:
    anything = replace(POLICY, allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))

    assert not anything.allows(ip_address(address))
    assert anything.allows(ip_address("10.0.0.1"))


@pytest.mark.parametrize("answer", [(), ("8.8.8.8",), (A, B, C)])
def test_a_veto_names_the_newest_answer(answer: tuple[object, ...]) -> None:
    before = replace(said(0, A), name="before.example.com")
    then = replace(said(1, A), name="then.example.com")

    plan = make_plan(healthy(A), [before, then, said(2, *answer)], replace(POLICY, max_targets=2))

    assert [v.detail.split()[0] for v in plan.vetoes] == ["db.example.com"]


@pytest.mark.parametrize("reason", Reason)
def test_only_an_address_that_the_group_does_not_know_is_missing(reason: Reason) -> None:
    plan = Plan((Change(target(A), Action.KEEP, reason),))

    assert plan.has_missing_targets is (reason is Reason.NOT_REGISTERED)


@pytest.mark.parametrize("reason", Reason)
def test_only_what_could_not_be_found_out_is_a_doubt(reason: Reason) -> None:
    plan = Plan((Change(target(A), Action.KEEP, reason),))

    assert plan.has_failed_checks is (reason is Reason.STANDBY_CHECK_FAILED)


def test_a_right_address_is_registered_although_the_removal_is_vetoed() -> None:
    plan = make_plan(healthy(A), steadily(B, "8.8.8.8"), POLICY)

    assert [v.target for v in plan.to_register] == [target(B)]
    assert verdict(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize("answer", [(), ("8.8.8.8",)])
def test_two_sources_that_agree_do_not_overrule_a_veto(answer: tuple[str, ...]) -> None:
    plan = make_plan(healthy(A), [said(0, *answer, corroborated=True)], POLICY)

    assert not plan.has_calls
    assert verdict(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


def test_the_last_registered_target_stays_even_if_two_sources_agree_on_a_draining_one() -> None:
    returned = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))

    plan = make_plan(returned, [by_two(0, A, A), said(1, B, corroborated=True)], POLICY)

    assert [v.code for v in plan.vetoes] == [VetoCode.WOULD_EMPTY_GROUP]
    assert not plan.has_calls


def test_too_many_addresses_are_refused_as_a_whole() -> None:
    policy = replace(POLICY, max_targets=2)

    plan = make_plan(healthy(A), steadily(B, C, "10.0.9.9"), policy)

    assert not plan.has_calls
    assert verdict(plan, target(B)) == (Action.HOLD, Reason.REGISTRATION_VETOED)
    (veto,) = plan.vetoes
    assert veto.code is VetoCode.TOO_MANY_ADDRESSES
    assert veto.phases == frozenset(Phase)
    assert "3 addresses" in veto.detail


def test_exactly_as_many_addresses_as_allowed_are_taken() -> None:
    assert not make_plan(healthy(), [said(0, A, B)], replace(POLICY, max_targets=2)).vetoes


def test_the_last_registered_target_stays_while_its_successor_may_not_come_back_yet() -> None:
    draining_successor = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))
    # A has been gone for the whole window; B was not in the first of those answers.
    observations = [said(0), *(said(float(at), B) for at in range(1, WINDOW + 1))]

    plan = make_plan(draining_successor, observations, POLICY)

    assert [v.code for v in plan.vetoes] == [VetoCode.WOULD_EMPTY_GROUP]
    assert verdict(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)
    assert verdict(plan, target(B)) == (Action.HOLD, Reason.RETURN_UNCONFIRMED)


def test_a_removal_goes_with_the_registration_of_the_successor() -> None:
    returned = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))

    plan = make_plan(returned, steadily(B), POLICY)

    assert [v.target for v in plan.to_register] == [target(B)]
    assert [v.target for v in plan.to_deregister] == [target(A)]
    assert not plan.vetoes


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
def test_the_confirm_window_outlasts_every_cache(ttls: Iterable[int | None], window: float) -> None:
    assert confirm_window([said(0, A, ttl=ttl) for ttl in ttls], POLICY) == window


def test_the_confirm_window_is_a_second_at_least() -> None:
    assert confirm_window([said(0, A, ttl=None)], replace(POLICY, confirm_seconds=0)) == 1


def test_a_removal_is_due_exactly_when_the_window_ends() -> None:
    almost = make_plan(healthy(A, B), steadily(B)[:-1], POLICY)
    at_last = make_plan(healthy(A, B), steadily(B), POLICY)

    assert almost.confirmation_due_at == WINDOW
    assert not almost.is_complete
    assert [v.target for v in at_last.to_deregister] == [target(A)]
    assert at_last.confirmation_due_at is None


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        pytest.param(healthy(A), Reason.ABSENCE_CONFIRMED, id="removed"),
        pytest.param(
            group((target(B), TargetState.DRAINING)), Reason.RETURN_CONFIRMED, id="registered again"
        ),
    ],
)
def test_what_waited_for_longer_than_the_window_is(before: TargetGroup, reason: Reason) -> None:
    plan = make_plan(before, [said(0, B), said(WINDOW + 0.5, B)], POLICY)

    assert reason in {v.reason for v in plan.changes}


def test_a_plan_that_keeps_everything_is_complete() -> None:
    plan = make_plan(healthy(A), [said(0, A)], POLICY)

    assert plan.is_complete
    assert not plan.has_calls


def test_targets_have_one_order() -> None:
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
            healthy(A), [by_two(0, A, A), by_two(1, A, B)], Action.REGISTER, Reason.ANNOUNCED,
            id="what the second source changes to is registered at once",
        ),
        pytest.param(
            healthy(A), [by_two(0, A, A), by_two(1, A, B), by_two(CONTEST + 0.9, A, B)],
            Action.REGISTER, Reason.ANNOUNCED,
            id="for as long as a name may take to move",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, A, B)], Action.HOLD, Reason.CONTESTED,
            id="what is registered and named by the second source alone stays at first",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, A, B), by_two(CONTEST - 0.1, A, B)],
            Action.HOLD, Reason.CONTESTED,
            id="until a name should have moved",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, A, B), by_two(CONTEST, A, B)],
            Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="then the name decides",
        ),
        pytest.param(
            healthy(A, B),
            [by_two(0, A, B), by_two(5, A, A), by_two(CONTEST, A, B)],
            Action.HOLD, Reason.CONTESTED,
            id="a dispute that begins anew has a window of its own",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, B, B), by_two(1, A, B), by_two(WINDOW + 0.9, A, B)],
            Action.HOLD, Reason.CONTESTED,
            id="what the name has moved away from stays for the confirm window",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, B, B), by_two(1, A, B), by_two(WINDOW + 1, A, B)],
            Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="and no longer, although the second source still names it",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, A, B), said(WINDOW, A)],
            Action.HOLD, Reason.ABSENCE_UNCONFIRMED,
            id="a second source that falls silent takes back nothing at once",
        ),
        pytest.param(
            healthy(A, B), [by_two(0, A, B), said(1, A), said(WINDOW + 1, A)],
            Action.DEREGISTER, Reason.ABSENCE_CONFIRMED,
            id="but has named nothing once it was silent for the confirm window",
        ),
        pytest.param(
            healthy(A, B), [replace(by_two(at, A, B), ttl=60) for at in (0, 60.9)],
            Action.HOLD, Reason.CONTESTED,
            id="a dispute lasts for the confirm window at least",
        ),
    ],
)  # fmt: skip
def test_what_becomes_of_an_address_that_only_the_second_source_names(
    before: TargetGroup, observations: list[Observation], action: Action, reason: Reason
) -> None:
    assert verdict(make_plan(before, observations, POLICY), target(B)) == (action, reason)


@pytest.mark.parametrize(
    ("before", "observations"),
    [
        pytest.param(healthy(A), [by_two(0, A, B)], id="that was so from the start"),
        pytest.param(
            healthy(A), [said(0, A), by_two(1, A, B)], id="after a look at which it said nothing"
        ),
        pytest.param(
            healthy(A), [by_two(0, A, A), by_two(1, A, B), by_two(CONTEST + 1, A, B)],
            id="the name has not moved in all that time",
        ),
        pytest.param(
            healthy(A), [by_two(0, A, A), by_two(1, A, "8.8.8.8")],
            id="the address is not allowed",
        ),
    ],
)  # fmt: skip
def test_an_address_that_only_the_second_source_names_is_not_registered_if(
    before: TargetGroup, observations: list[Observation]
) -> None:
    plan = make_plan(before, observations, POLICY)

    assert [v.target for v in plan.changes] == [target(A)]
    assert not plan.vetoes


def test_a_draining_address_that_only_the_second_source_names_is_left_to_drain() -> None:
    leaving = group((target(A), TargetState.HEALTHY), (target(B), TargetState.DRAINING))

    plan = make_plan(leaving, [by_two(0, A, A), by_two(1, A, B)], POLICY)

    assert verdict(plan, target(B)) == (Action.IGNORE, Reason.DRAINING)


def test_a_vetoed_registration_is_vetoed_for_what_is_announced_too() -> None:
    crowded = [replace(o, addresses=frozenset({A, C})) for o in (by_two(0, A, A), by_two(1, A, B))]

    plan = make_plan(healthy(A, C), crowded, replace(POLICY, max_targets=1))

    assert [v.code for v in plan.vetoes] == [VetoCode.TOO_MANY_ADDRESSES]
    assert target(B) not in {v.target for v in plan.changes}


def test_a_contested_target_stays_while_removals_are_vetoed() -> None:
    sources_disagree = replace(by_two(0, "8.8.8.8", B), ttl=TTL)

    plan = make_plan(healthy(A, B), [sources_disagree], POLICY)

    assert verdict(plan, target(B)) == (Action.HOLD, Reason.REMOVAL_VETOED)


def test_what_was_there_when_this_run_found_the_right_one_missing_is_older() -> None:
    observations = [by_two(0, A, B), by_two(WINDOW, A, B)]
    known = Evidence(superseded_since={target(B): 0})
    later = Evidence(superseded_since={target(B): 1})

    plan = make_plan(healthy(A, B), observations, POLICY, known)
    early = make_plan(healthy(A, B), observations, POLICY, later)
    agreed = make_plan(healthy(A, B), [*observations, by_two(9, A, A)], POLICY, known)

    assert verdict(plan, target(B)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)
    assert verdict(early, target(B)) == (Action.HOLD, Reason.CONTESTED)
    assert early.confirmation_due_at == 1 + WINDOW
    assert verdict(agreed, target(B)) == (Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES)


def test_the_window_of_a_removal_begins_when_this_run_saw_the_target_registered() -> None:
    since = Evidence(registered_since={target(A): 2})

    almost = make_plan(healthy(A, B), steadily(B, seconds=WINDOW + 1), POLICY, since)
    at_last = make_plan(healthy(A, B), steadily(B, seconds=WINDOW + 2), POLICY, since)

    assert verdict(almost, target(A)) == (Action.HOLD, Reason.ABSENCE_UNCONFIRMED)
    assert almost.confirmation_due_at == 2 + WINDOW
    assert verdict(at_last, target(A)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_the_same_holds_for_one_that_only_the_second_source_names() -> None:
    since = Evidence(registered_since={target(B): 2})

    plan = make_plan(healthy(A, B), [by_two(0, A, B), by_two(5, A, B)], POLICY, since)

    assert plan.confirmation_due_at == 2 + CONTEST


def test_a_target_that_this_run_saw_leave_comes_back_when_that_is_confirmed() -> None:
    left = Evidence(absent_since={target(A): 2})

    almost = make_plan(healthy(B), steadily(A, seconds=WINDOW + 1), POLICY, left)
    at_last = make_plan(healthy(B), steadily(A, seconds=WINDOW + 2), POLICY, left)

    assert verdict(almost, target(A)) == (Action.HOLD, Reason.RETURN_UNCONFIRMED)
    assert almost.confirmation_due_at == 2 + WINDOW
    assert verdict(at_last, target(A)) == (Action.REGISTER, Reason.RETURN_CONFIRMED)


@pytest.mark.parametrize("port", [5431, 5433])
def test_a_wrong_port_of_a_contested_address_waits_for_the_confirm_window_only(port: int) -> None:
    before = group((target(A), TargetState.HEALTHY), (target(B, port), TargetState.HEALTHY))

    plan = make_plan(before, [by_two(0, A, B), by_two(WINDOW, A, B)], POLICY)

    assert verdict(plan, target(B, port)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_contested_target_says_when_the_name_decides() -> None:
    plan = make_plan(healthy(A, B), [by_two(2, A, B)], POLICY)

    assert plan.confirmation_due_at == 2 + CONTEST
    assert not plan.is_complete


# --- The standby ------------------------------------------------------------------------------

KEEPS = replace(POLICY, serving_standby=True)
OURS = StandbyCheck(confirmed=frozenset({A}))
UNKNOWN = StandbyCheck(failure="DescribeNetworkInterfaces failed with Throttling.")
FORMER_AT_A = group((target(A), TargetState.UNHEALTHY), (target(B), TargetState.HEALTHY))


def kept(
    before: TargetGroup,
    observations: list[Observation],
    *,
    check: StandbyCheck | None = OURS,
    undesired_healthy_since: float | None = None,
    policy: SyncPolicy = KEEPS,
) -> Plan:
    since = {} if undesired_healthy_since is None else {target(A): undesired_healthy_since}
    return make_plan(
        before, observations, policy, Evidence(check=check, undesired_healthy_since=since)
    )


def test_a_dead_former_target_that_is_still_the_databases_is_kept() -> None:
    plan = kept(FORMER_AT_A, steadily(B))

    assert verdict(plan, target(A)) == (Action.KEEP, Reason.STANDBY)
    assert plan.is_complete
    assert not plan.has_failed_checks


def test_a_former_target_is_kept_by_the_number_of_its_port() -> None:
    plan = kept(FORMER_AT_A, steadily(B), policy=replace(KEEPS, port=int(str(KEEPS.port))))

    assert verdict(plan, target(A)) == (Action.KEEP, Reason.STANDBY)


def test_while_nobody_can_say_whose_it_is_a_former_target_is_held_without_a_term() -> None:
    plan = kept(FORMER_AT_A, steadily(B), check=UNKNOWN)

    assert verdict(plan, target(A)) == (Action.HOLD, Reason.STANDBY_CHECK_FAILED)
    assert plan.is_complete
    assert plan.has_failed_checks


@pytest.mark.parametrize(
    ("check", "policy"),
    [
        pytest.param(StandbyCheck(), KEEPS, id="it is not the database's any more"),
        pytest.param(None, KEEPS, id="nobody was asked"),
        pytest.param(OURS, POLICY, id="none is to be kept"),
        pytest.param(UNKNOWN, POLICY, id="none is to be kept, and nobody can say whose it is"),
    ],
)
def test_a_former_target_leaves_with_the_confirm_window_if(
    check: StandbyCheck | None, policy: SyncPolicy
) -> None:
    at_first = kept(FORMER_AT_A, [said(0, B)], check=check, policy=policy)
    at_last = kept(FORMER_AT_A, steadily(B), check=check, policy=policy)

    assert verdict(at_first, target(A)) == (Action.HOLD, Reason.ABSENCE_UNCONFIRMED)
    assert verdict(at_last, target(A)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_former_target_that_answers_beside_the_right_one_stays_for_the_grace_only() -> None:
    began = 3.0
    ends = began + STANDBY_GRACE_SECONDS
    almost = kept(healthy(A, B), [said(0, B), said(ends - 0.1, B)], undesired_healthy_since=began)
    at_last = kept(healthy(A, B), [said(0, B), said(ends, B)], undesired_healthy_since=began)
    named = kept(healthy(A, B), [said(ends - 2, A), said(ends, B)], undesired_healthy_since=began)

    assert verdict(almost, target(A)) == (Action.HOLD, Reason.STANDBY_HEALTHY)
    assert almost.confirmation_due_at == ends
    assert verdict(at_last, target(A)) == (Action.DEREGISTER, Reason.NOT_A_STANDBY)
    assert verdict(named, target(A)) == (Action.HOLD, Reason.STANDBY_HEALTHY)
    assert named.confirmation_due_at == ends + WINDOW


def test_a_former_target_that_answers_is_not_removed_on_an_answer_that_is_vetoed() -> None:
    vetoed = [said(at, B, "8.8.8.8") for at in (90, 100)]
    plan = kept(healthy(A, B), vetoed, undesired_healthy_since=0)

    assert verdict(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize("port", [5431, 5433])
def test_a_former_target_on_a_wrong_port_is_never_kept(port: int) -> None:
    wrong = group((target(A, port), TargetState.UNHEALTHY), (target(B), TargetState.HEALTHY))

    plan = kept(wrong, steadily(B))

    assert verdict(plan, target(A, port)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


def test_a_former_target_outside_the_allowed_networks_is_never_kept() -> None:
    outside = ip_address("10.1.0.1")
    before = group((target(outside), TargetState.UNHEALTHY), (target(B), TargetState.HEALTHY))

    plan = kept(before, steadily(B), check=StandbyCheck(confirmed=frozenset({outside})))

    assert verdict(plan, target(outside)) == (Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)


@pytest.mark.parametrize(("max_targets", "stay"), [(1, set()), (2, {A}), (3, {A, C}), (4, {A, C})])
def test_former_targets_are_kept_as_far_as_there_is_room(
    max_targets: int, stay: set[object]
) -> None:
    before = group(
        (target(C), TargetState.UNHEALTHY),
        (target(A), TargetState.UNHEALTHY),
        (target(B), TargetState.HEALTHY),
    )

    plan = kept(
        before,
        steadily(B),
        check=StandbyCheck(confirmed=frozenset({A, C})),
        policy=replace(KEEPS, max_targets=max_targets),
    )

    assert {v.target.address for v in plan.changes if v.reason is Reason.STANDBY} == stay
    assert {v.target.address for v in plan.to_deregister} == {A, C} - stay


def test_a_target_that_may_not_be_kept_takes_no_room_from_one_that_may() -> None:
    before = group(
        (target(A, 5433), TargetState.UNHEALTHY),
        (target(C), TargetState.UNHEALTHY),
        (target(B), TargetState.HEALTHY),
    )

    plan = kept(
        before,
        steadily(B),
        check=StandbyCheck(confirmed=frozenset({C})),
        policy=replace(KEEPS, max_targets=2),
    )

    assert verdict(plan, target(C)) == (Action.KEEP, Reason.STANDBY)


def test_an_answer_of_more_addresses_than_allowed_leaves_no_room() -> None:
    two_formers = group(
        (target(A), TargetState.UNHEALTHY),
        (target("10.0.9.9"), TargetState.UNHEALTHY),
        (target(B), TargetState.HEALTHY),
    )

    plan = kept(two_formers, [said(0, B, C)], policy=replace(KEEPS, max_targets=1))

    assert verdict(plan, target(A)) == (Action.HOLD, Reason.REMOVAL_VETOED)


@pytest.mark.parametrize(
    ("states", "answers"),
    [
        pytest.param({A: "healthy", B: "healthy"}, {A}, id="both are healthy"),
        pytest.param({A: "healthy", B: "initial"}, {A}, id="the right one is registering"),
        pytest.param({A: "healthy", B: "unused"}, {A}, id="the right one is in no zone"),
        pytest.param({A: "healthy"}, {A}, id="the right one is not in the group yet"),
        pytest.param({A: "healthy", B: "draining"}, {A}, id="the right one is draining"),
        pytest.param({A: "healthy", B: "unhealthy"}, set(), id="the right one is dead"),
        pytest.param({A: "healthy", B: "unhealthy.draining"}, set(), id="the right one is dying"),
        pytest.param({A: "unhealthy", B: "healthy"}, set(), id="the former one is dead"),
        pytest.param({A: "initial", B: "healthy"}, set(), id="the former one is registering"),
        pytest.param({B: "healthy"}, set(), id="there is no former one"),
        pytest.param({A: "healthy", C: "unhealthy"}, {A}, id="a third one is dead"),
    ],
)
def test_a_former_target_answers_beside_the_right_one_when(
    states: dict[object, str], answers: set[object]
) -> None:
    before = group(*((target(a), TargetState(state)) for a, state in states.items()))

    assert healthy_undesired_targets(before, said(0, B), POLICY) == {target(a) for a in answers}


# --- Families ---------------------------------------------------------------------------------

SIX = ip_address("2001:db8::1")
SIXES = replace(POLICY, allowed_networks=(ip_network("2001:db8::/32"),))


def test_the_family_of_the_allowed_networks_is_the_groups() -> None:
    both = said(0, A, SIX)

    assert desired_targets(both, POLICY) == {target(A)}
    assert desired_targets(both, SIXES) == {target(SIX)}
    assert POLICY.families == {4}
    assert SIXES.families == {6}


def test_targets_of_the_other_family_are_not_outside_the_answer() -> None:
    mixed = healthy(A, B, SIX)

    assert undesired_targets(mixed, said(0, B), POLICY) == {target(A)}
    assert undesired_targets(mixed, said(0, B), SIXES) == {target(SIX)}


def test_addresses_of_the_other_family_do_not_count_as_too_many() -> None:
    plan = make_plan(healthy(A), [said(0, A, SIX)], replace(POLICY, max_targets=1))

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
        said(sum(s[0] for s in steps[: n + 1]), *addresses, ttl=ttl, corroborated=corroborated)
        for n, (_, addresses, ttl, corroborated) in enumerate(steps)
    ]
)
some_policies = st.builds(lambda most: replace(POLICY, max_targets=most), st.integers(1, 4))
some_addresses_of_ours = st.frozensets(some_addresses.map(ip_address), max_size=3)
some_evidence = st.builds(
    Evidence,
    check=st.none() | st.builds(StandbyCheck, confirmed=some_addresses_of_ours) | st.just(UNKNOWN),
    undesired_healthy_since=st.dictionaries(some_targets, st.floats(0, 30), max_size=2),
)
#: Few different answers, so that series that say the same are as common as in life.
some_histories = st.lists(
    st.builds(
        lambda pause, at, api, ttl: (pause, replace(by_two(0, at, api or A), ttl=ttl), api is None),
        st.floats(0.1, 4),
        st.sampled_from([A, B]),
        st.sampled_from([None, A, B]),
        st.sampled_from([None, 1, 5, 9]),
    ),
    min_size=1,
    max_size=30,
).map(
    lambda steps: [
        replace(
            seen,
            at=sum(pause for pause, *_ in steps[: n + 1]),
            second=None if silent else seen.second,
        )
        for n, (_, seen, silent) in enumerate(steps)
    ]
)


@given(some_groups, some_histories, st.booleans(), some_evidence)
def test_a_plan_made_from_what_a_run_remembers_is_the_one_made_from_all_it_saw(
    before: TargetGroup,
    history: list[Observation],
    keep: bool,
    evidence: Evidence,
) -> None:
    policy = replace(POLICY, serving_standby=keep)
    run = RunState(run_config=RunConfig(started_at=0, deadline=600, watch_until=0), policy=policy)
    for seen in history:
        run = run.with_observation(seen)

    remembered = make_plan(before, run.observations, policy, evidence)

    assert remembered == make_plan(before, history, policy, evidence)


@given(some_histories)
def test_a_run_remembers_no_more_than_two_of_a_series(history: list[Observation]) -> None:
    run = RunState(run_config=RunConfig(started_at=0, deadline=600, watch_until=0), policy=POLICY)
    for seen in history:
        run = run.with_observation(seen)

    triples = zip(run.observations, run.observations[1:], run.observations[2:], strict=False)
    assert not any(a.says_the_same(b) and b.says_the_same(c) for a, b, c in triples)


@given(some_groups, some_observations, some_evidence)
def test_a_kept_standby_is_a_confirmed_address_on_our_port(
    before: TargetGroup, observations: list[Observation], evidence: Evidence
) -> None:
    plan = make_plan(before, observations, KEEPS, evidence)

    for stays in (v.target for v in plan.changes if v.reason is Reason.STANDBY):
        assert evidence.check is not None
        assert stays.address in evidence.check.confirmed
        assert stays.port == KEEPS.port
        assert KEEPS.allows(stays.address)


@given(some_groups, some_observations, some_policies)
def test_what_two_sources_agree_on_makes_no_old_target_wait_beside_a_new_one(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    observations[-1] = replace(observations[-1], second=observations[-1].addresses)

    plan = make_plan(before, observations, policy)

    if plan.to_register and before.draining.isdisjoint(v.target for v in plan.to_register):
        assert not [v for v in plan.changes if v.reason is Reason.ABSENCE_UNCONFIRMED]


@given(some_groups, some_observations, some_policies)
def test_agreement_on_what_was_there_all_along_removes_nothing_at_once(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    others = [t for t in before.targets if t.target != target(A)]
    known = TargetGroup((*others, TargetHealth(target(A), TargetState.HEALTHY)))
    always = [replace(o, addresses=o.addresses | {A}) for o in observations]
    back = replace(always[-1], addresses=frozenset({A}), second=frozenset({A}))

    plan = make_plan(known, [*always, back], policy)

    assert not [v for v in plan.changes if v.reason is Reason.ABSENT_IN_BOTH_SOURCES]


def applied(before: TargetGroup, plan: Plan) -> TargetGroup:
    after = {t.target: t.state for t in before.targets}
    after |= {v.target: TargetState.INITIAL for v in plan.to_register}
    after |= {v.target: TargetState.DRAINING for v in plan.to_deregister}
    return group(*after.items())


@given(some_groups, some_observations, some_policies)
def test_no_plan_leaves_a_group_without_a_registered_target(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    plan = make_plan(before, observations, policy)

    if before.registered:
        assert applied(before, plan).registered


@given(some_groups, some_observations, some_policies)
def test_no_plan_registers_an_address_outside_the_allowed_networks(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    plan = make_plan(before, observations, policy)

    assert all(v.target.address in ip_network("10.0.0.0/16") for v in plan.to_register)


@given(some_groups, some_observations, some_policies)
def test_no_plan_removes_what_the_newest_answer_contains(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    plan = make_plan(before, observations, policy)

    wanted = {Target(a, policy.port) for a in observations[-1].addresses}
    assert not wanted & {v.target for v in plan.to_deregister}


@given(some_groups, some_observations, some_policies)
def test_without_a_second_source_no_plan_removes_what_any_answer_of_the_window_contained(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    observations[-1] = replace(observations[-1], second=None)

    plan = make_plan(before, observations, policy)

    ends = observations[-1].at
    # Added as the planner adds it: a difference would round in another way.
    window = [o for o in observations if o.at + policy.confirm_seconds > ends]
    for gone in plan.to_deregister:
        assert observations[0].at + policy.confirm_seconds <= ends
        assert not any(
            gone.target.port == policy.port and gone.target.address in o.addresses for o in window
        )


@given(some_groups, some_observations, some_policies)
def test_a_plan_applied_twice_changes_nothing(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    plan = make_plan(before, observations, policy)

    again = make_plan(applied(before, plan), observations, policy)

    assert not set(again.to_register) & set(plan.to_register)
    assert not set(again.to_deregister) & set(plan.to_deregister)


@given(some_groups, some_observations, some_policies)
def test_every_target_gets_exactly_one_verdict(
    before: TargetGroup, observations: list[Observation], policy: SyncPolicy
) -> None:
    plan = make_plan(before, observations, policy)

    listed = {t.target for t in before.targets}
    wanted = {Target(a, policy.port) for a in observations[-1].addresses}
    assert [v.target for v in plan.changes] == list(in_order(listed | wanted))
