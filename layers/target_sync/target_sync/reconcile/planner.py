"""The plan: what to register and deregister, why, and what a guard refused."""

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

#: A cache may give an answer until its TTL has run out, to the full second.
TTL_MARGIN_SECONDS = 1.0
#: For so long a target outside the answer may look alive beside a right one that does not look
#: dead. A primary that died still counts as healthy until its health checks have failed: two of
#: them, 5 s apart, each with 4 s to answer (template.yaml). Room for one more.
STANDBY_GRACE_SECONDS = 20.0

#: For so long a target stays that only the second source names and that the answer never named.
#: It is the next writer, whose name has still to move and then to leave the caches (a dispute is
#: over within seconds as a rule); or the last one, of which the API has not heard yet.
CONTEST_SECONDS = 30.0

_DEAD = frozenset({TargetState.UNHEALTHY, TargetState.UNHEALTHY_DRAINING})


class Action(StrEnum):
    """What becomes of a target."""

    REGISTER = "register"
    DEREGISTER = "deregister"
    KEEP = "keep"
    #: Something is to be done, but not yet: it waits for confirmation, or a guard refused it.
    HOLD = "hold"
    #: Draining and not wanted: AWS is already taking it out.
    IGNORE = "ignore"
    #: In the answer, but it must not be registered.
    REJECT = "reject"


class Reason(StrEnum):
    """Why, in the words that a person reads in the log."""

    NOT_REGISTERED = "in the answer and not registered"
    ANNOUNCED = "not in the answer yet, but the second source has changed to it"
    RETURN_CONFIRMED = "in every answer of the confirm window and still draining from before"
    RIGHT = "in the answer and registered"
    STANDBY = "not in the answer; kept, because it still belongs to the database's standby"
    ABSENCE_CONFIRMED = "in no answer of the confirm window"
    ABSENT_IN_BOTH_SOURCES = "not in the answer that two independent sources give"
    NOT_A_STANDBY = (
        "not in the answer, yet it went on accepting connections beside the right target"
    )
    ABSENCE_UNCONFIRMED = "not in the answer; waiting until no cache can still hold it"
    CONTESTED = "not in the answer, but the second source names it; waiting for them to agree"
    RETURN_UNCONFIRMED = "in the answer but draining; waiting until the answer has been stable"
    STANDBY_UNKNOWN = "not in the answer; whether it is still the standby could not be found out"
    STANDBY_HEALTHY = "not in the answer, but it accepts connections beside the right target"
    REMOVAL_VETOED = "not in the answer; the removal was vetoed"
    REGISTRATION_VETOED = "in the answer and not registered; the registration was vetoed"
    LEAVING = "draining and not in the answer"
    NOT_ALLOWED = "in the answer but outside the allowed networks"


class Phase(StrEnum):
    """The two halves of a plan, vetoed each on its own."""

    REGISTER = "register"
    DEREGISTER = "deregister"


