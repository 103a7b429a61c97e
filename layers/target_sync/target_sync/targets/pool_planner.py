"""The plan of the warm pool: which closed targets stay registered, and which join or leave."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from target_sync.model import (
    CandidateList,
    OutboundRules,
    SwitchState,
    SyncPolicy,
    Target,
    TargetGroup,
    TargetState,
    in_order,
    targets_at,
    unbroken_since,
)

#: How long a closed target may be healthy. The change of a rule takes about a second, two health
#: checks of 5 s with a time-out of 4 s follow, and another run may have closed it a moment ago.
HEALTHY_WHILE_CLOSED_SECONDS = 30.0
#: How long an open target may be neither registered nor desired. Another run may be about to
#: register it.
STRAY_SECONDS = 60.0
#: The warm targets while the switch is unproven: this one is under watch.
UNPROVEN_TARGETS = 1


class PoolReason(StrEnum):
    """Why a warm target joins, stays or leaves, as a text for the log and the result."""

    CANDIDATE = "the database may move to this address"
    FORMER = "a former address of the database"
    UNKNOWN = "kept, because the addresses that the database may move to are not known"
    NOT_A_CANDIDATE = "the database can no longer move to this address"
    NOT_ALLOWED = "outside the allowed networks, or on another port"
    TOO_MANY = "there are more warm targets than allowed now"
    INEFFECTIVE = "closed targets get traffic, so none may stay registered"


@dataclass(frozen=True, slots=True)
class PoolChange:
    """What happens to one warm target, and why."""

    target: Target
    reason: PoolReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one container has seen of a target, over all its descriptions.

    Attributes:
        healthy_since: Since when it has been closed and healthy; None if it is not.
        stray_since: Since when it has been open and not registered; None if it is not.
        was_cut_off: Whether it was unhealthy while it was closed.
        served_at: When it was open and registered for the last time; minus infinity if never.
    """

    healthy_since: float | None = None
    stray_since: float | None = None
    was_cut_off: bool = False
    served_at: float = -inf


_UNSEEN = Sighting()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchView:
    """The target group and the rules as described, and what the descriptions before showed.

    Attributes:
        at: When the description began.
        sightings: What is known about each target that is registered or open.
    """

    group: TargetGroup = field(default_factory=lambda: TargetGroup(()))
    rules: OutboundRules = field(default_factory=lambda: OutboundRules(frozenset()))
    at: float = -inf
    sightings: Mapping[Target, Sighting] = field(default_factory=dict)

    @property
    def serving(self) -> frozenset[Target]:
        """The targets that are registered and open."""
        return self.group.registered & self.rules.open

    @property
    def warm(self) -> frozenset[Target]:
        """The targets that are registered and closed."""
        return self.group.registered - self.rules.open

    @property
    def serving_group(self) -> TargetGroup:
        """The group without its warm targets."""
        return TargetGroup(tuple(t for t in self.group.targets if t.target not in self.warm))

    def sighting(self, target: Target) -> Sighting:
        """Return what is known about a target."""
        return self.sightings.get(target, _UNSEEN)

    def with_open(self, targets: frozenset[Target]) -> "SwitchView":
        """Return the view after a change of the rules: exactly these targets are open."""
        return replace(self, rules=replace(self.rules, open=targets))

    def with_state(self, state: SwitchState) -> "SwitchView":
        """Return the view with another state of the switch."""
        return replace(self, rules=replace(self.rules, state=state))

    def after_description(
        self, group: TargetGroup, rules: OutboundRules, at: float
    ) -> "SwitchView":
        """Return the view after the next description."""
        view = SwitchView(group=group, rules=rules, at=at)
        states = {health.target: health.state for health in group.targets}
        sightings = {
            target: _after(self.sighting(target), view, target, states.get(target))
            for target in group.registered | rules.open
        }
        return replace(view, sightings=sightings)


