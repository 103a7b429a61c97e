"""The plan: what to register and deregister, why, and what a guard refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from target_sync.core.model import (
    Observation,
    SyncPolicy,
    Target,
    TargetGroup,
    in_order,
)

#: A cache may give an answer until its TTL has run out, to the full second.
TTL_MARGIN_SECONDS = 1.0


class Action(StrEnum):
    """What becomes of a target."""

    REGISTER = "register"
    DEREGISTER = "deregister"
    KEEP = "keep"
    #: Something is to be done, but not yet: it waits for confirmation, or a guard refused it.
    HOLD = "hold"
    #: Draining and not wanted: AWS is already taking it out.
    LEAVE = "leave"
    #: In the answer, but it must not be registered.
    REFUSE = "refuse"


class Reason(StrEnum):
    """Why, in the words that a person reads in the log."""

    NOT_REGISTERED = "in the answer and not registered"
    BACK_FOR_GOOD = "in every answer of the confirm window and still draining from before"
    RIGHT = "in the answer and registered"
    GONE_FOR_GOOD = "in no answer of the confirm window"
    GONE_BY_BOTH_SOURCES = "not in the answer that two independent sources give"
    GONE_UNCONFIRMED = "not in the answer; waiting until no cache can still hold it"
    BACK_UNCONFIRMED = "in the answer but draining; waiting until the answer has been stable"
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
class Verdict:
    """What becomes of one target, and why."""

    target: Target
    action: Action
    reason: Reason
    #: For a target on hold for confirmation: when that is due if nothing changes.
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. The vetoes are already worked in: what is listed may be done."""

    verdicts: tuple[Verdict, ...]
    vetoes: tuple[Veto, ...] = ()

    def of(self, action: Action) -> tuple[Verdict, ...]:
        """The verdicts with this action, in the order of their targets."""
        return tuple(v for v in self.verdicts if v.action is action)

    @property
    def to_register(self) -> tuple[Verdict, ...]:
        """What to register, all before anything is deregistered."""
        return self.of(Action.REGISTER)

    @property
    def to_deregister(self) -> tuple[Verdict, ...]:
        """What to deregister, once every registration of this plan has succeeded."""
        return self.of(Action.DEREGISTER)

    @property
    def changes_something(self) -> bool:
        """Whether applying the plan makes any call."""
        return bool(self.to_register or self.to_deregister)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do, now or once it is confirmed."""
        return not self.changes_something and self.confirmation_due_at is None

    @property
    def confirmation_due_at(self) -> float | None:
        """When the last target on hold is confirmed if nothing changes; None if none waits."""
        due = [v.due_at for v in self.verdicts if v.due_at is not None]
        return max(due, default=None)


def make_plan(group: TargetGroup, observations: Sequence[Observation], policy: SyncPolicy) -> Plan:
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
    be a stale cache beside an API that lags, and must not undo a registration just made. Where
    they disagree the answer has the addresses of both, so neither is removed.

    Args:
        group: The group as it was described before the newest observation was made.
        observations: What the endpoint said in this run, oldest first, at least one.
        policy: The port, the allowed networks and the limits.
    """
    newest = observations[-1]
    wanted = wanted_targets(newest, policy)
    vetoes = list(_vetoes_of_the_answer(newest, policy))
    refused = _phases(vetoes)

    verdicts = [
        *_verdicts_on_wanted(wanted, group, observations, policy, refused),
        *_verdicts_on_the_rest(wanted, group, observations, policy, refused),
    ]
    if _would_empty(group, verdicts):
        vetoes.append(_would_empty_group())
        verdicts = [_held_back(v) for v in verdicts]
    return Plan(_sorted(verdicts), tuple(vetoes))


def wanted_targets(observation: Observation, policy: SyncPolicy) -> frozenset[Target]:
    """The targets that the observation asks for, allowed or not."""
    return frozenset(Target(address, policy.port) for address in observation.addresses)


def confirm_window(observations: Iterable[Observation], policy: SyncPolicy) -> float:
    """Seconds for which something must have been so before it counts as confirmed."""
    ttls = [o.ttl for o in observations if o.ttl is not None]
    return max(policy.confirm_seconds, max(ttls, default=0) + TTL_MARGIN_SECONDS)


