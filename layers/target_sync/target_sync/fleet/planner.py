"""What one sweep decides: which target groups need work now, in which order, and which wait.

A group needs work when its endpoint's answer is another one than it was last verified for, when
nothing says that it was ever verified, or when the audit has come to it. The audit goes round a
ring of all groups, as far in each sweep as time has passed since the last one.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from target_sync.fleet.checkpoints import AuditCursor, SigningKey, read_checkpoint, read_cursor
from target_sync.fleet.model import (
    Binding,
    EndpointKey,
    Finding,
    FindingCode,
    ListedGroup,
    WorkReason,
)
from target_sync.fleet.rate_limits import DEFAULT_SHARE, calls_a_second
from target_sync.model import FailedObservation, Observation

#: Between two sweeps.
SWEEP_SECONDS = 60.0
#: Of these, so many are no part of the room: listing and looking up take time, and other calls
#: than the audits' are to find a token.
_SPARE_SECONDS = 5.0
#: In so long the audit goes round once, if the room allows.
AUDIT_SECONDS = 900.0
#: Of a sweep's room, audits and groups without a record have at least this part each, so that a
#: storm of changes, or of bad records, can starve neither.
_RESERVED = 1 / 4
#: With less, nothing could be reserved.
_LEAST_ROOM = math.ceil(1 / _RESERVED)
#: Less than any real difference of time makes of a group; more than a float's error.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """A group for a worker, and why."""

    binding: Binding
    cause: WorkReason


@dataclass(frozen=True, slots=True)
class SweepCapacity:
    """How many groups one sweep may hand out; at least 4."""

    groups: int

    def __post_init__(self) -> None:
        if self.groups < _LEAST_ROOM:
            raise ValueError(f"a sweep needs room for at least {_LEAST_ROOM} groups")

    @classmethod
    def of(cls, share: float = DEFAULT_SHARE) -> "SweepCapacity":
        """As many as the share of the account's calls can describe before the next sweep.

        Raises:
            ValueError: The share is not in (0, 1].
        """
        return cls(int(calls_a_second(share) * (SWEEP_SECONDS - _SPARE_SECONDS)))

    def less(self, groups: int) -> "SweepCapacity":
        """What is left beside so many groups that still wait: never less than there must be."""
        return SweepCapacity(max(self.groups - groups, _LEAST_ROOM))

    @property
    def reserved(self) -> int:
        """How many audits there is always room for, and how many groups without a record."""
        return int(self.groups * _RESERVED)

    def audit_seconds(self, groups: int) -> float:
        """How long one round of the audit takes at most, however much else there is to do."""
        return max(AUDIT_SECONDS, math.ceil(groups / self.reserved) * SWEEP_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRobin:
    """After which group of each cause the next sweep goes on, when there is not room for all.

    What stays broken can so not hold up the rest. Any text is a place in the ring.
    """

    changed: str = ""
    unverified: str = ""

    def after(self, works: Sequence[PlannedWork]) -> "RoundRobin":
        """Where to go on when these were handed out, in this order."""
        last = {work.cause: work.binding.arn for work in works}
        return RoundRobin(
            changed=last.get(WorkReason.ANSWER_CHANGED, self.changed),
            unverified=last.get(WorkReason.UNVERIFIED, self.unverified),
        )


@dataclass(frozen=True, slots=True)
class Sweep:
    """The decision.

    Attributes:
        work: The groups that need work and have room, the most urgent first.
        postponed: How many more need work; they come in one of the next sweeps.
        findings: Groups whose name gave no answer.
        marks: How far the audit is, to be left on that group, when none of the audits is handed
            out, when the first is, and so on to all of them; None where it has not moved.
    """

    work: tuple[PlannedWork, ...]
    postponed: int
    findings: tuple[Finding, ...]
    marks: tuple[AuditCursor | None, ...]


def questions(groups: Sequence[ListedGroup]) -> tuple[EndpointKey, ...]:
    """What has to be asked, each once."""
    return tuple(sorted({group.binding.question for group in groups}))


def newest_cursor(groups: Sequence[ListedGroup], key: SigningKey, now: float) -> AuditCursor | None:
    """The newest mark in a listing; None if there is none that can be read."""
    marks = (read_cursor(g.mark, g.binding.arn, key, now) for g in groups if g.mark)
    return max((mark for mark in marks if mark), key=lambda mark: mark.at, default=None)


def decide(
    groups: Sequence[ListedGroup],
    answers: Mapping[EndpointKey, Observation | FailedObservation],
    *,
    key: SigningKey,
    mark: AuditCursor | None,
    room: SweepCapacity,
    now: float,
    turns: RoundRobin = RoundRobin(),
) -> Sweep:
    """Decide a sweep.

    A group whose name gave no answer has a finding and no work: a worker could decide nothing
    either, and no answer never changes a group.

    Args:
        groups: Every bound group, each once.
        answers: The answer to each of ``questions(groups)``.
        key: What the records are sealed with.
        mark: How far the audit was at the last sweep; None if that is not known.
        room: How many groups may be handed out.
        now: The time, in seconds since the epoch.
        turns: Where the last sweep stopped.
    """
    ring, findings = list[_Placed](), list[Finding]()
    for group in groups:
        answer = answers[group.binding.question]
        if isinstance(answer, FailedObservation):
            findings.append(Finding(group.binding.arn, FindingCode.NO_ANSWER, answer.detail))
        else:
            cause = _cause(group, answer, key)
            ring.append(_Placed(_position(group.binding.arn), PlannedWork(group.binding, cause)))
    ring.sort(key=lambda placed: placed.position)
    changed = [placed for placed in ring if placed.work.cause is WorkReason.ANSWER_CHANGED]
    unverified = [placed for placed in ring if placed.work.cause is WorkReason.UNVERIFIED]
    stretch = _stretch(ring, mark, now)
    audits = [work for work in stretch if work.cause is WorkReason.AUDIT]
    granted = _grant(room, len(changed), len(unverified), len(audits))
    work = (
        *_after(changed, turns.changed)[: granted.changed],
        *_after(unverified, turns.unverified)[: granted.unverified],
        *audits[: granted.audits],
    )
    needing = len(changed) + len(unverified) + len(audits)
    marks = _marks(stretch, mark, now)[: granted.audits + 1]
    return Sweep(work, needing - len(work), tuple(findings), marks)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A group at its place in the ring."""

    position: int
    work: PlannedWork


