"""The plan: which targets to register and deregister, with the reasons and the vetoes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from target_sync.model import (
    Observation,
    StandbyCheck,
    SyncPolicy,
    Target,
    TargetGroup,
    TargetState,
    desired_targets,
    in_order,
    targets_at,
    undesired_targets,
)

#: A cache keeps a record for its TTL, which is rounded to full seconds.
TTL_MARGIN_SECONDS = 1.0
#: How long an undesired target may be healthy beside a desired one before it counts as no standby.
#: A dead primary stays healthy until two health checks have failed: they are 5 s apart, and each
#: has a time-out of 4 s (template.yaml). This leaves room for one more check.
STANDBY_GRACE_SECONDS = 20.0

#: How long to keep a target that only the second source names and that was never desired in this
#: run. It is either the next writer, before its name moves and leaves the caches, or the previous
#: one, while the API lags.
CONTEST_SECONDS = 30.0

_DEAD = frozenset({TargetState.UNHEALTHY, TargetState.UNHEALTHY_DRAINING})


class Action(StrEnum):
    """What a plan does with a target."""

    REGISTER = "register"
    DEREGISTER = "deregister"
    KEEP = "keep"
    #: A change is due, but it is not confirmed yet, or a guard vetoed it.
    HOLD = "hold"
    #: Draining and not desired: AWS already removes it.
    IGNORE = "ignore"
    #: Desired, but not allowed in the group.
    REJECT = "reject"


class Reason(StrEnum):
    """Why a plan does so, as a text for the log and the result."""

    NOT_REGISTERED = "desired and not registered"
    ANNOUNCED = "not desired yet, but the second source has changed to it"
    RETURN_CONFIRMED = "desired in every observation of the confirm window, and still draining"
    REGISTERED = "desired and already registered"
    STANDBY = "not desired; kept, because it belongs to the database's standby"
    ABSENCE_CONFIRMED = "in no observation of the confirm window"
    ABSENT_IN_BOTH_SOURCES = "not desired, and two independent sources agree"
    NOT_A_STANDBY = "not desired, and it kept accepting connections beside a desired target"
    ABSENCE_UNCONFIRMED = "not desired; waiting until no cache can still hold its address"
    CONTESTED = "not desired, but the second source names it; waiting until the sources agree"
    RETURN_UNCONFIRMED = "desired but draining; waiting until the observation has been stable"
    STANDBY_CHECK_FAILED = "not desired; kept, because the standby check failed"
    STANDBY_HEALTHY = "not desired, but it accepts connections beside a desired target"
    REMOVAL_VETOED = "not desired; the removal was vetoed"
    REGISTRATION_VETOED = "desired and not registered; the registration was vetoed"
    DRAINING = "not desired and already draining"
    NOT_ALLOWED = "desired but outside the allowed networks"


class Phase(StrEnum):
    """The two phases of a plan. A veto refuses one or both."""

    REGISTER = "register"
    DEREGISTER = "deregister"


class VetoCode(StrEnum):
    """The guards. No setting overrules them."""

    EMPTY_ANSWER = "empty_answer"
    OUTSIDE_ALLOWED_NETWORKS = "outside_allowed_networks"
    TOO_MANY_ADDRESSES = "too_many_addresses"
    WOULD_EMPTY_GROUP = "would_empty_group"


@dataclass(frozen=True, slots=True)
class Veto:
    """A guard's refusal of phases of a plan, with a sentence that says what to do."""

    code: VetoCode
    phases: frozenset[Phase]
    detail: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a plan does with one target, and why.

    Attributes:
        due_at: When a change on hold is confirmed if nothing else changes.
    """

    target: Target
    action: Action
    reason: Reason
    due_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run knows besides its observations.

    Attributes:
        check: The check of the undesired targets' addresses; None without a check.
        undesired_healthy_since: Since when each undesired target has been healthy while no
            desired target was dead.
        superseded_since: When this run found a desired target missing, for each undesired target
            that was registered then.
        registered_since: Since when this run has seen each registered target in the group.
        absent_since: Since when each formerly registered target has been absent.
    """

    check: StandbyCheck | None = None
    undesired_healthy_since: Mapping[Target, float] = field(default_factory=dict)
    superseded_since: Mapping[Target, float] = field(default_factory=dict)
    registered_since: Mapping[Target, float] = field(default_factory=dict)
    absent_since: Mapping[Target, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to make now. They already respect the vetoes."""

    changes: tuple[Change, ...]
    vetoes: tuple[Veto, ...] = ()

    def of(self, action: Action) -> tuple[Change, ...]:
        """Return the changes with this action, in the order of their targets."""
        return tuple(c for c in self.changes if c.action is action)

    @property
    def to_register(self) -> tuple[Change, ...]:
        """The registrations. All of them come before any deregistration."""
        return self.of(Action.REGISTER)

    @property
    def to_deregister(self) -> tuple[Change, ...]:
        """The deregistrations. They need every registration of this plan to succeed."""
        return self.of(Action.DEREGISTER)

    @property
    def has_calls(self) -> bool:
        """Whether applying the plan makes a call."""
        return bool(self.to_register or self.to_deregister)

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing to change, now or after a confirmation."""
        return not self.has_calls and self.confirmation_due_at is None

    @property
    def confirmation_due_at(self) -> float | None:
        """When the first change on hold is confirmed; None if no change waits."""
        return min((c.due_at for c in self.changes if c.due_at is not None), default=None)

    @property
    def has_missing_targets(self) -> bool:
        """Whether a desired target is neither registered nor draining."""
        return any(c.reason is Reason.NOT_REGISTERED for c in self.changes)

    @property
    def has_failed_checks(self) -> bool:
        """Whether a target stays only because a check failed."""
        return any(c.reason is Reason.STANDBY_CHECK_FAILED for c in self.changes)


def make_plan(
    group: TargetGroup,
    observations: Sequence[Observation],
    policy: SyncPolicy,
    evidence: Evidence | None = None,
) -> Plan:
    """Decide the change of every target in the group and in the newest observation.

    ================  ===============  =====================================================
    in the group      newest           action
                      observation
    ================  ===============  =====================================================
    no                yes              register at once
    registered        yes              keep
    draining          yes              register if desired throughout the confirm window
    registered        no               deregister if two independent sources agree on a newer
                                       address, or if absent throughout the confirm window
    draining          no               ignore
    ================  ===============  =====================================================

    The confirm window is longer than every TTL among the observations, so a stale cache cannot
    cause a removal. If two sources agree, no window is needed, but only on an address newer than
    the target. Agreement on an older one may be a stale cache beside a lagging API, and must not
    undo a recent registration.

    An address that only the second source names is not desired. It is registered at once if this
    run saw the source change to it. If it is registered, it stays for the confirm window if it was
    desired before in this run, else for ``CONTEST_SECONDS``, because it may become desired.

    With ``policy.serving_standby`` an undesired target stays registered while its address belongs
    to the database and it is unhealthy, as a standby is.

    A target that this run saw leave counts as draining, even if AWS does not list it any more.
    Addresses of an IP family without an allowed network are neither registered nor removed.

    Args:
        group: The group as described before the newest observation.
        observations: The observations of this run, oldest first, at least one.
        policy: The limits.
        evidence: What this run knows besides.
    """
    newest = observations[-1]
    return _Planning(
        group=group,
        observations=observations,
        policy=policy,
        evidence=evidence or Evidence(),
        now=newest.at,
        desired=desired_targets(newest, policy),
        contested=targets_at(newest.contested, policy),
        window=confirm_window(observations, policy),
    ).plan()


def confirm_window(observations: Iterable[Observation], policy: SyncPolicy) -> float:
    """Return the seconds for which a state must last before it counts as confirmed."""
    ttls = [o.ttl for o in observations if o.ttl is not None]
    return max(policy.confirm_seconds, max(ttls, default=0) + TTL_MARGIN_SECONDS)


def healthy_undesired_targets(
    group: TargetGroup, observation: Observation, policy: SyncPolicy
) -> frozenset[Target]:
    """Return the undesired targets that are healthy while no desired target is dead.

    During a failover of an instance the desired target is dead before DNS changes. Otherwise two
    servers accept connections, so one of them is not the standby.
    """
    desired = desired_targets(observation, policy)
    if any(t.state in _DEAD for t in group.targets if t.target in desired):
        return frozenset()
    return undesired_targets(group, observation, policy) & group.healthy


_WOULD_EMPTY_GROUP = Veto(
    VetoCode.WOULD_EMPTY_GROUP,
    frozenset({Phase.DEREGISTER}),
    "The removal would leave the group without a registered target.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planning:
    """The inputs of one plan, and the rules."""

    group: TargetGroup
    observations: Sequence[Observation]
    policy: SyncPolicy
    evidence: Evidence
    now: float
    desired: frozenset[Target]
    contested: frozenset[Target]
    window: float

    def plan(self) -> Plan:
        vetoes = list(self._vetoes_of_observation())
        vetoed = frozenset(phase for veto in vetoes for phase in veto.phases)
        changes = list(self._changes(vetoed))
        if self._would_empty_group(changes):
            vetoes.append(_WOULD_EMPTY_GROUP)
            changes = [_without_removal(change) for change in changes]
        by_target = {change.target: change for change in changes}
        return Plan(tuple(by_target[t] for t in in_order(by_target)), tuple(vetoes))

    def _vetoes_of_observation(self) -> Iterable[Veto]:
        name, desired = self.observations[-1].name, self.desired
        if not desired:
            yield Veto(
                VetoCode.EMPTY_ANSWER,
                frozenset({Phase.DEREGISTER}),
                f"{name} has no address, so no target is removed."
                " Check that the name is correct and that the database exists.",
            )
        if len(desired) > self.policy.max_targets:
            yield Veto(
                VetoCode.TOO_MANY_ADDRESSES,
                frozenset(Phase),
                f"{name} has {len(desired)} addresses, more than the"
                f" {self.policy.max_targets} allowed. Check that the name is a database endpoint,"
                " or raise MaxTargets.",
            )
        outside = in_order(t for t in desired if not self.policy.allows(t.address))
        if outside:
            yield Veto(
                VetoCode.OUTSIDE_ALLOWED_NETWORKS,
                frozenset({Phase.DEREGISTER}),
                f"{name} has {', '.join(str(t.address) for t in outside)}, outside the allowed"
                " networks: not registered, and no target is removed. Outside its VPC, the name"
                " of a publicly accessible database gives its public address: make it private, or"
                " correct AllowedNetworks.",
            )

    def _changes(self, vetoed: frozenset[Phase]) -> Iterable[Change]:
        group = self.group
        for target in self.desired:
            yield self._for_desired(target, vetoed)
        for target in self.contested.difference(group.registered, group.draining):
            if self._is_announced(target) and Phase.REGISTER not in vetoed:
                yield Change(target, Action.REGISTER, Reason.ANNOUNCED)
        undesired = undesired_targets(group, self.observations[-1], self.policy)
        for target in undesired:
            as_standby = self._as_standby(target, undesired, vetoed)
            yield as_standby or self._for_undesired(target, vetoed)
        for target in group.draining.difference(self.desired, group.registered):
            yield Change(target, Action.IGNORE, Reason.DRAINING)

    def _for_desired(self, target: Target, vetoed: frozenset[Phase]) -> Change:
        if target in self.group.registered:
            return Change(target, Action.KEEP, Reason.REGISTERED)
        if not self.policy.allows(target.address):
            return Change(target, Action.REJECT, Reason.NOT_ALLOWED)
        if Phase.REGISTER in vetoed:
            return Change(target, Action.HOLD, Reason.REGISTRATION_VETOED)
        absent_since = self.evidence.absent_since.get(target, -inf)
        if target not in self.group.draining and absent_since == -inf:
            return Change(target, Action.REGISTER, Reason.NOT_REGISTERED)
        desired_since = self._unbroken_since(lambda o: target.address in o.addresses)
        due = max(desired_since, absent_since) + self.window
        if due <= self.now:
            return Change(target, Action.REGISTER, Reason.RETURN_CONFIRMED)
        return Change(target, Action.HOLD, Reason.RETURN_UNCONFIRMED, due)

    def _is_announced(self, target: Target) -> bool:
        """Whether this run recently saw the second source change to the target."""
        return (
            self.policy.allows(target.address)
            and any(o.second is not None and target.address not in o.second for o in self._past)
            and self._contested_until(target) > self.now
        )

    @property
    def _past(self) -> Sequence[Observation]:
        return self.observations[:-1]

    def _contested_until(self, target: Target) -> float:
        since = self._unbroken_since(lambda o: target.address in o.contested)
        since = max(
            since,
            self.evidence.registered_since.get(target, since),
            self.evidence.superseded_since.get(target, since),
        )
        was_desired = target in self.evidence.superseded_since or any(
            self._is_desired_in(o, target) for o in self._past
        )
        return since + (self.window if was_desired else max(self.window, CONTEST_SECONDS))

    def _absence_confirmed_at(self, target: Target) -> float:
        """Return when the absence of the target is confirmed.

        The window begins when this run saw the target registered, or later: another run may have
        registered it from a fresher observation than the caches of this run give.
        """
        since = self._unbroken_since(lambda o: not self._is_named_in(o, target))
        return max(since, self.evidence.registered_since.get(target, since)) + self.window

    def _as_standby(
        self, target: Target, undesired: frozenset[Target], vetoed: frozenset[Phase]
    ) -> Change | None:
        """Return the change of a possible standby, or None if the target cannot be one."""
        check = self.evidence.check
        if not (self.policy.serving_standby and check and self._may_be_standby(target, undesired)):
            return None
        if check.failure:
            return Change(target, Action.HOLD, Reason.STANDBY_CHECK_FAILED)
        if target.address not in check.confirmed:
            return None
        since = self.evidence.undesired_healthy_since.get(target)
        if since is None:
            return Change(target, Action.KEEP, Reason.STANDBY)
        due = max(since + STANDBY_GRACE_SECONDS, self._absence_confirmed_at(target))
        if due > self.now:
            return Change(target, Action.HOLD, Reason.STANDBY_HEALTHY, due)
        return _removal(target, Reason.NOT_A_STANDBY, vetoed)

    def _may_be_standby(self, target: Target, undesired: frozenset[Target]) -> bool:
        room = max(0, self.policy.max_targets - len(self.desired))
        candidates = [
            t for t in undesired if t.port == self.policy.port and self.policy.allows(t.address)
        ]
        return target in in_order(candidates)[:room]

    def _for_undesired(self, target: Target, vetoed: frozenset[Phase]) -> Change:
        if self.observations[-1].corroborated and self._is_superseded(target):
            return _removal(target, Reason.ABSENT_IN_BOTH_SOURCES, vetoed)
        contested = target in self.contested
        due = self._contested_until(target) if contested else self._absence_confirmed_at(target)
        if due <= self.now or Phase.DEREGISTER in vetoed:
            return _removal(target, Reason.ABSENCE_CONFIRMED, vetoed)
        reason = Reason.CONTESTED if contested else Reason.ABSENCE_UNCONFIRMED
        return Change(target, Action.HOLD, reason, due)

    def _is_desired_in(self, observation: Observation, target: Target) -> bool:
        return target.port == self.policy.port and target.address in observation.addresses

    def _is_named_in(self, observation: Observation, target: Target) -> bool:
        """Whether either source names the target. A source without a reply names nothing."""
        contested = target.port == self.policy.port and target.address in observation.contested
        return contested or self._is_desired_in(observation, target)

    def _is_superseded(self, target: Target) -> bool:
        """Whether the newest observation has an address that is newer than the target.

        An address is newer if the group does not have it, or did not have it when this run began,
        or if neither source named it in an observation of this run that had the target.
        """
        if self.desired.difference(self.group.registered, self.group.draining):
            return True
        if target in self.evidence.superseded_since:
            return True
        newest = self.observations[-1].addresses
        return any(
            o.second is not None
            and target.address in o.addresses
            and newest.difference(o.addresses, o.second)
            for o in self._past
        )

    def _unbroken_since(self, holds: Callable[[Observation], bool]) -> float:
        """Return since when the condition has held in every observation.

        It must hold in the newest one.
        """
        since = self.now
        for observation in reversed(self._past):
            if not holds(observation):
                break
            since = observation.at
        return since

    def _would_empty_group(self, changes: Iterable[Change]) -> bool:
        removed = {c.target for c in changes if c.action is Action.DEREGISTER}
        added = {c.target for c in changes if c.action is Action.REGISTER}
        return bool(removed) and not (self.group.registered - removed) | added


def _removal(target: Target, reason: Reason, vetoed: frozenset[Phase]) -> Change:
    if Phase.DEREGISTER in vetoed:
        return Change(target, Action.HOLD, Reason.REMOVAL_VETOED)
    return Change(target, Action.DEREGISTER, reason)


def _without_removal(change: Change) -> Change:
    if change.action is not Action.DEREGISTER:
        return change
    return _removal(change.target, change.reason, frozenset({Phase.DEREGISTER}))