def _after(
    before: Sighting, view: SwitchView, target: Target, state: TargetState | None
) -> Sighting:
    is_warm, is_serving = target in view.warm, target in view.serving
    is_healthy = is_warm and state is TargetState.HEALTHY
    is_cut_off = is_warm and state is TargetState.UNHEALTHY
    return Sighting(
        healthy_since=unbroken_since(before.healthy_since, view.at, holds=is_healthy),
        stray_since=unbroken_since(
            before.stray_since, view.at, holds=not is_warm and not is_serving
        ),
        was_cut_off=before.was_cut_off or is_cut_off,
        served_at=view.at if is_serving else before.served_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """The changes of the warm pool.

    Attributes:
        state: The state of the switch after the plan.
        is_new_state: Whether the state must be marked.
        to_close: The open targets that no run needs.
        due_at: When a closed target that is healthy now counts as proof that the switch is
            ineffective; None if there is none.
    """

    state: SwitchState
    is_new_state: bool = False
    to_register: tuple[PoolChange, ...] = ()
    to_deregister: tuple[PoolChange, ...] = ()
    kept: tuple[PoolChange, ...] = ()
    to_close: tuple[Target, ...] = ()
    due_at: float | None = None


def state_of(view: SwitchView) -> SwitchState:
    """Return the state of the switch by its mark and by what the descriptions showed.

    =========== ==================================================================
    ineffective a closed target has been healthy for `HEALTHY_WHILE_CLOSED_SECONDS`
    proven      a target was unhealthy while closed, and is healthy now that it is open
    unproven    neither, and the rules have no mark
    =========== ==================================================================
    """
    healthy = (view.sighting(target).healthy_since for target in view.warm)
    ages = [view.at - since for since in healthy if since is not None]
    if max(ages, default=0.0) >= HEALTHY_WHILE_CLOSED_SECONDS:
        return SwitchState.INEFFECTIVE
    served = view.serving & view.group.healthy
    is_shown = any(view.sighting(target).was_cut_off for target in served)
    if view.rules.state is SwitchState.UNPROVEN and is_shown:
        return SwitchState.PROVEN
    return view.rules.state


def room_for(state: SwitchState, policy: SyncPolicy, serving: Iterable[Target]) -> int:
    """Return how many warm targets may be registered beside these serving ones."""
    most = {
        SwitchState.PROVEN: policy.warm_targets,
        SwitchState.UNPROVEN: min(policy.warm_targets, UNPROVEN_TARGETS),
        SwitchState.INEFFECTIVE: 0,
    }[state]
    return max(0, min(most, policy.max_targets - len(frozenset(serving))))


def targets_to_let_go(
    view: SwitchView, closing: Iterable[Target], policy: SyncPolicy
) -> tuple[Target, ...]:
    """Return the targets to deregister when these serving ones are closed.

    The closing ones stay rather than other warm targets, because the database has just been there.
    """
    closing = frozenset(closing)
    room = room_for(view.rules.state, policy, view.serving - closing)
    if not room:
        return in_order(closing)
    fitting = in_order(t for t in closing if _fits(t, policy))
    others = _ranked((t for t in view.warm - closing if _fits(t, policy)), view, ())
    return in_order(closing.difference(fitting).union([*fitting, *others][room:]))


def plan_pool(
    view: SwitchView,
    desired: frozenset[Target],
    candidates: CandidateList | None,
    policy: SyncPolicy,
) -> PoolPlan:
    """Decide which targets are warm after the newest description.

    A candidate that is registered already comes before one that is not, a target that served
    before any other, and then the order of the candidates decides. A serving or desired target
    never changes. If the candidates are not known, only an ineffective switch changes the pool.

    Args:
        view: The newest description.
        desired: The desired targets of the newest observation.
        candidates: The addresses that the database may move to; None if no API lists them, so that
            former addresses stay.
        policy: The limits.
    """
    return _PoolPlanning(view, desired, candidates, policy).plan()


@dataclass(frozen=True, slots=True)
class _PoolPlanning:
    view: SwitchView
    desired: frozenset[Target]
    candidates: CandidateList | None
    policy: SyncPolicy

    def plan(self) -> PoolPlan:
        view, state = self.view, state_of(self.view)
        warm = view.warm - self.desired
        leaving = {t: reason for t in warm if (reason := self._reason_to_leave(t, state))}
        staying = _ranked(warm - leaving.keys(), view, self._listed)
        room = room_for(state, self.policy, view.serving | (view.warm & self.desired))
        is_frozen = self._is_unknown and state is not SwitchState.INEFFECTIVE
        kept, surplus = (staying, []) if is_frozen else (staying[:room], staying[room:])
        leaving |= dict.fromkeys(surplus, PoolReason.TOO_MANY)
        joining = [] if is_frozen else self._new[: max(0, room - len(kept))]
        return PoolPlan(
            state=state,
            is_new_state=state is not view.rules.state,
            to_register=_changes(joining, PoolReason.CANDIDATE),
            to_deregister=tuple(PoolChange(t, leaving[t]) for t in in_order(leaving)),
            kept=_changes(kept, self._reason_to_stay),
            to_close=self._strays,
            due_at=None if state is SwitchState.INEFFECTIVE else self._due_at,
        )

    @property
    def _is_unknown(self) -> bool:
        return self.candidates is not None and bool(self.candidates.failure)

    @property
    def _listed(self) -> Sequence[Target]:
        addresses = dict.fromkeys(self.candidates.addresses if self.candidates else ())
        return [t for address in addresses for t in targets_at([address], self.policy)]

    @property
    def _new(self) -> Sequence[Target]:
        """The candidates that may be registered closed, the best one first."""
        view = self.view
        present = self.desired | view.rules.open | view.group.registered | view.group.draining
        return [t for t in self._listed if t not in present and _fits(t, self.policy)]

    def _reason_to_leave(self, target: Target, state: SwitchState) -> PoolReason | None:
        if state is SwitchState.INEFFECTIVE:
            return PoolReason.INEFFECTIVE
        if self._is_unknown:
            return None
        if not _fits(target, self.policy):
            return PoolReason.NOT_ALLOWED
        if self.candidates is not None and target not in self._listed:
            return PoolReason.NOT_A_CANDIDATE
        return None

    @property
    def _reason_to_stay(self) -> PoolReason:
        if self.candidates is None:
            return PoolReason.FORMER
        return PoolReason.UNKNOWN if self._is_unknown else PoolReason.CANDIDATE

    @property
    def _strays(self) -> tuple[Target, ...]:
        view = self.view
        since = {t: view.sighting(t).stray_since for t in view.rules.open - self.desired}
        return in_order(
            t for t, at in since.items() if at is not None and view.at - at >= STRAY_SECONDS
        )

    @property
    def _due_at(self) -> float | None:
        healthy = (self.view.sighting(t).healthy_since for t in self.view.warm)
        times = [since + HEALTHY_WHILE_CLOSED_SECONDS for since in healthy if since is not None]
        return min(times, default=None)


def _fits(target: Target, policy: SyncPolicy) -> bool:
    return target.port == policy.port and policy.allows(target.address)


def _ranked(
    targets: Iterable[Target], view: SwitchView, listed: Sequence[Target]
) -> Sequence[Target]:
    """Return the targets that served last first, then in the order of the candidates."""
    places = {target: place for place, target in enumerate(listed)}
    return sorted(
        in_order(targets), key=lambda t: (-view.sighting(t).served_at, places.get(t, len(places)))
    )


def _changes(targets: Iterable[Target], reason: PoolReason) -> tuple[PoolChange, ...]:
    return tuple(PoolChange(target, reason) for target in targets)
