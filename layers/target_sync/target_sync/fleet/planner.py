"""Decides which target group gets the next run.

It keeps what a container knows of its groups: for which addresses each was last verified. A group
needs a run for one of three reasons: its endpoint has other addresses than those, it was not
verified, or its audit is due. The audit visits all groups, the one verified longest ago first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from target_sync.fleet.model import Binding, EndpointKey, Finding, FindingCode, RunReason
from target_sync.model import FailedObservation, IPAddress, Observation

#: The duration of one round of the audit, if the call budget suffices.
AUDIT_SECONDS = 900.0
#: How much of a late audit is caught up at full speed.
_CATCH_UP_SECONDS = 60.0
#: A group that was verified more recently gets no audit.
_RECENT_SECONDS = 30.0
#: When a group whose run did not end in sync gets the next one.
RETRY_SECONDS = 60.0
#: The most concurrent runs of groups whose addresses did not change. The other threads of the
#: container stay free for failovers while an API does not respond.
BACKGROUND_RUNS = 8
#: The sequence of runs while groups of every kind wait. A reason without a group gives its turn to
#: the most urgent one. So failovers come first, and block neither new groups nor audits.
_TURNS = (
    RunReason.ADDRESSES_CHANGED,
    RunReason.ADDRESSES_CHANGED,
    RunReason.UNVERIFIED,
    RunReason.AUDIT,
)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A group that gets a run, and the reason."""

    binding: Binding
    reason: RunReason

    @property
    def log_context(self) -> Mapping[str, str]:
        """The fields of the log records of the run."""
        return {
            "target_group": self.binding.arn,
            "endpoint": self.binding.endpoint,
            "reason": self.reason.value,
        }


@dataclass(slots=True, eq=False)
class _Group:
    """What is known of one group. It changes with each run.

    Attributes:
        verified_at: When it was last verified; until then when it was first listed.
        verified_for: The addresses that it was verified for; None if it needs a run.
        retry_at: When an unverified group may get its next run.
    """

    binding: Binding
    verified_at: float
    verified_for: frozenset[IPAddress] | None = None
    retry_at: float = -inf


