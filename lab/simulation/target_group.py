"""A target group whose state is computed for any moment, without ticks.

It behaves like ``lab.emulator.target_group`` (a test compares the two) for targets in enabled zones
whose ports open and close at known moments. Times are seconds.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from target_sync.model import IPAddress, Target, TargetGroup, TargetHealth, TargetState


@dataclass(frozen=True, slots=True)
class Port:
    """Whether a port is open at first, and the moments at which that changes."""

    open_at_first: bool
    turns: tuple[float, ...] = ()


_CLOSED = Port(open_at_first=False)


@dataclass(frozen=True, slots=True)
class Checks:
    """How a load balancer checks a target (ELBv2 API reference, CreateTargetGroup)."""

    interval: float = 5.0
    healthy_threshold: int = 2
    unhealthy_threshold: int = 2

    def turns(self, port: Port, first_at: float) -> tuple[tuple[float, TargetState], ...]:
        """Return each state change of a target whose checks start at ``first_at``."""
        found: list[tuple[float, TargetState]] = []
        kind, streak, reported = False, 0, None
        for is_open, first, last in self._stretches(port, first_at):
            if is_open is not kind:
                kind, streak = is_open, 0
            needed = self.healthy_threshold if is_open else self.unhealthy_threshold
            missing = max(1, needed - streak)
            if reported is not is_open and first + missing <= last:
                reported = is_open
                state = TargetState.HEALTHY if is_open else TargetState.UNHEALTHY
                found.append((first_at + (first + missing - 1) * self.interval, state))
            streak += int(min(last - first, needed))
        return tuple(found)

    def _stretches(self, port: Port, first_at: float) -> list[tuple[bool, float, float]]:
        """Return the ranges of check numbers that find the port open or closed."""
        is_open, since, stretches = port.open_at_first, 0.0, list[tuple[bool, float, float]]()
        for turn in (*port.turns, math.inf):
            until = max(0.0, (turn - first_at) / self.interval)
            until = until if math.isinf(until) else float(math.ceil(until))
            if until > since:
                stretches.append((is_open, since, until))
            is_open, since = not is_open, max(since, until)
        return stretches


@dataclass(frozen=True, slots=True)
class Stay:
    """One registration of a target, until its deregistration.

    Attributes:
        target: The target.
        since: When it was registered.
        checks_from: When its registration is complete and its checks start.
        turns: The later changes of its state.
        deregistered_at: When it was deregistered; None while it is registered.
    """

    target: Target
    since: float
    checks_from: float
    turns: tuple[tuple[float, TargetState], ...]
    deregistered_at: float | None = None

    def state(self, now: float) -> TargetState:
        """Return its state as DescribeTargetHealth reports it."""
        if self.deregistered_at is not None:
            return TargetState.DRAINING
        position = bisect_right(self.turns, now, key=lambda turn: turn[0])
        return self.turns[position - 1][1] if position else TargetState.INITIAL

    def healthy_from(self, moment: float) -> float | None:
        """Return the first moment at or after ``moment`` at which it is healthy."""
        for start, end in self.healthy_spans():
            if end > moment:
                return max(start, moment)
        return None

    def healthy_spans(self) -> Sequence[tuple[float, float]]:
        """Return the spans in which it is healthy; the end of an open span is infinite."""
        ends = [at for at, _ in self.turns[1:]]
        end_of_stay = math.inf if self.deregistered_at is None else self.deregistered_at
        return [
            (at, min(end, end_of_stay))
            for (at, state), end in zip(self.turns, (*ends, math.inf), strict=True)
            if state is TargetState.HEALTHY and at < end_of_stay
        ]


@dataclass(slots=True, kw_only=True)
class ComputedGroup:
    """Implements ``target_sync.ports.TargetGroupPort``.

    Attributes:
        now: The clock.
        ports: The port at each address; closed at every other address.
        registration_seconds: Draws the duration of the next registration.
        checks: The health check settings.
        deregistration_delay: How long a deregistered target is still listed.
        calls: The number of calls.
        changed_at: When the last call changed the group.
        stays: Every registration of every target, oldest first.
    """

    now: Callable[[], float]
    ports: Mapping[IPAddress, Port]
    registration_seconds: Callable[[], float]
    checks: Checks = Checks()
    deregistration_delay: float = 0.0
    calls: int = 0
    changed_at: float = -math.inf
    stays: list[Stay] = field(default_factory=list)
    _here: dict[Target, int] = field(default_factory=dict)

    @property
    def registered(self) -> frozenset[Target]:
        """The registered targets; reading them counts no call."""
        return frozenset(t for t, n in self._here.items() if self.stays[n].deregistered_at is None)

    def stay(self, target: Target) -> Stay | None:
        """Return the current registration of a target; None if it is not registered."""
        found = self.stays[self._here[target]] if target in self._here else None
        return None if found is None or found.deregistered_at is not None else found

    def put(self, target: Target, checks_from: float) -> None:
        """Add a target that was always registered, with checks from a moment on."""
        self._begin(target, -math.inf, checks_from)

    def describe(self) -> TargetGroup:
        """List the targets with their health, draining ones included."""
        self.calls += 1
        now = self.now()
        self._drop_gone(now)
        stays = [self.stays[n] for n in self._here.values()]
        return TargetGroup(tuple(TargetHealth(s.target, s.state(now)) for s in stays))

    def register(self, targets: Sequence[Target]) -> None:
        """Register targets. A draining target starts a new registration."""
        self.calls += 1
        now = self.now()
        self._drop_gone(now)
        for target in targets:
            if self.stay(target) is None:
                self._begin(target, now, now + self.registration_seconds())
                self.changed_at = now

    def deregister(self, targets: Sequence[Target]) -> None:
        """Deregister targets. No new connections reach them from now on."""
        self.calls += 1
        now = self.now()
        for target in targets:
            stay = self.stay(target)
            if stay is not None:
                self.stays[self._here[target]] = replace(stay, deregistered_at=now)
                self.changed_at = now
        self._drop_gone(now)

    def _begin(self, target: Target, since: float, checks_from: float) -> None:
        turns = self.checks.turns(self.ports.get(target.address, _CLOSED), checks_from)
        self._here[target] = len(self.stays)
        self.stays.append(Stay(target, since, checks_from, turns))

    def _drop_gone(self, now: float) -> None:
        gone = [t for t, n in self._here.items() if self._is_gone(self.stays[n], now)]
        for target in gone:
            del self._here[target]

    def _is_gone(self, stay: Stay, now: float) -> bool:
        return (
            stay.deregistered_at is not None
            and stay.deregistered_at + self.deregistration_delay <= now
        )