class VetoCode(StrEnum):
    """The guards. They are absolute, because a group has one to three targets."""

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
    """What becomes of one target, and why."""

    target: Target
    action: Action
    reason: Reason
    #: For a target on hold for confirmation: when that is due if nothing changes.
    due_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of the registered targets that are not in the answer.

    Attributes:
        check: Whose addresses they are; None if nobody was asked.
        answering_since: Since when one of them has been healthy beside a right target that did
            not look dead.
        older: Those that were registered when this run found a right target missing, and when
            that was.
        registered_since: Since when this run has seen each registered target in the group.
        absent_since: Since when it has seen each target gone, or draining, that was registered.
    """

    check: StandbyCheck | None = None
    undesired_healthy_since: Mapping[Target, float] = field(default_factory=dict)
    superseded_since: Mapping[Target, float] = field(default_factory=dict)
    registered_since: Mapping[Target, float] = field(default_factory=dict)
    absent_since: Mapping[Target, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. The vetoes are already worked in: what is listed may be done."""

    changes: tuple[Change, ...]
    vetoes: tuple[Veto, ...] = ()

    def of(self, action: Action) -> tuple[Change, ...]:
        """The verdicts with this action, in the order of their targets."""
        return tuple(v for v in self.changes if v.action is action)

    @property
    def to_register(self) -> tuple[Change, ...]:
        """What to register, all before anything is deregistered."""
        return self.of(Action.REGISTER)

    @property
    def to_deregister(self) -> tuple[Change, ...]:
        """What to deregister, once every registration of this plan has succeeded."""
        return self.of(Action.DEREGISTER)

    @property
    def has_calls(self) -> bool:
        """Whether applying the plan makes any call."""
        return bool(self.to_register or self.to_deregister)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do, now or once it is confirmed."""
        return not self.has_calls and self.confirmation_due_at is None

    @property
    def confirmation_due_at(self) -> float | None:
        """When the first target on hold is confirmed if nothing changes; None if none waits."""
        return min((v.due_at for v in self.changes if v.due_at is not None), default=None)

    @property
    def finds_missing(self) -> bool:
        """Whether the answer has an address that the group does not know at all."""
        return any(v.reason is Reason.NOT_REGISTERED for v in self.changes)

    @property
    def has_unknowns(self) -> bool:
        """Whether a target stays only because something could not be found out."""
        return any(v.reason is Reason.STANDBY_UNKNOWN for v in self.changes)


def make_plan(
    group: TargetGroup,
    observations: Sequence[Observation],
    policy: SyncPolicy,
    evidence: Evidence | None = None,
) -> Plan:
    """Decide what becomes of every target of the group and of the newest answer.

    ================  ===============  =====================================================
    in the group      newest answer    action
    ================  ===============  =====================================================
    no                yes              register at once
    registered        yes              keep
    draining          yes              register when in every answer of the confirm window
    registered        no               deregister when two independent sources agree on a newer
                                       address, or when in no answer of the confirm window
    draining          no               leave: it is already on its way out
    ================  ===============  =====================================================

    The confirm window is longer than the longest TTL among the observations, so a resolver
    that still answers from its cache cannot cause a removal. Two sources that agree need no
    window if what they agree on is newer than the target. Agreeing on what was there before may
    be a stale cache beside an API that lags, and must not undo a registration just made.

    An address that only the second source names is no answer. It is registered at once if this
    run saw that source change to it. One that is registered stays for as long as the confirm
    window if the answer has moved away from it, and for ``CONTEST_SECONDS`` if it may be where
    the answer is about to move. Then the answer decides.

    With ``policy.serving_standby`` a registered target that is not in the answer stays as long as
    its address is the database's own and it is dead, as the port of a standby is.

    A target that this run saw leave counts as draining, although AWS may be done with it already.

    Addresses of a family that the allowed networks do not have are somebody else's: they are
    neither registered nor removed.

    Args:
        group: The group as it was described before the newest observation was made.
        observations: What the endpoint said in this run, oldest first, at least one.
        policy: The port, the allowed networks and the limits.
        evidence: What this run knows of the targets besides.
    """
    newest = observations[-1]
    return _Planning(
        group=group,
        observations=observations,
        policy=policy,
        evidence=evidence or Evidence(),
        now=newest.at,
        wanted=desired_targets(newest, policy),
        contested=targets_at(newest.contested, policy),
        window=confirm_window(observations, policy),
    ).plan()


def confirm_window(observations: Iterable[Observation], policy: SyncPolicy) -> float:
    """Seconds for which something must have been so before it counts as confirmed."""
    ttls = [o.ttl for o in observations if o.ttl is not None]
    return max(policy.confirm_seconds, max(ttls, default=0) + TTL_MARGIN_SECONDS)


def healthy_undesired_targets(
    group: TargetGroup, observation: Observation, policy: SyncPolicy
) -> frozenset[Target]:
    """The targets outside the answer that are healthy while no right target looks dead.

    During a failover of an instance the right target looks dead before its name moves. Without
    one, two servers accept connections, and one of them is not the standby.
    """
    wanted = desired_targets(observation, policy)
    if any(t.state in _DEAD for t in group.targets if t.target in wanted):
        return frozenset()
    return undesired_targets(group, observation, policy) & group.healthy


_WOULD_EMPTY_GROUP = Veto(
    VetoCode.WOULD_EMPTY_GROUP,
    frozenset({Phase.DEREGISTER}),
    "The removal would leave the group without a registered target.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planning:
    """One plan in the making: what the rules need to know, and the rules."""

    group: TargetGroup
    observations: Sequence[Observation]
    policy: SyncPolicy
    evidence: Evidence
    now: float
    wanted: frozenset[Target]
    contested: frozenset[Target]
    window: float

    def plan(self) -> Plan:
        vetoes = list(self._vetoes_of_observation())
        refused = frozenset(phase for veto in vetoes for phase in veto.phases)
        changes = list(self._changes(refused))
        if self._would_empty(changes):
            vetoes.append(_WOULD_EMPTY_GROUP)
            changes = [_held_back(verdict) for verdict in changes]
        by_target = {verdict.target: verdict for verdict in changes}
        return Plan(tuple(by_target[t] for t in in_order(by_target)), tuple(vetoes))

    def _vetoes_of_observation(self) -> Iterable[Veto]:
        name, wanted = self.observations[-1].name, self.wanted
        if not wanted:
            yield Veto(
                VetoCode.EMPTY_ANSWER,
                frozenset({Phase.DEREGISTER}),
                f"{name} has no address; nothing is removed on that evidence."
                " Check that the name is right and the database exists.",
            )
        if len(wanted) > self.policy.max_targets:
            yield Veto(
                VetoCode.TOO_MANY_ADDRESSES,
                frozenset(Phase),
                f"{name} has {len(wanted)} addresses, more than the"
                f" {self.policy.max_targets} allowed. Check that the name is a database endpoint,"
                " or raise MaxTargets.",
            )
        foreign = in_order(t for t in wanted if not self.policy.allows(t.address))
        if foreign:
            yield Veto(
                VetoCode.OUTSIDE_ALLOWED_NETWORKS,
                frozenset({Phase.DEREGISTER}),
                f"{name} answered {', '.join(str(t.address) for t in foreign)}, outside the"
                " allowed networks: not registered, and nothing is removed. A publicly accessible"
                " database answers with its public address outside its VPC: make it private, or"
                " correct AllowedNetworks.",
            )

    def _changes(self, refused: frozenset[Phase]) -> Iterable[Change]:
        group = self.group
        for target in self.wanted:
            yield self._for_desired(target, refused)
        for target in self.contested.difference(group.registered, group.draining):
            if self._is_announced(target) and Phase.REGISTER not in refused:
                yield Change(target, Action.REGISTER, Reason.ANNOUNCED)
        outside = undesired_targets(group, self.observations[-1], self.policy)
        for target in outside:
            yield self._as_standby(target, outside, refused) or self._for_undesired(target, refused)
        for target in group.draining.difference(self.wanted, group.registered):
            yield Change(target, Action.IGNORE, Reason.LEAVING)

    def _for_desired(self, target: Target, refused: frozenset[Phase]) -> Change:
        if target in self.group.registered:
            return Change(target, Action.KEEP, Reason.RIGHT)
        if not self.policy.allows(target.address):
            return Change(target, Action.REJECT, Reason.NOT_ALLOWED)
        if Phase.REGISTER in refused:
            return Change(target, Action.HOLD, Reason.REGISTRATION_VETOED)
        absent_since = self.evidence.absent_since.get(target, -inf)
        if target not in self.group.draining and absent_since == -inf:
            return Change(target, Action.REGISTER, Reason.NOT_REGISTERED)
        due = max(self._since(lambda o: target.address in o.addresses), absent_since) + self.window
        if due <= self.now:
            return Change(target, Action.REGISTER, Reason.RETURN_CONFIRMED)
        return Change(target, Action.HOLD, Reason.RETURN_UNCONFIRMED, due)

    def _is_announced(self, target: Target) -> bool:
        """Whether this run saw the second source change to the target, and not long ago."""
        return (
            self.policy.allows(target.address)
            and any(o.second is not None and target.address not in o.second for o in self._past)
            and self._contested_until(target) > self.now
        )

    @property
    def _past(self) -> Sequence[Observation]:
        return self.observations[:-1]

    def _contested_until(self, target: Target) -> float:
        since = self._since(lambda o: target.address in o.contested)
        since = max(
            since,
            self.evidence.registered_since.get(target, since),
            self.evidence.superseded_since.get(target, since),
        )
        return since + (self.window if self._was_desired(target) else self.contest)

    def _was_desired(self, target: Target) -> bool:
        """Whether this run has seen the answer move away from the target."""
        return target in self.evidence.superseded_since or any(
            self._named(target, o) for o in self._past
        )

    def _gone_at(self, target: Target) -> float:
        """When it is confirmed that the answer has left the target.

        What another run has just registered rests on a fresher answer than the caches of this
        one may give, so the window begins no earlier than this run has seen the target.
        """
        since = self._since(lambda o: not self._mentioned(target, o))
        return max(since, self.evidence.registered_since.get(target, since)) + self.window

    @property
    def contest(self) -> float:
        return max(self.window, CONTEST_SECONDS)

    def _as_standby(
        self, target: Target, outside: frozenset[Target], refused: frozenset[Phase]
    ) -> Change | None:
        """What becomes of a target that may be the standby; None if it is none."""
        check = self.evidence.check
        if not (self.policy.serving_standby and check and self._may_be_standby(target, outside)):
            return None
        if check.failure:
            return Change(target, Action.HOLD, Reason.STANDBY_UNKNOWN)
        if target.address not in check.confirmed:
            return None
        since = self.evidence.undesired_healthy_since.get(target)
        if since is None:
            return Change(target, Action.KEEP, Reason.STANDBY)
        due = max(since + STANDBY_GRACE_SECONDS, self._gone_at(target))
        if due > self.now:
            return Change(target, Action.HOLD, Reason.STANDBY_HEALTHY, due)
        return _removal(target, Reason.NOT_A_STANDBY, refused)

    def _may_be_standby(self, target: Target, outside: frozenset[Target]) -> bool:
        room = max(0, self.policy.max_targets - len(self.wanted))
        fitting = [
            t for t in outside if t.port == self.policy.port and self.policy.allows(t.address)
        ]
        return target in in_order(fitting)[:room]

    def _for_undesired(self, target: Target, refused: frozenset[Phase]) -> Change:
        if self.observations[-1].corroborated and self._is_outdated(target):
            return _removal(target, Reason.ABSENT_IN_BOTH_SOURCES, refused)
        contested = target in self.contested
        due = self._contested_until(target) if contested else self._gone_at(target)
        if due <= self.now or Phase.DEREGISTER in refused:
            return _removal(target, Reason.ABSENCE_CONFIRMED, refused)
        waiting = Reason.CONTESTED if contested else Reason.ABSENCE_UNCONFIRMED
        return Change(target, Action.HOLD, waiting, due)

    def _named(self, target: Target, observation: Observation) -> bool:
        return target.port == self.policy.port and target.address in observation.addresses

    def _mentioned(self, target: Target, observation: Observation) -> bool:
        """Whether either source named the target: one that falls silent takes nothing back."""
        contested = target.port == self.policy.port and target.address in observation.contested
        return contested or self._named(target, observation)

    def _is_outdated(self, target: Target) -> bool:
        """Whether the newest answer has an address that came after the target.

        It did if the group does not know it or did not when this run began, or if an answer of
        this run had the target while neither source named it.
        """
        if self.wanted.difference(self.group.registered, self.group.draining):
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

    def _since(self, holds: Callable[[Observation], bool]) -> float:
        """When the unbroken series of observations of which this holds began.

        It ends with the newest one, of which it holds too.
        """
        since = self.now
        for observation in reversed(self._past):
            if not holds(observation):
                break
            since = observation.at
        return since

    def _would_empty(self, changes: Iterable[Change]) -> bool:
        leaving = {v.target for v in changes if v.action is Action.DEREGISTER}
        coming = {v.target for v in changes if v.action is Action.REGISTER}
        return bool(leaving) and not (self.group.registered - leaving) | coming


def _removal(target: Target, reason: Reason, refused: frozenset[Phase]) -> Change:
    if Phase.DEREGISTER in refused:
        return Change(target, Action.HOLD, Reason.REMOVAL_VETOED)
    return Change(target, Action.DEREGISTER, reason)


def _held_back(verdict: Change) -> Change:
    if verdict.action is not Action.DEREGISTER:
        return verdict
    return _removal(verdict.target, verdict.reason, frozenset({Phase.DEREGISTER}))
