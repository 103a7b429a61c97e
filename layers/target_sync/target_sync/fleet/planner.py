"""Plans one sweep: which target groups get work now, in which sequence, and which wait.

A group needs work for one of three reasons: its endpoint has other addresses than at its
checkpoint, it has no valid checkpoint, or the audit reaches it. The audit visits all groups in the
sequence of their hashes, in each sweep as many as the time since the last one asks for.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from operator import itemgetter
from typing import TypeAlias

from target_sync.fleet.checkpoints import AuditCursor, SigningKey, read_checkpoint, read_cursor
from target_sync.fleet.model import (
    Binding,
    EndpointKey,
    Finding,
    FindingCode,
    ListedGroup,
    WorkReason,
)
from target_sync.fleet.rate_limits import DEFAULT_SHARE, calls_per_second
from target_sync.model import FailedObservation, Observation

#: The time between two sweeps.
SWEEP_SECONDS = 60.0
#: The part of it that has no planned calls: listing and look-ups take time, and other calls than
#: the audit's need tokens too.
_SPARE_SECONDS = 5.0
#: The duration of one round of the audit, if the capacity suffices.
AUDIT_SECONDS = 900.0
#: The part of a sweep's capacity that is reserved for audits, and the same for groups without a
#: checkpoint. A burst of changes or of invalid checkpoints can then block neither.
_RESERVED = 1 / 4
#: The least capacity of which something can be reserved.
_MIN_CAPACITY = math.ceil(1 / _RESERVED)
#: Larger than a float's error, smaller than any real difference.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """A group that a worker gets, and the reason."""

    binding: Binding
    reason: WorkReason


#: The hash of the group's ARN, which sets its position in the sequence, and the work.
_Hashed: TypeAlias = tuple[int, PlannedWork]


@dataclass(frozen=True, slots=True)
class SweepCapacity:
    """How many groups one sweep may give to the workers; at least 4."""

    groups: int

    def __post_init__(self) -> None:
        if self.groups < _MIN_CAPACITY:
            raise ValueError(f"a sweep needs a capacity of at least {_MIN_CAPACITY} groups")

    @classmethod
    def of(cls, share: float = DEFAULT_SHARE) -> "SweepCapacity":
        """Return how many groups the share of calls can describe before the next sweep.

        Raises:
            ValueError: The share is not in (0, 1].
        """
        return cls(int(calls_per_second(share) * (SWEEP_SECONDS - _SPARE_SECONDS)))

    def minus(self, queued: int) -> "SweepCapacity":
        """Return the capacity beside this many queued work items; never less than the least."""
        return SweepCapacity(max(self.groups - queued, _MIN_CAPACITY))

    @property
    def reserved(self) -> int:
        """How many audits always fit, and how many groups without a checkpoint."""
        return int(self.groups * _RESERVED)

    def audit_seconds(self, groups: int) -> float:
        """Return the longest duration of one round of the audit, whatever other work there is."""
        return max(AUDIT_SECONDS, math.ceil(groups / self.reserved) * SWEEP_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRobin:
    """The last group of each reason that got work; the next sweep continues after it.

    So a group that stays broken cannot block the others. The position is the hash of the text,
    which need not be the ARN of a group.
    """

    changed: str = ""
    unverified: str = ""

    def after(self, work: Sequence[PlannedWork]) -> "RoundRobin":
        """Return the positions after this work, in its sequence."""
        last = {item.reason: item.binding.arn for item in work}
        return RoundRobin(
            changed=last.get(WorkReason.ADDRESSES_CHANGED, self.changed),
            unverified=last.get(WorkReason.UNVERIFIED, self.unverified),
        )


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The plan of one sweep.

    Attributes:
        work: The groups that get work, the most urgent first.
        postponed: How many more groups need work and have to wait for a later sweep.
        findings: Groups whose endpoint could not be observed.
        cursors: The audit cursor to write after n audits were sent, at index n; None if it has not
            moved.
    """

    work: tuple[PlannedWork, ...]
    postponed: int
    findings: tuple[Finding, ...]
    cursors: tuple[AuditCursor | None, ...]


def endpoint_keys(groups: Sequence[ListedGroup]) -> tuple[EndpointKey, ...]:
    """Return the endpoints to observe, each once."""
    return tuple(sorted({group.binding.endpoint_key for group in groups}))


def newest_cursor(groups: Sequence[ListedGroup], key: SigningKey, now: float) -> AuditCursor | None:
    """Return the newest valid audit cursor of a listing; None if there is none."""
    cursors = (
        read_cursor(group.audit_cursor, group.binding.arn, key, now)
        for group in groups
        if group.audit_cursor
    )
    return max((cursor for cursor in cursors if cursor), key=lambda it: it.at, default=None)


