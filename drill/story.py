"""What was seen of a failover, put together: which moments, and whether it was followed. No I/O.

Moments are seconds since the epoch. Those of RDS and of the function come from AWS's clock, the
others from this machine's.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lab.records import SyncRecord
from lab.timeline import Expectation, Moment, Timeline
from target_sync.model import TargetGroup

RDS_EVENT = "RDS event"
#: How far the clocks of AWS and of this machine may be apart without a run being lost.
_CLOCKS_APART = 5.0
_FAILOVER = "failover"
_SIGN = "failover seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameSeen:
    """An answer for the database's name: its addresses; none, and why, if it failed."""

    at: float
    addresses: frozenset[str] = frozenset()
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsSeen:
    """The group at one moment; its targets as texts, as the function's records have them."""

    at: float
    group: TargetGroup

    @property
    def healthy(self) -> frozenset[str]:
        """The targets that pass their checks."""
        return frozenset(map(str, self.group.healthy))

    @property
    def registered(self) -> frozenset[str]:
        """The targets that are in the group."""
        return frozenset(map(str, self.group.registered))


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsNews:
    """An event as DescribeEvents tells it."""

    at: float
    message: str
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A new connection that was tried: until when, and whether PostgreSQL answered."""

    at: float
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that was seen so far.

    Attributes:
        names: Each other answer for the name, in order.
        targets: Each other state of the group, in order.
        news: RDS's events since the drill began.
        runs: The records of the sync function's runs since then.
        tries: Each new connection that was tried; empty if none is.
        flows: Minutes in which the load balancer had new flows: when each began, and how many so
            far.
    """

    names: tuple[NameSeen, ...] = ()
    targets: tuple[TargetsSeen, ...] = ()
    news: tuple[RdsNews, ...] = ()
    runs: tuple[SyncRecord, ...] = ()
    tries: tuple[Tried, ...] = ()
    flows: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One failover, from its cause on.

    Attributes:
        asked: The call that sets it off; None if somebody else does.
        before: The group as it was then.
        name_before: The addresses of the name as they were then; empty if it could not be seen.
        keeps_standby: Whether the old target stays in the group.
        connects: Whether new connections are tried.
        counts_flows: Whether the load balancer's metric has to tell of them instead.
        hears_events: Whether RDS tells the stack of such a failover.
        seen: Everything since.
    """

    asked: Moment | None
    before: TargetsSeen
    name_before: frozenset[str]
    keeps_standby: bool
    connects: bool
    counts_flows: bool
    hears_events: bool
    seen: Seen = field(default_factory=Seen)

    def with_seen(self, seen: Seen) -> "Story":
        """The same with what was seen meanwhile."""
        return replace(self, seen=seen)

    @property
    def cause(self) -> Moment | None:
        """What the seconds count from: the call, or the first sign of a failover; None so far."""
        return self.asked or min(self._signs(), key=lambda sign: sign.at, default=None)

    @property
    def new_target(self) -> str | None:
        """The target that became healthy and was not before; until then, the one that came."""
        for group in self._later:
            fresh = sorted(group.healthy - self.before.healthy)
            if fresh:
                return fresh[0]
        for group in self._later:
            fresh = sorted(group.registered - self.before.registered)
            if fresh:
                return fresh[0]
        return None

    @property
    def healthy_at(self) -> float | None:
        """When the new target was healthy: from then on the failover is followed."""
        return next((g.at for g in self._later if g.healthy - self.before.healthy), None)

    @property
    def gone_at(self) -> float | None:
        """When a target that had been healthy had left the group, or failed its checks."""
        return next((g.at for g in self._later if self._old - self._still_there(g)), None)

    @property
    def connected_at(self) -> float | None:
        """When a new connection went through for good, as far as was seen."""
        if self.healthy_at is None:
            return None
        failed = [tried.at for tried in self._tries if not tried.answered]
        since = max(failed, default=self.healthy_at)
        reached = [tried.at for tried in self._tries if tried.answered]
        # Not known before one went through after the target was healthy.
        if not reached or reached[-1] < max(since, self.healthy_at):
            return None
        return next(at for at in reached if at >= since)

    @property
    def is_followed(self) -> bool:
        """Whether the new target is healthy."""
        return self.healthy_at is not None

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing left to wait for."""
        return (
            self.is_followed
            and self._run is not None
            and (self._received is not None or not self.hears_events)
            and (self.keeps_standby or self.gone_at is not None)
            and (not self.connects or self.connected_at is not None)
            and (not self.counts_flows or bool(self._flows))
        )

    def timeline(self, title: str) -> Timeline | None:
        """The moments that are known, in order; None before there is a cause."""
        cause = self.cause
        if cause is None:
            return None
        return Timeline(title=title, cause=cause, moments=tuple(self._moments()))

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """What a failover that was followed shows."""
        return tuple(self._expectations())

    @property
    def unseen(self) -> tuple[str, ...]:
        """What could not be seen, a sentence each."""
        return tuple(self._unseen())

    @property
    def _since(self) -> float:
        return math.inf if self.cause is None else self.cause.at

    @property
    def _tries(self) -> list[Tried]:
        return [tried for tried in self.seen.tries if tried.at >= self._since]

    @property
    def _later(self) -> Iterator[TargetsSeen]:
        return (group for group in self.seen.targets if group.at >= self._since)

    @property
    def _old(self) -> frozenset[str]:
        return self.before.healthy - {self.new_target}

    def _still_there(self, group: TargetsSeen) -> frozenset[str]:
        return group.healthy if self.keeps_standby else group.registered

    @property
    def _flows(self) -> list[tuple[float, int]]:
        """The minutes with new flows that began when the new target was healthy."""
        healthy_at = self.healthy_at
        return [flow for flow in self.seen.flows if healthy_at and flow[0] >= healthy_at]

    @property
    def _moved(self) -> NameSeen | None:
        return next(
            (n for n in self.seen.names if n.at >= self._since and self._is_elsewhere(n)), None
        )

    def _is_elsewhere(self, name: NameSeen) -> bool:
        return bool(self.name_before and name.addresses - self.name_before)

    @property
    def _recent(self) -> list[SyncRecord]:
        """The runs since then, in order; a run by hand does not say when it began."""
        since = self._since - _CLOCKS_APART
        begun = [(run.started_at, run) for run in self.seen.runs if run.started_at is not None]
        begun.sort(key=lambda pair: pair[0])
        return [run for at, run in begun if at >= since]

    @property
    def _received(self) -> SyncRecord | None:
        """The first run that an event of RDS set off."""
        return next((run for run in self._recent if run.trigger == "rds_event"), None)

    @property
    def _run(self) -> SyncRecord | None:
        """The run that registered the new target; if none had to, the first that saw a change."""
        target = self.new_target
        if target in self.before.registered:
            return next((run for run in self._recent if run.detected_at is not None), None)
        return next((run for run in self._recent if target in run.registered), None)

    @property
    def _why_not_moved(self) -> str:
        failures = [name.failure for name in self.seen.names if name.failure]
        if failures:
            return failures[-1]
        return "no new address was seen from here" if self.name_before else "not looked at"

    def _moments(self) -> Iterator[Moment]:
        for news in self.seen.news:
            if news.at >= self._since - _CLOCKS_APART:
                yield Moment(name=RDS_EVENT, at=news.at, note=news.message)
        if self._moved is not None:
            addresses = ", ".join(sorted(self._moved.addresses))
            yield Moment(name="DNS flipped", at=self._moved.at, note=f"{addresses}, seen from here")
        yield from self._moments_of_runs()
        yield from self._moments_of_targets()
        yield from self._moments_of_clients()

    def _moments_of_runs(self) -> Iterator[Moment]:
        received = self._received
        if received is not None and received.started_at is not None:
            note = f"{received.event_id}, by the function's record"
            yield Moment(name="event received", at=received.started_at, note=note)
        run = self._run
        if run is not None and run.detected_at is not None:
            by = f"by the run of {run.event_id or run.trigger}"
            yield Moment(name="detected", at=run.detected_at, note=by)

    def _moments_of_targets(self) -> Iterator[Moment]:
        target = self.new_target
        if target is None:
            return
        if target not in self.before.registered:
            seen = next(group.at for group in self._later if target in group.registered)
            run = self._run
            told = run.registered_at if run and target in run.registered else None
            yield Moment(name="registered", at=seen if told is None else told, note=target)
        if self.healthy_at is not None:
            yield Moment(name="healthy", at=self.healthy_at, note=target)
        if self.gone_at is not None:
            last = next(group for group in self._later if group.at == self.gone_at)
            old = ", ".join(sorted(self._old - self._still_there(last)))
            name = "old target unhealthy" if self.keeps_standby else "old target gone"
            yield Moment(name=name, at=self.gone_at, note=old)

    def _moments_of_clients(self) -> Iterator[Moment]:
        if self.connected_at is not None:
            tries = [tried for tried in self._tries if tried.at <= self.connected_at]
            failed = sum(not tried.answered for tried in tries)
            note = f"{failed} of {len(tries)} attempts until then failed"
            yield Moment(name="first new connection", at=self.connected_at, note=note)
        elif self._flows:
            at, count = self._flows[0]
            note = f"{count} in this whole minute, by NewFlowCount"
            yield Moment(name="first minute of new flows", at=at, note=note)

    def _expectations(self) -> Iterator[Expectation]:
        target = self.new_target
        seen = f"{target}" if self.is_followed else f"{target or 'no new target'}, not healthy"
        yield Expectation(
            text="the stack follows the failover: the new target is healthy",
            holds=self.is_followed,
            detail=seen,
        )
        if not self.keeps_standby:
            yield Expectation(
                text="the old target is gone",
                holds=self.gone_at is not None,
                detail=", ".join(sorted(self._old)),
            )
        if self.connects:
            yield Expectation(
                text="a new connection goes through",
                holds=self.connected_at is not None,
                detail=f"{len(self.seen.tries)} attempts",
            )

    def _unseen(self) -> Iterator[str]:
        if self._moved is None:
            yield f"DNS flipped: {self._why_not_moved}; the function saw it when it detected"
        if self._run is None:
            yield "detected: no record of the run that followed has come"
        if self._received is None and self.hears_events:
            yield "event received: no record of a run that an event of RDS set off has come"
        if not self.connects and not self._flows:
            yield "first new connection: not seen from here; give --connect HOST:PORT"

    def _signs(self) -> Iterator[Moment]:
        """What shows that somebody else has set off a failover."""
        for news in self.seen.news:
            if _FAILOVER in news.categories:
                yield Moment(name=_SIGN, at=news.at, note=f"RDS: {news.message}")
        for name in self.seen.names:
            if self._is_elsewhere(name):
                yield Moment(name=_SIGN, at=name.at, note="the name has moved")
        for group in self.seen.targets:
            before = self.before
            if group.registered - before.registered or group.healthy - before.healthy:
                yield Moment(name=_SIGN, at=group.at, note="the target group has changed")