@dataclass(frozen=True, slots=True)
class _Granted:
    """How many groups of each cause are handed out."""

    changed: int
    unverified: int
    audits: int


def _cause(group: ListedGroup, answer: Observation, key: SigningKey) -> WorkReason:
    record = read_checkpoint(group.record, group.binding, key)
    if record is None:
        return WorkReason.UNVERIFIED
    return WorkReason.AUDIT if record.is_of(answer.addresses) else WorkReason.ANSWER_CHANGED


def _position(text: str) -> int:
    """A place that no other group's coming or going changes."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _stretch(
    ring: Sequence[_Placed], mark: AuditCursor | None, now: float
) -> Sequence[PlannedWork]:
    """The groups of the ring that the audit has to pass in this sweep."""
    due = math.ceil(len(ring) * _elapsed(mark, now) / AUDIT_SECONDS - _ROUNDING)
    return _after(ring, "" if mark is None else mark.arn)[:due]


def _elapsed(mark: AuditCursor | None, now: float) -> float:
    """For how many seconds the audit has to make up: at most a whole round."""
    return SWEEP_SECONDS if mark is None else min(max(0.0, now - mark.at), AUDIT_SECONDS)


def _marks(
    stretch: Sequence[PlannedWork], mark: AuditCursor | None, now: float
) -> tuple[AuditCursor | None, ...]:
    """How far the audit is after none of its groups, after one, and so on to all of them."""
    stops = [place for place, work in enumerate(stretch) if work.cause is WorkReason.AUDIT]
    return tuple(_moved(stretch, passed, mark, now) for passed in (*stops, len(stretch)))


def _moved(
    stretch: Sequence[PlannedWork], passed: int, mark: AuditCursor | None, now: float
) -> AuditCursor | None:
    """How far the audit is: up to before the first group that is not passed, and no later."""
    if not passed:
        return None
    owed = _elapsed(mark, now) * (1 - passed / len(stretch))
    return AuditCursor(stretch[passed - 1].binding.arn, now - owed)


def _grant(room: SweepCapacity, changed: int, unverified: int, audits: int) -> _Granted:
    """Divide the room: what is reserved first, and what is left by urgency."""
    least_unverified, least_audits = min(unverified, room.reserved), min(audits, room.reserved)
    changed = min(changed, room.groups - least_unverified - least_audits)
    unverified = min(unverified, room.groups - changed - least_audits)
    return _Granted(changed, unverified, min(audits, room.groups - changed - unverified))


def _after(ring: Sequence[_Placed], text: str) -> Sequence[PlannedWork]:
    """All of them, from behind the place of a text once round."""
    start = bisect_right(ring, _position(text), key=lambda placed: placed.position)
    return [placed.work for placed in (*ring[start:], *ring[:start])]