def plan_sweep(
    groups: Sequence[ListedGroup],
    observations: Mapping[EndpointKey, Observation | FailedObservation],
    *,
    key: SigningKey,
    cursor: AuditCursor | None,
    capacity: SweepCapacity,
    now: float,
    round_robin: RoundRobin = RoundRobin(),
) -> SweepPlan:
    """Plan a sweep.

    A group whose endpoint could not be observed gets a finding and no work, because a failed
    observation never changes a group.

    Args:
        groups: Every bound group, each once.
        observations: One for each of ``endpoint_keys(groups)``.
        key: The signing key of the checkpoints.
        cursor: The audit cursor of the last sweep; None if it is not known.
        capacity: How many groups may get work.
        now: The time, in seconds since the epoch.
        round_robin: Where the last sweep stopped.
    """
    hashed, findings = list[_Hashed](), list[Finding]()
    for group in groups:
        observation = observations[group.binding.endpoint_key]
        if isinstance(observation, FailedObservation):
            findings.append(
                Finding(group.binding.arn, FindingCode.LOOKUP_FAILED, observation.detail)
            )
        else:
            work = PlannedWork(group.binding, _reason(group, observation, key))
            hashed.append((_hash(group.binding.arn), work))
    hashed.sort(key=itemgetter(0))
    changed = [it for it in hashed if it[1].reason is WorkReason.ADDRESSES_CHANGED]
    unverified = [it for it in hashed if it[1].reason is WorkReason.UNVERIFIED]
    passed = _passed_by_audit(hashed, cursor, now)
    audits = [work for work in passed if work.reason is WorkReason.AUDIT]
    parts = _allocate(capacity, len(changed), len(unverified), len(audits))
    planned = (
        *_rotated(changed, round_robin.changed)[: parts[0]],
        *_rotated(unverified, round_robin.unverified)[: parts[1]],
        *audits[: parts[2]],
    )
    needed = len(changed) + len(unverified) + len(audits)
    cursors = _cursors(passed, cursor, now)[: parts[2] + 1]
    return SweepPlan(planned, needed - len(planned), tuple(findings), cursors)


def _reason(group: ListedGroup, observation: Observation, key: SigningKey) -> WorkReason:
    checkpoint = read_checkpoint(group.checkpoint, group.binding, key)
    if checkpoint is None:
        return WorkReason.UNVERIFIED
    if checkpoint.matches(observation.addresses):
        return WorkReason.AUDIT
    return WorkReason.ADDRESSES_CHANGED


def _hash(text: str) -> int:
    """Return a position that stays the same when other groups are added or deleted."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _passed_by_audit(
    hashed: Sequence[_Hashed], cursor: AuditCursor | None, now: float
) -> Sequence[PlannedWork]:
    """Return the groups that the audit cursor has to pass in this sweep."""
    due = math.ceil(len(hashed) * _elapsed(cursor, now) / AUDIT_SECONDS - _ROUNDING)
    return _rotated(hashed, "" if cursor is None else cursor.arn)[:due]


def _elapsed(cursor: AuditCursor | None, now: float) -> float:
    """Return the seconds since the cursor's time: at most one whole round."""
    return SWEEP_SECONDS if cursor is None else min(max(0.0, now - cursor.at), AUDIT_SECONDS)


def _cursors(
    passed: Sequence[PlannedWork], cursor: AuditCursor | None, now: float
) -> tuple[AuditCursor | None, ...]:
    """Return the cursor after no audit, after one, and so on to all of them."""
    stops = [index for index, work in enumerate(passed) if work.reason is WorkReason.AUDIT]
    return tuple(_moved(passed, count, cursor, now) for count in (*stops, len(passed)))


def _moved(
    passed: Sequence[PlannedWork], count: int, cursor: AuditCursor | None, now: float
) -> AuditCursor | None:
    """Return the cursor after this many groups. Its time leaves the rest due in the next sweep."""
    if not count:
        return None
    owed = _elapsed(cursor, now) * (1 - count / len(passed))
    return AuditCursor(passed[count - 1].binding.arn, now - owed)


def _allocate(
    capacity: SweepCapacity, changed: int, unverified: int, audits: int
) -> tuple[int, int, int]:
    """Divide the capacity: the reserved parts first, then the rest by urgency."""
    least_unverified, least_audits = (min(it, capacity.reserved) for it in (unverified, audits))
    changed = min(changed, capacity.groups - least_unverified - least_audits)
    unverified = min(unverified, capacity.groups - changed - least_audits)
    return changed, unverified, min(audits, capacity.groups - changed - unverified)


def _rotated(hashed: Sequence[_Hashed], text: str) -> Sequence[PlannedWork]:
    """Return all the work, starting after the hash of the text."""
    start = bisect_right(hashed, _hash(text), key=itemgetter(0))
    return [work for _, work in (*hashed[start:], *hashed[:start])]
