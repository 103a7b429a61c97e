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

#: How often a run requests the same change of a target. Before each repetition it waits twice as
#: long as before. The next scheduled run tries again.
MOST_REQUESTS = 3


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
    SUCCESSOR_UNSEEN = "not desired; waiting until the group lists a desired target"
    REPEATED = "the same change had no effect a moment ago; waiting before it is tried again"
    NO_EFFECT = "the same change has had no effect several times in this run"
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
    def is_blocked(self) -> bool:
        """Whether a target stays because a check failed, or because changes have no effect."""
        blocking = {Reason.STANDBY_CHECK_FAILED, Reason.NO_EFFECT}
        return any(c.reason in blocking for c in self.changes)


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

    A removal waits until the group lists a desired target: a registration that AWS accepted may
    take effect late, or never.

    With a ``check`` an undesired target stays registered while its address belongs to the database
    and it is unhealthy, as a standby is.

    Args:
        group: The group as described before the observation.
        observation: The newest observation.
        tracks: What this run knows about each target, after both.
        check: The check of the undesired targets' addresses; None without a check.
    """
    return _Planning(
        group=group, draining=group.draining, observation=observation, tracks=tracks, check=check
    ).plan()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planning:
    """The inputs of one plan, and the rules."""

    group: TargetGroup
    draining: frozenset[Target]
    observation: Observation
    tracks: Tracks
    check: StandbyCheck | None

    def plan(self) -> Plan:
        vetoes = list(self._vetoes_of_observation())
        seen, standbys = self.tracks.seen, self._possible_standbys()
        planned = (self._change(t, seen[t], is_standby=t in standbys) for t in in_order(seen))
        changes = [change for change in planned if change is not None]
        changes = [_after_vetoes(change, vetoes) for change in changes]
        if any(c.action is Action.DEREGISTER for c in changes) and not self._lists_a_desired_target:
            if any(map(self._brings_a_target, changes)):
                changes = [self._after_successor(change) for change in changes]
            else:
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

    def _change(self, target: Target, track: Track, *, is_standby: bool) -> Change | None:
        """Return the change in the row of the table that fits."""
        if track.naming is Naming.DESIRED:
            return self._unless_repeated(self._for_desired(target, track), track)
        if track.is_registered:
            change = self._as_standby(target, track) if is_standby else None
            change = change or self._for_undesired(target, track)
            return self._unless_repeated(change, track)
        if target in self.draining:
            return Change(target, Action.IGNORE, Reason.DRAINING)
        if track.is_new and self.tracks.policy.allows(target.address):
            return Change(target, Action.REGISTER, Reason.ANNOUNCED)
        return None

    def _unless_repeated(self, change: Change, track: Track) -> Change:
        """Return the change, or put it on hold if this run requested the same one a moment ago."""
        if track.requested is None or change.action is not _REQUESTS.get(track.requested):
            return change
        if track.requests >= MOST_REQUESTS:
            return Change(change.target, Action.HOLD, Reason.NO_EFFECT)
        pause = self.tracks.policy.confirm_seconds * 2 ** (track.requests - 1)
        due = track.requested_at + pause
        if due <= self.observation.at:
            return change
        return Change(change.target, Action.HOLD, Reason.REPEATED, due)

    def _for_desired(self, target: Target, track: Track) -> Change:
        if track.is_registered:
            return Change(target, Action.KEEP, Reason.REGISTERED)
        if not self.tracks.policy.allows(target.address):
            return Change(target, Action.REJECT, Reason.NOT_ALLOWED)
        if track.membership is Membership.OUTSIDE:
            return Change(target, Action.REGISTER, Reason.NOT_REGISTERED)
        due = max(track.named_since, track.member_since) + self.tracks.confirm_window(track)
        if due <= self.observation.at:
            return Change(target, Action.REGISTER, Reason.RETURN_CONFIRMED)
        return Change(target, Action.HOLD, Reason.RETURN_UNCONFIRMED, due)

    def _removal_due(self, track: Track) -> float:
        """Return when the removal of an undesired target is confirmed.

        The time begins when this run saw the target registered, or later: another run may have
        registered it from a fresher observation than the caches of this run give.
        """
        window = self.tracks.confirm_window(track)
        since = max(track.named_since, track.member_since)
        if track.naming is Naming.UNNAMED:
            return since + window
        if track.superseded_since is not None:
            return max(since, track.superseded_since) + window
        return since + (window if track.was_desired else max(window, CONTEST_SECONDS))

    def _as_standby(self, target: Target, track: Track) -> Change | None:
        """Return the change of a possible standby, or None if the check does not confirm it."""
        check = self.check
        assert check is not None  # noqa: S101 - without a check there is no possible standby
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

    def _possible_standbys(self) -> frozenset[Target]:
        """Return the undesired targets that may stay if their addresses are confirmed."""
        if self.check is None:
            return frozenset()
        desired, policy = self.tracks.desired, self.tracks.policy
        room = max(0, policy.max_targets - len(desired))
        undesired = self.tracks.registered - desired
        candidates = (t for t in undesired if t.port == policy.port and policy.allows(t.address))
        return frozenset(in_order(candidates)[:room])

    def _for_undesired(self, target: Target, track: Track) -> Change:
        if self.observation.corroborated and track.superseded_since is not None:
            return Change(target, Action.DEREGISTER, Reason.ABSENT_IN_BOTH_SOURCES)
        due = self._removal_due(track)
        if due <= self.observation.at:
            return Change(target, Action.DEREGISTER, Reason.ABSENCE_CONFIRMED)
        contested = track.naming is Naming.CONTESTED
        reason = Reason.CONTESTED if contested else Reason.ABSENCE_UNCONFIRMED
        return Change(target, Action.HOLD, reason, due)

    @property
    def _lists_a_desired_target(self) -> bool:
        return not self.group.registered.isdisjoint(self.tracks.desired)

    def _brings_a_target(self, change: Change) -> bool:
        """Whether the change registers a target, or this run has registered it and still waits."""
        if change.action is not Action.HOLD or change.due_at is None:
            return change.action is Action.REGISTER
        track = self.tracks.seen[change.target]
        return track.requested is Membership.REGISTERED and not track.is_registered

    def _after_successor(self, change: Change) -> Change:
        """Return a removal on hold until the next description."""
        if change.action is not Action.DEREGISTER:
            return change
        due = self.observation.at
        return Change(change.target, Action.HOLD, Reason.SUCCESSOR_UNSEEN, due)


_REQUESTS = {Membership.REGISTERED: Action.REGISTER, Membership.LEFT: Action.DEREGISTER}
_WOULD_EMPTY_GROUP = Veto(
    VetoCode.WOULD_EMPTY_GROUP,
    frozenset({Phase.DEREGISTER}),
    "The removal would leave the group without a registered target that DNS names.",
)
_REGISTRATIONS = frozenset(
    {Reason.NOT_REGISTERED, Reason.ANNOUNCED, Reason.RETURN_CONFIRMED, Reason.RETURN_UNCONFIRMED}
)
_REMOVALS = frozenset(
    {
        *(Reason.ABSENT_IN_BOTH_SOURCES, Reason.ABSENCE_CONFIRMED, Reason.ABSENCE_UNCONFIRMED),
        *(Reason.CONTESTED, Reason.NOT_A_STANDBY, Reason.STANDBY_HEALTHY),
    }
)


def _after_vetoes(change: Change, vetoes: Iterable[Veto]) -> Change:
    """Return the change on hold without a due time if a veto refuses it."""
    phases = {phase for veto in vetoes for phase in veto.phases}
    if Phase.REGISTER in phases and change.reason in _REGISTRATIONS:
        return Change(change.target, Action.HOLD, Reason.REGISTRATION_VETOED)
    if Phase.DEREGISTER in phases and change.reason in _REMOVALS:
        return Change(change.target, Action.HOLD, Reason.REMOVAL_VETOED)
    return change
