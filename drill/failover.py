"""A failover, as observed: its moments, and whether the stack followed it. No I/O.

Times are epoch seconds. Those of RDS and of the function come from AWS's clock, the others from
this machine's clock.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from drill.results import Expectation, Moment, Timeline
from drill.run_records import RunRecord
from target_sync.config import StandbyTargets
from target_sync.model import TargetGroup

RDS_EVENT = "RDS event"
#: The largest expected difference between AWS's clock and this machine's, in seconds.
_CLOCK_DIFFERENCE = 5.0
_FAILOVER = "failover"
_DETECTED_HERE = "failover observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameObservation:
    """One DNS answer for the database's name: its addresses, or the reason of the failure."""

    at: float
    addresses: frozenset[str] = frozenset()
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupObservation:
    """The target group at one time. Targets are texts, as in the function's records."""

    at: float
    group: TargetGroup

    @property
    def healthy(self) -> frozenset[str]:
        """The healthy targets."""
        return frozenset(map(str, self.group.healthy))

    @property
    def registered(self) -> frozenset[str]:
        """The registered targets."""
        return frozenset(map(str, self.group.registered))


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesObservation:
    """The targets that outbound rules open at one time, as texts."""

    at: float
    open: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseEvent:
    """An event from DescribeEvents."""

    at: float
    message: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionAttempt:
    """A new connection: when the attempt ended, and whether PostgreSQL replied."""

    at: float
    succeeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """All observations until now.

    Attributes:
        names: The DNS answers for the name that differ from the one before, in order.
        groups: The states of the target group that differ from the one before, in order.
        rules: The open targets whenever they differ from those before, in order; empty if not read.
        events: RDS's events since the start of the drill.
        runs: The records of the reconciler's runs since the start of the drill.
        attempts: The attempts to connect; empty if the drill does not connect.
        flows: Minutes with new flows through the load balancer: start and number of flows.
    """

    names: tuple[NameObservation, ...] = ()
    groups: tuple[GroupObservation, ...] = ()
    rules: tuple[RulesObservation, ...] = ()
    events: tuple[DatabaseEvent, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    attempts: tuple[ConnectionAttempt, ...] = ()
    flows: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedFailover:
    """One failover.

    Attributes:
        call: The drill's call that starts the failover; None with `--observe`.
        before: The target group before the failover.
        addresses_before: The addresses of the name before; empty if it did not resolve.
        standby_targets: What happens to the old target.
        connects: Whether the drill tries new connections.
        counts_flows: Whether the drill reads the load balancer's metric instead.
        expects_events: Whether RDS sends the stack events of such a failover.
        observations: All observations until now.
    """

    call: Moment | None
    before: GroupObservation
    addresses_before: frozenset[str]
    standby_targets: StandbyTargets
    connects: bool
    counts_flows: bool
    expects_events: bool
    observations: Observations = field(default_factory=Observations)

    def with_observations(self, observations: Observations) -> "ObservedFailover":
        """Return the same failover with other observations."""
        return replace(self, observations=observations)

    @property
    def cause(self) -> Moment | None:
        """The moment that the seconds count from: the call, or the first sign of a failover."""
        return self.call or min(self._signs(), key=lambda sign: sign.at, default=None)

    @property
    def new_target(self) -> str | None:
        """The first target that became healthy; before that, the first new target; or None.

        A target that is new in the group may be one more warm target, so its rule decides.
        """
        before, rules = self.before, self.observations.rules
        fresh = [group.healthy - before.healthy for group in self._later]
        if rules:
            fresh += [entry.open - rules[0].open for entry in self._later_rules]
        else:
            fresh += [group.registered - before.registered for group in self._later]
        return next((min(targets) for targets in fresh if targets), None)

    @property
    def healthy_at(self) -> float | None:
        """When the new target was healthy. From then on the stack has followed the failover."""
        return next((g.at for g in self._later if g.healthy - self.before.healthy), None)

    @property
    def opened_at(self) -> float | None:
        """When the rule of the new target was opened, by the record of the run or as observed."""
        run, target = self._run, self.new_target
        rules = self.observations.rules
        if not rules or target is None or target in rules[0].open:
            return None
        if run and target in self.before.registered and target in run.registered:
            return run.registered_at
        return next((entry.at for entry in self._later_rules if target in entry.open), None)

    @property
    def closed_at(self) -> float | None:
        """When the rule of an old target was closed."""
        return next((entry.at for entry in self._later_rules if self._old - entry.open), None)

    @property
    def removed_at(self) -> float | None:
        """When an old target had left the group; if it stays in the group, was unhealthy."""
        return next((g.at for g in self._later if self._old - self._remaining(g)), None)

    @property
    def _is_removed(self) -> bool:
        """Whether the old target gets no traffic, as far as this is expected."""
        if self.standby_targets is StandbyTargets.SERVING:
            return True
        is_closed = self.closed_at is not None or not self.observations.rules
        return is_closed and self.removed_at is not None

    @property
    def connected_at(self) -> float | None:
        """The first successful connection after the last failed one; None if not yet certain."""
        if self.healthy_at is None:
            return None
        failed = [attempt.at for attempt in self._attempts if not attempt.succeeded]
        since = max(failed, default=self.healthy_at)
        succeeded = [attempt.at for attempt in self._attempts if attempt.succeeded]
        # It is certain once a connection succeeds after the target is healthy.
        if not succeeded or succeeded[-1] < max(since, self.healthy_at):
            return None
        return next(at for at in succeeded if at >= since)

    @property
    def is_followed(self) -> bool:
        """Whether the new target is healthy."""
        return self.healthy_at is not None

    @property
    def is_complete(self) -> bool:
        """Whether all expected observations were made."""
        return (
            self.is_followed
            and self._run is not None
            and (self._event_run is not None or not self.expects_events)
            and self._is_removed
            and (not self.connects or self.connected_at is not None)
            and (not self.counts_flows or bool(self._flows))
        )

    def timeline(self, title: str) -> Timeline | None:
        """Return the known moments; None before there is a cause."""
        cause = self.cause
        if cause is None:
            return None
        return Timeline(title=title, cause=cause, moments=tuple(self._moments()))

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """The expectations of a failover that the stack followed."""
        return tuple(self._expectations())

    @property
    def missing(self) -> tuple[str, ...]:
        """The moments that were not observed, a sentence each."""
        return tuple(self._missing())

    @property
    def _since(self) -> float:
        return math.inf if self.cause is None else self.cause.at

    @property
    def _attempts(self) -> list[ConnectionAttempt]:
        return [attempt for attempt in self.observations.attempts if attempt.at >= self._since]

    @property
    def _later(self) -> Iterator[GroupObservation]:
        return (group for group in self.observations.groups if group.at >= self._since)

    @property
    def _old(self) -> frozenset[str]:
        return self.before.healthy - {self.new_target}

    @property
    def _later_rules(self) -> Iterator[RulesObservation]:
        return (rules for rules in self.observations.rules if rules.at >= self._since)

    def _remaining(self, group: GroupObservation) -> frozenset[str]:
        is_none = self.standby_targets is StandbyTargets.NONE
        return group.registered if is_none else group.healthy

    @property
    def _flows(self) -> list[tuple[float, int]]:
        """The minutes with new flows that began after the new target was healthy."""
        healthy_at = self.healthy_at
        return [flow for flow in self.observations.flows if healthy_at and flow[0] >= healthy_at]

    @property
    def _moved(self) -> NameObservation | None:
        names = self.observations.names
        return next((n for n in names if n.at >= self._since and self._is_new(n)), None)

    def _is_new(self, name: NameObservation) -> bool:
        return bool(self.addresses_before and name.addresses - self.addresses_before)

    @property
    def _recent_runs(self) -> list[RunRecord]:
        """The runs since the cause, by start. The start of a manual run is not known."""
        since = self._since - _CLOCK_DIFFERENCE
        begun = [
            (run.started_at, run) for run in self.observations.runs if run.started_at is not None
        ]
        begun.sort(key=lambda pair: pair[0])
        return [run for at, run in begun if at >= since]

    @property
    def _event_run(self) -> RunRecord | None:
        """The first run that an RDS event triggered."""
        return next((run for run in self._recent_runs if run.trigger == "rds_event"), None)

    @property
    def _run(self) -> RunRecord | None:
        """The run that registered the new target.

        For a warm target it is the run that opened its rule. For a serving standby it is the first
        run that detected a change.
        """
        target, is_serving = self.new_target, self.standby_targets is StandbyTargets.SERVING
        if is_serving and target in self.before.registered:
            return next((run for run in self._recent_runs if run.detected_at is not None), None)
        return next((run for run in self._recent_runs if target in run.registered), None)

    def _moments(self) -> Iterator[Moment]:
        for event in self.observations.events:
            if event.at >= self._since - _CLOCK_DIFFERENCE:
                yield Moment(name=RDS_EVENT, at=event.at, note=event.message)
        if self._moved is not None:
            addresses = ", ".join(sorted(self._moved.addresses))
            note = f"{addresses}, observed from here"
            yield Moment(name="DNS flipped", at=self._moved.at, note=note)
        yield from self._moments_of_runs()
        yield from self._moments_of_targets()
        yield from self._moments_of_clients()

    def _moments_of_runs(self) -> Iterator[Moment]:
        event_run = self._event_run
        if event_run is not None and event_run.started_at is not None:
            note = f"{event_run.event_id}, from the function's record"
            yield Moment(name="event received", at=event_run.started_at, note=note)
        run = self._run
        if run is not None and run.detected_at is not None:
            note = f"by the run of {run.event_id or run.trigger}"
            yield Moment(name="detected", at=run.detected_at, note=note)

    def _moments_of_targets(self) -> Iterator[Moment]:
        target = self.new_target
        if target is None:
            return
        if target not in self.before.registered:
            yield Moment(name="registered", at=self._registered_at(target), note=target)
        if self.opened_at is not None:
            yield Moment(name="rule opened", at=self.opened_at, note=target)
        if self.healthy_at is not None:
            yield Moment(name="healthy", at=self.healthy_at, note=target)
        if self.closed_at is not None:
            closed = next(rules for rules in self._later_rules if rules.at == self.closed_at)
            old = ", ".join(sorted(self._old - closed.open))
            yield Moment(name="old rule closed", at=self.closed_at, note=old)
        if self.removed_at is not None:
            last = next(group for group in self._later if group.at == self.removed_at)
            removed = self._old - self._remaining(last)
            name = "old target unhealthy" if removed & last.registered else "old target gone"
            yield Moment(name=name, at=self.removed_at, note=", ".join(sorted(removed)))

    def _registered_at(self, target: str) -> float:
        """Return when a target was registered: by the record of the run, else as observed."""
        run = self._run
        if run and target in run.registered and run.registered_at is not None:
            return run.registered_at
        return next(group.at for group in self._later if target in group.registered)

    def _moments_of_clients(self) -> Iterator[Moment]:
        if self.connected_at is not None:
            attempts = [attempt for attempt in self._attempts if attempt.at <= self.connected_at]
            failed = sum(not attempt.succeeded for attempt in attempts)
            note = f"{failed} of {len(attempts)} attempts until then failed"
            yield Moment(name="first new connection", at=self.connected_at, note=note)
        elif self._flows:
            at, count = self._flows[0]
            note = f"{count} in this whole minute, by NewFlowCount"
            yield Moment(name="first minute of new flows", at=at, note=note)

    def _expectations(self) -> Iterator[Expectation]:
        target = self.new_target
        detail = f"{target}" if self.is_followed else f"{target or 'no new target'}, not healthy"
        yield Expectation(
            text="the stack follows the failover: the new target is healthy",
            holds=self.is_followed,
            detail=detail,
        )
        if self.standby_targets is not StandbyTargets.SERVING:
            yield Expectation(
                text="the old target gets no traffic",
                holds=self._is_removed,
                detail=", ".join(sorted(self._old)),
            )
        if self.connects:
            yield Expectation(
                text="a new connection succeeds",
                holds=self.connected_at is not None,
                detail=f"{len(self.observations.attempts)} attempts",
            )

    def _missing(self) -> Iterator[str]:
        if self._moved is None:
            yield f"DNS flipped: {self._why_not_moved}; see the function's own time (detected)"
        if self._run is None:
            yield "detected: the log has no record of the run that followed the failover"
        if self._event_run is None and self.expects_events:
            yield "event received: the log has no record of a run that an RDS event triggered"
        if not self.connects and not self._flows:
            yield "first new connection: not observed from here; give --connect HOST:PORT"

    @property
    def _why_not_moved(self) -> str:
        failures = [name.failure for name in self.observations.names if name.failure]
        if failures:
            return failures[-1]
        return "no new address was observed from here" if self.addresses_before else "not polled"

    def _signs(self) -> Iterator[Moment]:
        """Return the observations that show a failover without a call of the drill."""
        for event in self.observations.events:
            if _FAILOVER in event.categories:
                yield Moment(name=_DETECTED_HERE, at=event.at, note=f"RDS: {event.message}")
        for name in self.observations.names:
            if self._is_new(name):
                yield Moment(name=_DETECTED_HERE, at=name.at, note="the name has moved")
        before = self.before
        for group in self.observations.groups:
            if group.registered - before.registered or group.healthy - before.healthy:
                yield Moment(name=_DETECTED_HERE, at=group.at, note="the target group has changed")