class RunPlanner:
    """The groups of a container, and which of them waits for what.

    Attributes:
        observations: The newest observation of each endpoint.
        active: The groups that have a run now, and its reason. A group never has two.
    """

    def __init__(self, shuffle: Callable[[list[str]], None]) -> None:
        """``shuffle`` shuffles new groups, so that none is the last one in every container."""
        self.observations: dict[EndpointKey, Observation | FailedObservation] = {}
        self.active: dict[str, RunReason] = {}
        self._shuffle = shuffle
        self._groups: dict[str, _Group] = {}
        self._followers: dict[EndpointKey, list[_Group]] = {}
        # In the sequence of their turns. Every group is in one of the last two.
        self._changed: dict[str, None] = {}
        self._unverified: dict[str, None] = {}
        self._verified: dict[str, None] = {}
        self._turn = 0
        self._audit_due_at = 0.0

    @property
    def bindings(self) -> Sequence[Binding]:
        """The bound groups."""
        return [group.binding for group in self._groups.values()]

    def update(self, bindings: Iterable[Binding], now: float) -> None:
        """Take the groups of a new listing. A group whose binding changed is unverified."""
        known = self._groups
        self._groups = {
            binding.arn: group
            if (group := known.get(binding.arn)) is not None and group.binding == binding
            else _Group(binding, now)
            for binding in bindings
        }
        self._followers = defaultdict(list)
        for group in self._groups.values():
            self._followers[group.binding.endpoint_key].append(group)
        self.observations = {
            key: observation
            for key, observation in self.observations.items()
            if key in self._followers
        }
        new = [arn for arn, group in self._groups.items() if known.get(arn) is not group]
        self._shuffle(new)
        for queue in (self._changed, self._unverified, self._verified):
            for arn in [arn for arn in queue if known[arn] is not self._groups.get(arn)]:
                del queue[arn]
        self._unverified |= dict.fromkeys(new)
        if not known:
            self._audit_due_at = now + self._audit_interval

    def observe(self, key: EndpointKey, observation: Observation | FailedObservation) -> None:
        """Take an observation of an endpoint. A failed one causes no run."""
        if key not in self._followers:
            return
        before = self.observations.get(key)
        self.observations[key] = observation
        for group in self._followers[key]:
            if isinstance(observation, FailedObservation):
                self._changed.pop(group.binding.arn, None)
            else:
                self._compare(group, observation, before)

    def next_run(self, now: float) -> PlannedRun | None:
        """Return the group that gets the next run, and mark it as active; None without one."""
        background = sum(it is not RunReason.ADDRESSES_CHANGED for it in self.active.values())
        reasons = (_TURNS[self._turn % len(_TURNS)], *RunReason)
        for reason in reasons if background < BACKGROUND_RUNS else reasons[1:2]:
            arn = self._first(reason, now)
            if arn is not None:
                self._turn += 1
                self.active[arn] = reason
                self._changed.pop(arn, None)
                return PlannedRun(self._groups[arn].binding, reason)
        return None

    def end_run(
        self, binding: Binding, verified_for: frozenset[IPAddress] | None, now: float
    ) -> None:
        """Note the end of a run, which verified the group for these addresses, or for none."""
        arn = binding.arn
        self.active.pop(arn, None)
        group = self._groups.get(arn)
        if group is None or group.binding != binding:
            return
        for queue in (self._changed, self._unverified, self._verified):
            queue.pop(arn, None)
        group.verified_for = verified_for
        if verified_for is None:
            group.retry_at = now + RETRY_SECONDS
            self._unverified[arn] = None
            return
        group.verified_at = now
        self._verified[arn] = None
        newest = self.observations.get(binding.endpoint_key)
        if isinstance(newest, Observation):
            self._compare(group, newest, newest)

    def abandon_runs(self) -> None:
        """Note that no run is active any more. Their groups are unverified."""
        for arn in self.active.keys() & self._groups.keys():
            self._groups[arn].verified_for = None
            self._verified.pop(arn, None)
            self._unverified[arn] = None
        self.active.clear()

    def waiting(self) -> int:
        """Return how many groups need a run that has not begun."""
        waiting = self._changed.keys() | {arn for arn in self._unverified if self._is_observed(arn)}
        return len(waiting - self.active.keys())

    def longest_unverified(self, now: float) -> float:
        """Return for how many seconds some group has not been verified; 0 without a group.

        A group whose endpoint cannot be observed has a finding instead.
        """
        return max(
            (now - it.verified_at for arn, it in self._groups.items() if self._is_observed(arn)),
            default=0.0,
        )

    def findings(self) -> tuple[Finding, ...]:
        """Return the groups whose endpoint could not be observed."""
        return tuple(
            Finding(group.binding.arn, FindingCode.LOOKUP_FAILED, observation.detail)
            for key, observation in sorted(self.observations.items())
            if isinstance(observation, FailedObservation)
            for group in self._followers[key]
        )

    def _compare(
        self,
        group: _Group,
        observation: Observation,
        before: Observation | FailedObservation | None,
    ) -> None:
        """Queue a group whose addresses are not those that it was verified for.

        A group that was not verified is urgent once its addresses change.
        """
        arn, known = group.binding.arn, group.verified_for
        if known is None:
            if isinstance(before, Observation) and before.addresses != observation.addresses:
                self._changed[arn] = None
        elif known == observation.addresses:
            self._changed.pop(arn, None)
        else:
            self._changed.setdefault(arn)

    def _first(self, reason: RunReason, now: float) -> str | None:
        if reason is RunReason.ADDRESSES_CHANGED:
            return next((arn for arn in self._changed if arn not in self.active), None)
        if reason is RunReason.UNVERIFIED:
            return next((arn for arn in self._unverified if self._may_run(arn, now)), None)
        arn = next((arn for arn in self._verified if self._may_run(arn, now)), None)
        if arn is None or self._groups[arn].verified_at > now - _RECENT_SECONDS:
            self._audit_due_at = max(self._audit_due_at, now)
            return None
        if self._audit_due_at > now:
            return None
        late = max(self._audit_due_at, now - _CATCH_UP_SECONDS)
        self._audit_due_at = late + self._audit_interval
        return arn

    @property
    def _audit_interval(self) -> float:
        return AUDIT_SECONDS / max(1, len(self._groups))

    def _may_run(self, arn: str, now: float) -> bool:
        return (
            arn not in self.active and self._groups[arn].retry_at <= now and self._is_observed(arn)
        )

    def _is_observed(self, arn: str) -> bool:
        key = self._groups[arn].binding.endpoint_key
        return isinstance(self.observations.get(key), Observation)
