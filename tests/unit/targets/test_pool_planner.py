"""The plan of the warm pool."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_sync.model import (
    CandidateList,
    IPAddress,
    OutboundRules,
    SwitchState,
    SyncPolicy,
    Target,
    TargetGroup,
    TargetHealth,
    TargetState,
)
from target_sync.targets.pool_planner import (
    PoolChange,
    PoolPlan,
    PoolReason,
    SwitchView,
    plan_pool,
    state_of,
    targets_to_let_go,
)
from tests.support.scenario import ON_PREM, A, B, C, target
from tests.support.warm_targets import WARM_POLICY

HEALTHY, UNHEALTHY = TargetState.HEALTHY, TargetState.UNHEALTHY
INITIAL, DRAINING = TargetState.INITIAL, TargetState.DRAINING
States = Mapping[Target, TargetState]
SERVING = target(A)
MANY = [target(f"10.0.2.{n}") for n in range(1, 9)]


def described(
    states: States,
    open_targets: Iterable[Target] = (SERVING,),
    state: SwitchState = SwitchState.PROVEN,
    *,
    at: float = 0.0,
    before: SwitchView | None = None,
) -> SwitchView:
    group = TargetGroup(tuple(TargetHealth(*item) for item in states.items()))
    rules = OutboundRules(frozenset(open_targets), state)
    return (before or SwitchView()).after_description(group, rules, at)


def plan(
    view: SwitchView,
    *candidates: Target,
    desired: Iterable[Target] = (SERVING,),
    policy: SyncPolicy = WARM_POLICY,
    failure: str = "",
) -> PoolPlan:
    listed = CandidateList(addresses=tuple(t.address for t in candidates), failure=failure)
    return plan_pool(view, frozenset(desired), listed, policy)


def targets(changes: Iterable[PoolChange]) -> list[Target]:
    return [change.target for change in changes]


def reasons(changes: Iterable[PoolChange]) -> dict[Target, PoolReason]:
    return {change.target: change.reason for change in changes}


def test_registers_the_first_candidates_up_to_the_bound() -> None:
    made = plan(described({SERVING: HEALTHY}), *MANY)

    assert targets(made.to_register) == MANY[:5]
    assert (made.kept, made.to_deregister, made.is_new_state) == ((), (), False)


@pytest.mark.parametrize(
    ("state", "most"),
    [(SwitchState.PROVEN, 5), (SwitchState.UNPROVEN, 1), (SwitchState.INEFFECTIVE, 0)],
)
def test_the_state_of_the_switch_bounds_the_pool(state: SwitchState, most: int) -> None:
    full = {SERVING: HEALTHY, **dict.fromkeys(MANY, UNHEALTHY)}

    assert len(plan(described({SERVING: HEALTHY}, state=state), *MANY).to_register) == most
    made = plan(described(full, state=state), *MANY)
    assert targets(made.kept) == MANY[:most]
    assert targets(made.to_deregister) == MANY[most:]


@pytest.mark.parametrize(("max_targets", "most"), [(3, 2), (1, 0)])
def test_serving_and_warm_targets_together_have_a_limit(max_targets: int, most: int) -> None:
    policy = replace(WARM_POLICY, max_targets=max_targets)

    made = plan(described({SERVING: HEALTHY}), *MANY, policy=policy)

    assert len(made.to_register) == most


def test_a_registered_candidate_stays_rather_than_a_likelier_one_joins() -> None:
    warm = MANY[3:8]
    view = described({SERVING: HEALTHY, **dict.fromkeys(warm, UNHEALTHY)})

    made = plan(view, *MANY)

    assert reasons(made.kept) == dict.fromkeys(warm, PoolReason.CANDIDATE)
    assert (made.to_register, made.to_deregister) == ((), ())


def test_targets_that_served_last_stay_first() -> None:
    all_open = described({SERVING: HEALTHY, MANY[6]: HEALTHY}, [SERVING, MANY[6]])
    both = {SERVING: HEALTHY, MANY[6]: HEALTHY, MANY[7]: HEALTHY}
    later = described(both, [SERVING, MANY[7]], at=5.0, before=all_open)
    closed = described({SERVING: HEALTHY, **dict.fromkeys(MANY, INITIAL)}, at=6.0, before=later)

    assert targets(plan(closed, *MANY).kept) == [MANY[7], MANY[6], *MANY[:3]]


@pytest.mark.parametrize(
    ("warm", "reason"),
    [
        (target(B), PoolReason.NOT_A_CANDIDATE),
        (target(C, 5433), PoolReason.NOT_ALLOWED),
        (target(ON_PREM), PoolReason.NOT_ALLOWED),
    ],
)
def test_a_warm_target_leaves_for_a_reason(warm: Target, reason: PoolReason) -> None:
    made = plan(described({SERVING: HEALTHY, warm: UNHEALTHY}), target(C), target(ON_PREM))

    assert reasons(made.to_deregister) == {warm: reason}


@pytest.mark.parametrize("candidate", [target(ON_PREM), target("2001:db8::9")])
def test_a_candidate_that_is_not_allowed_is_never_registered(candidate: Target) -> None:
    assert plan(described({SERVING: HEALTHY}), candidate).to_register == ()


def test_a_candidate_that_is_open_draining_or_desired_is_not_registered() -> None:
    view = described({SERVING: HEALTHY, target(C): DRAINING}, [SERVING, target(B)])

    made = plan(view, target(B), target(C), MANY[0], MANY[0], desired=[SERVING, MANY[0]])

    assert made.to_register == ()


def test_without_a_list_former_addresses_stay_and_nothing_joins() -> None:
    view = described({SERVING: HEALTHY, target(B): UNHEALTHY})

    made = plan_pool(view, frozenset({SERVING}), None, WARM_POLICY)

    assert reasons(made.kept) == {target(B): PoolReason.FORMER}
    assert (made.to_register, made.to_deregister) == ((), ())


def test_unknown_candidates_change_nothing() -> None:
    view = described(
        {SERVING: HEALTHY, **dict.fromkeys([*MANY, target(ON_PREM)], UNHEALTHY)},
        state=SwitchState.UNPROVEN,
    )

    made = plan(view, failure="DescribeNetworkInterfaces failed.")

    assert set(reasons(made.kept).values()) == {PoolReason.UNKNOWN}
    assert len(made.kept) == len(MANY) + 1
    assert (made.to_register, made.to_deregister) == ((), ())


def test_a_desired_target_that_is_closed_stays() -> None:
    view = described({SERVING: HEALTHY, target(B): UNHEALTHY}, state=SwitchState.INEFFECTIVE)

    made = plan(view, desired=[SERVING, target(B)])

    assert made.to_deregister == ()


# --- The state of the switch ----------------------------------------------------------------------


def healthy_while_closed(*times: float, state: SwitchState = SwitchState.PROVEN) -> SwitchView:
    view = SwitchView()
    for at in times:
        states = {SERVING: HEALTHY, target(B): HEALTHY}
        view = described(states, state=state, at=at, before=view)
    return view


@pytest.mark.parametrize("state", [SwitchState.PROVEN, SwitchState.UNPROVEN])
def test_a_closed_target_that_stays_healthy_shows_an_ineffective_switch(state: SwitchState) -> None:
    assert plan(healthy_while_closed(100.0, 129.0, state=state), target(B)).state is state
    assert plan(healthy_while_closed(100.0, 129.0), target(B)).due_at == 130.0

    made = plan(healthy_while_closed(100.0, 130.0, state=state), target(B), failure="unknown")

    assert (made.state, made.is_new_state) == (SwitchState.INEFFECTIVE, True)
    assert reasons(made.to_deregister) == {target(B): PoolReason.INEFFECTIVE}
    assert made.due_at is None


def test_a_closed_target_that_is_unhealthy_in_between_shows_nothing() -> None:
    view = healthy_while_closed(0.0)
    view = described({SERVING: HEALTHY, target(B): UNHEALTHY}, at=20.0, before=view)
    view = described({SERVING: HEALTHY, target(B): HEALTHY}, at=40.0, before=view)

    assert state_of(view) is SwitchState.PROVEN
    assert plan(view, target(B)).due_at == 70.0


def test_a_target_that_was_open_in_between_shows_nothing() -> None:
    view = healthy_while_closed(0.0)
    states = {SERVING: HEALTHY, target(B): HEALTHY}
    view = described(states, [SERVING, target(B)], at=20.0, before=view)
    view = described(states, at=40.0, before=view)

    assert state_of(view) is SwitchState.PROVEN


@pytest.mark.parametrize(
    ("closed", "then_open", "state"),
    [
        (UNHEALTHY, HEALTHY, SwitchState.PROVEN),
        (UNHEALTHY, UNHEALTHY, SwitchState.UNPROVEN),
        (INITIAL, HEALTHY, SwitchState.UNPROVEN),
    ],
)
def test_unhealthy_closed_and_then_healthy_open_proves_the_switch(
    closed: TargetState, then_open: TargetState, state: SwitchState
) -> None:
    unproven = SwitchState.UNPROVEN
    view = described({SERVING: HEALTHY, target(B): closed}, state=unproven)
    states = {SERVING: UNHEALTHY, target(B): then_open}
    view = described(states, [target(B)], unproven, at=60.0, before=view)

    made = plan(view, target(B), target(C), desired=[target(B)])

    assert (made.state, made.is_new_state) == (state, state is SwitchState.PROVEN)


def test_no_run_proves_an_ineffective_switch_by_observation() -> None:
    ineffective = SwitchState.INEFFECTIVE
    view = described({SERVING: HEALTHY, target(B): UNHEALTHY}, state=ineffective)
    view = described({target(B): HEALTHY}, [target(B)], ineffective, at=60.0, before=view)

    assert state_of(view) is ineffective


# --- Rules that no run needs ----------------------------------------------------------------------


@pytest.mark.parametrize(("age", "closed"), [(59.0, ()), (60.0, (target(C),))])
def test_an_open_target_that_no_run_needs_is_closed_after_a_minute(
    age: float, closed: tuple[Target, ...]
) -> None:
    states, opened = {SERVING: HEALTHY}, [SERVING, target(B), target(C)]
    view = described(states, opened, at=age, before=described(states, opened))

    assert plan(view, desired=[SERVING, target(B)]).to_close == closed


# --- Closing serving targets ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("warm", "state", "let_go"),
    [
        ([], SwitchState.PROVEN, ()),
        (MANY[:4], SwitchState.PROVEN, ()),
        (MANY[:5], SwitchState.PROVEN, (MANY[4],)),
        ([], SwitchState.UNPROVEN, ()),
        (MANY[:1], SwitchState.UNPROVEN, (MANY[0],)),
        (MANY[:1], SwitchState.INEFFECTIVE, (target(B),)),
    ],
)
def test_a_closed_target_stays_and_another_one_leaves_a_full_pool(
    warm: list[Target], state: SwitchState, let_go: tuple[Target, ...]
) -> None:
    states = {SERVING: HEALTHY, target(B): HEALTHY, **dict.fromkeys(warm, UNHEALTHY)}
    view = described(states, [SERVING, target(B)], state)

    assert targets_to_let_go(view, [target(B)], WARM_POLICY) == let_go


def test_a_closed_target_that_is_not_allowed_leaves() -> None:
    other = target(ON_PREM)
    view = described({SERVING: HEALTHY, other: HEALTHY}, [SERVING, other])

    assert targets_to_let_go(view, [other], WARM_POLICY) == (other,)


# --- Properties -----------------------------------------------------------------------------------

ANY_TARGET = [SERVING, target(B), target(C), *MANY, target(ON_PREM), target(B, 5433)]
subsets = st.sets(st.sampled_from(ANY_TARGET))


def healthy_since(
    states: States, opened: Iterable[Target], state: SwitchState, ages: list[float]
) -> SwitchView:
    view, at = described(states, opened, state), 0.0
    for age in ages:
        at += age
        view = described(states, opened, state, at=at, before=view)
    return view


views = st.builds(
    healthy_since,
    st.dictionaries(st.sampled_from(ANY_TARGET), st.sampled_from(list(TargetState))),
    subsets,
    st.sampled_from(list(SwitchState)),
    st.lists(st.sampled_from([1.0, 10.0, 30.0]), max_size=2),
)
policies = st.builds(
    lambda warm, most: replace(WARM_POLICY, warm_targets=warm, max_targets=most),
    st.integers(0, 5),
    st.integers(1, 8),
)
lists = st.none() | st.builds(
    lambda listed, failure: CandidateList(
        addresses=tuple(t.address for t in listed), failure=failure
    ),
    st.lists(st.sampled_from(ANY_TARGET)),
    st.sampled_from(["", "", "failed"]),
)


@given(view=views, desired=subsets, candidates=lists, policy=policies)
def test_a_plan_keeps_every_rule_of_the_pool(
    view: SwitchView, desired: set[Target], candidates: CandidateList | None, policy: SyncPolicy
) -> None:
    made = plan_pool(view, frozenset(desired), candidates, policy)
    joining, leaving = set(targets(made.to_register)), set(targets(made.to_deregister))
    kept = set(targets(made.kept))
    is_known = candidates is None or not candidates.failure
    listed: set[IPAddress] = set(candidates.addresses) if candidates else set()
    most = {"proven": policy.warm_targets, "unproven": 1, "ineffective": 0}[made.state.value]

    # Serving and desired targets never change, and every warm target gets one decision.
    assert not (joining | leaving | kept) & (view.serving | desired)
    assert kept | leaving == view.warm - desired
    assert not kept & leaving
    # A closed target joins only if the rules do not open it.
    assert not joining & (view.rules.open | view.group.registered)
    assert all(t.address in listed and policy.allows(t.address) for t in joining)
    if made.state is SwitchState.INEFFECTIVE:
        assert not joining | kept
    elif is_known:
        assert len(joining | kept) <= min(most, policy.warm_targets)
        assert not joining or len(joining | kept | view.serving) <= policy.max_targets
    else:
        assert not joining | leaving
    assert not set(made.to_close) & (desired | view.group.registered)


@given(view=views, desired=subsets, listed=st.lists(st.sampled_from(MANY), unique=True))
def test_an_applied_plan_leaves_nothing_to_do(
    view: SwitchView, desired: set[Target], listed: list[Target]
) -> None:
    candidates = CandidateList(addresses=tuple(t.address for t in listed))
    made = plan_pool(view, frozenset(desired), candidates, WARM_POLICY)
    leaving = targets(made.to_deregister)
    states = {t.target: t.state for t in view.group.targets if t.target not in leaving}
    states |= dict.fromkeys(targets(made.to_register), INITIAL)
    opened = view.rules.open.difference(made.to_close)
    after = described(states, opened, made.state, at=view.at, before=view)

    again = plan_pool(after, frozenset(desired), candidates, WARM_POLICY)

    # A candidate that was open and not registered may join once it is closed.
    assert {*targets(again.to_register)} <= {*made.to_close}
    assert (again.to_deregister, again.to_close) == ((), ())


@given(view=views, policy=policies, data=st.data())
def test_closing_never_leaves_more_warm_targets_than_there_is_room_for(
    view: SwitchView, policy: SyncPolicy, data: st.DataObject
) -> None:
    closing = (
        data.draw(st.sets(st.sampled_from(sorted(view.serving, key=str))))
        if view.serving
        else set()
    )
    let_go = targets_to_let_go(view, closing, policy)

    assert not set(let_go) & (view.serving - closing)
    most = {"proven": policy.warm_targets, "unproven": 1, "ineffective": 0}[view.rules.state.value]
    kept = closing.difference(let_go)
    if kept:
        assert len((view.warm | kept).difference(let_go) - _unfit(view)) <= most


def _unfit(view: SwitchView) -> set[Target]:
    return {t for t in view.warm if t in (target(ON_PREM), target(B, 5433))}
