"""The plan: which targets to register and deregister, with the reasons and the vetoes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from target_sync.model import Observation, StandbyCheck, Target, TargetGroup, in_order
from target_sync.reconcile.tracks import Membership, Naming, Track, Tracks

#: How long an undesired target may be healthy beside a desired one before it counts as no standby.
#: A dead primary stays healthy until two health checks have failed: they are 5 s apart, and each
#: has a time-out of 4 s (template.yaml). This leaves room for one more check.
STANDBY_GRACE_SECONDS = 20.0

#: How long to keep a target that only the second source names and that was never desired in this
#: run. It is either the next writer, before its name moves and leaves the caches, or the previous
#: one, while the API lags.
CONTEST_SECONDS = 30.0


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
    REGISTRATION_VETOED = "not registered; the registration was vetoed"
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
    #: It refuses warm targets, and no phase of the plan.
    SWITCH_INEFFECTIVE = "switch_ineffective"


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
    def has_failed_checks(self) -> bool:
        """Whether a target stays only because a check failed."""
        return any(c.reason is Reason.STANDBY_CHECK_FAILED for c in self.changes)


def make_plan(
    group: TargetGroup, observation: Observation, tracks: Tracks, check: StandbyCheck | None = None
) -> Plan:
    """Decide the change of every target in the group and in the newest observation.

    ==========  ==================  ===========================================================
    in the      named by            action
    group
    ==========  ==================  ===========================================================
    no          the name            register at once
    registered  the name            keep
    left        the name            register if desired throughout the confirm window
    registered  the second source   deregister when the contest ends
    no          the second source   register at once if this run saw that source change to it
    registered  none                deregister if two independent sources agree on a newer
                                    address, or if unnamed throughout the confirm window
    draining    not the name        ignore
    ==========  ==================  ===========================================================

    *The second source* means that only this one names the target. *Left* means draining, or seen to
    leave by this run. The contest lasts for ``CONTEST_SECONDS``, because the target may become
    desired, or for the confirm window if this run knows that it is the previous one.

    The confirm window is longer than every TTL among the observations, so a stale cache cannot
    cause a removal. If two sources agree, no window is needed, but only on an address newer than
    the target: this run found it missing beside the target. Agreement on an older one may be a
    stale cache beside a lagging API, and must not undo a recent registration.

    With a ``check`` an undesired target stays registered while its address belongs to the database
    and it is unhealthy, as a standby is.

    Args:
        group: The group as described before the observation.
        observation: The newest observation.
        tracks: What this run knows about each target, after both.
        check: The check of the undesired targets' addresses; None without a check.
    """
    return _Planning(group, observation, tracks, check).plan()


@dataclass(frozen=True, slots=True)
class _Planning:
    """The inputs of one plan, and the rules."""

    group: TargetGroup
    observation: Observation
    tracks: Tracks
    check: StandbyCheck | None

    def plan(self) -> Plan:
        vetoes = list(self._vetoes_of_observation())
        seen = self.tracks.seen
        changes = [c for t in in_order(seen) if (c := self._change(t, seen[t])) is not None]
        changes = [_after_vetoes(change, vetoes) for change in changes]
        if self._would_empty_group(changes):
            vetoes.append(_WOULD_EMPTY_GROUP)
            changes = [_after_vetoes(change, vetoes) for change in changes]
        return Plan(tuple(changes), tuple(vetoes))

    def _vetoes_of_observation(self) -> Iterable[Veto]:
        name, desired, policy = self.observation.name, self.tracks.desired, self.tracks.policy
        if not desired:
            yield Veto(
                VetoCode.EMPTY_ANSWER,
                frozenset({Phase.DEREGISTER}),
                f"{name} has no address, so no target is removed."
                " Check that the name is correct and that the database exists.",
            )
        if len(desired) > policy.max_targets:
            yield Veto(
                VetoCode.TOO_MANY_ADDRESSES,
                frozenset(Phase),
                f"{name} has {len(desired)} addresses, more than the"
                f" {policy.max_targets} allowed. Check that the name is a database endpoint,"
                " or raise MaxTargets.",
            )
        outside = in_order(t for t in desired if not policy.allows(t.address))
        if outside:
            yield Veto(
                VetoCode.OUTSIDE_ALLOWED_NETWORKS,
                frozenset({Phase.DEREGISTER}),
                f"{name} has {', '.join(str(t.address) for t in outside)}, outside the allowed"
                " networks: not registered, and no target is removed. Outside its VPC, the name"
                " of a publicly accessible database gives its public address: make it private, or"
                " correct AllowedNetworks.",
            )

    def _change(self, target: Target, track: Track) -> Change | None:
        """Return the change in the row of the table that fits."""
        if track.naming is Naming.DESIRED:
            return self._for_desired(target, track)
        if track.is_registered:
            return self._as_standby(target, track) or self._for_undesired(target, track)
        if target in self.group.draining:
            return Change(target, Action.IGNORE, Reason.DRAINING)
        if track.is_new and self.tracks.policy.allows(target.address):
            return Change(target, Action.REGISTER, Reason.ANNOUNCED)
        return None

    def _for_desired(self, target: Target, track: Track) -> Change:
        if track.is_registered:
            return Change(target, Action.KEEP, Reason.REGISTERED)
        if not self.tracks.policy.allows(target.address):
            return Change(target, Action.REJECT, Reason.NOT_ALLOWED)
        if track.membership is Membership.OUTSIDE:
            return Change(target, Action.REGISTER, Reason.NOT_REGISTERED)
        due = max(track.named_since, track.member_since) + self.tracks.confirm_window
        if due <= self.observation.at:
            return Change(target, Action.REGISTER, Reason.RETURN_CONFIRMED)
        return Change(target, Action.HOLD, Reason.RETURN_UNCONFIRMED, due)

    def _removal_due(self, track: Track) -> float:
        """Return when the removal of an undesired target is confirmed.

        The time begins when this run saw the target registered, or later: another run may have
        registered it from a fresher observation than the caches of this run give.
        """
        window = self.tracks.confirm_window
        since = max(track.named_since, track.member_since)
        if track.naming is Naming.UNNAMED:
            return since + window
        if track.superseded_since is not None:
            return max(since, track.superseded_since) + window
        return since + (window if track.was_desired else max(window, CONTEST_SECONDS))

    def _as_standby(self, target: Target, track: Track) -> Change | None:
        """Return the change of a possible standby, or None if the target cannot be one."""
        check = self.check
        if check is None or not self._may_be_standby(target):
            return None
        if check.failure:
            return Change(target, Action.HOLD, Reason.STANDBY_CHECK_FAILED)
        if target.address not in check.confirmed:
            return None
        if track.healthy_since is None:
            return Change(target, Action.KEEP, Reason.STANDBY)
        due = max(track.healthy_since + STANDBY_GRACE_SECONDS, self._removal_due(track))
        if due <= self.observation.at:
            return Change(target, Action.DEREGISTER, Reason.NOT_A_STANDBY)
        return Change(target, Action.HOLD, Reason.STANDBY_HEALTHY, due)

    def _may_be_standby(self, target: Target) -> bool:
        tracks, policy = self.tracks, self.tracks.policy
        room = max(0, policy.max_targets - len(tracks.desired))
        undesired = tracks.registered - tracks.desired
        candidates = (t for t in undesired if t.port == policy.port and policy.allows(t.address))
        return target in in_order(candidates)[:room]

    def _for_undesired(self, target: Target, track: Track) -> Change:
        if self.observation.corroborated and track.superseded_since is not None:
            return Change(target, Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES)
        due = self._removal_due(track)
        if due <= self.observation.at:
            return Change(target, Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)
        contested = track.naming is Naming.CONTESTED
        reason = Reason.CONTESTED if contested else Reason.ABSENCE_UNCONFIRMED
        return Change(target, Action.HOLD, reason, due)

    def _would_empty_group(self, changes: Iterable[Change]) -> bool:
        removed = {c.target for c in changes if c.action is Action.DEREGISTER}
        added = {c.target for c in changes if c.action is Action.REGISTER}
        return bool(removed) and not (self.group.registered - removed) | added


_WOULD_EMPTY_GROUP = Veto(
    VetoCode.WOULD_EMPTY_GROUP,
    frozenset({Phase.DEREGISTER}),
    "The removal would leave the group without a registered target.",
)
_REGISTRATIONS = frozenset(
    {Reason.NOT_REGISTERED, Reason.ANNOUNCED, Reason.RETURN_CONFIRMED, Reason.RETURN_UNCONFIRMED}
)
_REMOVALS = frozenset(
    {Reason.ABSENT_IN_BOTH_SOURCES, Reason.ABSENCE_CONFIRMED, Reason.ABSENCE_UNCONFIRMED}
    | {Reason.CONTESTED, Reason.NOT_A_STANDBY, Reason.STANDBY_HEALTHY}
)


def _after_vetoes(change: Change, vetoes: Iterable[Veto]) -> Change:
    """Return the change on hold without a due time if a veto refuses it."""
    phases = {phase for veto in vetoes for phase in veto.phases}
    if Phase.REGISTER in phases and change.reason in _REGISTRATIONS:
        return Change(change.target, Action.HOLD, Reason.REGISTRATION_VETOED)
    if Phase.DEREGISTER in phases and change.reason in _REMOVALS:
        return Change(change.target, Action.HOLD, Reason.REMOVAL_VETOED)
    return change