def _vetoes_of_the_answer(newest: Observation, policy: SyncPolicy) -> Iterable[Veto]:
    if not newest.addresses:
        yield Veto(
            VetoCode.EMPTY_ANSWER,
            frozenset({Phase.DEREGISTER}),
            f"{newest.name} has no address; nothing is removed on that evidence."
            " Check that the name is right and the database exists.",
        )
    if len(newest.addresses) > policy.max_targets:
        yield Veto(
            VetoCode.TOO_MANY_ADDRESSES,
            frozenset(Phase),
            f"{newest.name} has {len(newest.addresses)} addresses, more than the"
            f" {policy.max_targets} allowed. Check that the name is a database endpoint.",
        )
    foreign = [a for a in newest.addresses if not policy.allows(a)]
    if foreign:
        shown = ", ".join(sorted(map(str, foreign)))
        yield Veto(
            VetoCode.OUTSIDE_ALLOWED_NETWORKS,
            frozenset({Phase.DEREGISTER}),
            f"{newest.name} answered {shown}, outside the allowed networks: not registered,"
            " and nothing is removed. A publicly accessible database answers with its public"
            " address outside its VPC: make it private, or correct AllowedNetworks.",
        )


def _would_empty_group() -> Veto:
    return Veto(
        VetoCode.WOULD_EMPTY_GROUP,
        frozenset({Phase.DEREGISTER}),
        "The removal would leave the group without a registered target.",
    )


def _phases(vetoes: Iterable[Veto]) -> frozenset[Phase]:
    return frozenset(phase for veto in vetoes for phase in veto.phases)


def _verdicts_on_wanted(
    wanted: frozenset[Target],
    group: TargetGroup,
    observations: Sequence[Observation],
    policy: SyncPolicy,
    refused: frozenset[Phase],
) -> Iterable[Verdict]:
    for target in wanted:
        if target in group.registered:
            yield Verdict(target, Action.KEEP, Reason.RIGHT)
        elif not policy.allows(target.address):
            yield Verdict(target, Action.REFUSE, Reason.NOT_ALLOWED)
        elif Phase.REGISTER in refused:
            yield Verdict(target, Action.HOLD, Reason.REGISTRATION_VETOED)
        elif target not in group.draining:
            yield Verdict(target, Action.REGISTER, Reason.NOT_REGISTERED)
        else:
            due = _confirmed_at(target, observations, policy, present=True)
            if due <= observations[-1].at:
                yield Verdict(target, Action.REGISTER, Reason.BACK_FOR_GOOD)
            else:
                yield Verdict(target, Action.HOLD, Reason.BACK_UNCONFIRMED, due)


def _verdicts_on_the_rest(
    wanted: frozenset[Target],
    group: TargetGroup,
    observations: Sequence[Observation],
    policy: SyncPolicy,
    refused: frozenset[Phase],
) -> Iterable[Verdict]:
    for target in group.draining.difference(wanted, group.registered):
        yield Verdict(target, Action.LEAVE, Reason.LEAVING)
    for target in group.registered.difference(wanted):
        due = _confirmed_at(target, observations, policy, present=False)
        if Phase.DEREGISTER in refused:
            yield Verdict(target, Action.HOLD, Reason.REMOVAL_VETOED)
        elif observations[-1].corroborated and _is_outdated(target, wanted, group, observations):
            yield Verdict(target, Action.DEREGISTER, Reason.GONE_BY_BOTH_SOURCES)
        elif due > observations[-1].at:
            yield Verdict(target, Action.HOLD, Reason.GONE_UNCONFIRMED, due)
        else:
            yield Verdict(target, Action.DEREGISTER, Reason.GONE_FOR_GOOD)


def _is_outdated(
    target: Target,
    wanted: frozenset[Target],
    group: TargetGroup,
    observations: Sequence[Observation],
) -> bool:
    """Whether the newest answer has an address that came after the target.

    It did if the group does not know it, or if an answer of this run had the target without it.
    """
    if wanted.difference(group.registered, group.draining):
        return True
    newest = observations[-1].addresses
    return any(target.address in o.addresses and newest - o.addresses for o in observations)


def _confirmed_at(
    target: Target, observations: Sequence[Observation], policy: SyncPolicy, *, present: bool
) -> float:
    """When it is confirmed that the target is in (or not in) the answers, if that lasts.

    Counted from the first observation of the unbroken run that ends with the newest one.
    """
    since = observations[-1].at
    for observation in reversed(observations):
        said = target.port == policy.port and target.address in observation.addresses
        if said is not present:
            break
        since = observation.at
    return since + confirm_window(observations, policy)


def _would_empty(group: TargetGroup, verdicts: Iterable[Verdict]) -> bool:
    leaving = {v.target for v in verdicts if v.action is Action.DEREGISTER}
    coming = {v.target for v in verdicts if v.action is Action.REGISTER}
    return bool(leaving) and not (group.registered - leaving) | coming


def _held_back(verdict: Verdict) -> Verdict:
    if verdict.action is not Action.DEREGISTER:
        return verdict
    return Verdict(verdict.target, Action.HOLD, Reason.REMOVAL_VETOED)


def _sorted(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    by_target = {v.target: v for v in verdicts}
    return tuple(by_target[t] for t in in_order(by_target))
