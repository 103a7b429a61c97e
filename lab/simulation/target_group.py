"""A target group whose state is computed for any moment, without ticks.

It behaves like ``lab.emulator.target_group`` (a test compares the two) for targets in enabled zones
whose ports open and close at known moments. ``lab.simulation.outbound_rules`` limits what it
reaches. Times are seconds.
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

    def is_open(self, at: float) -> bool:
        """Return whether it is open at a moment."""
        return self.open_at_first ^ (bisect_right(self.turns, at) % 2 == 1)

    def spans(self) -> Sequence[tuple[float, float]]:
        """Return the spans in which it is open."""
        bounds = (*((-math.inf,) if self.open_at_first else ()), *self.turns, math.inf)
        return list(zip(bounds[::2], bounds[1::2], strict=False))

    def both(self, other: "Port") -> "Port":
        """Return when this and another one are open."""
        return self._with(other, lambda a, b: a and b)

    def either(self, other: "Port") -> "Port":
        """Return when this or another one is open."""
        return self._with(other, lambda a, b: a or b)

    def _with(self, other: "Port", rule: Callable[[bool, bool], bool]) -> "Port":
        at_first = is_open = rule(self.open_at_first, other.open_at_first)
        turns: list[float] = []
        for at in sorted({*self.turns, *other.turns}):
            if rule(self.is_open(at), other.is_open(at)) is not is_open:
                is_open = not is_open
                turns.append(at)
        return Port(at_first, tuple(turns))


CLOSED, OPEN = Port(open_at_first=False), Port(open_at_first=True)


@dataclass(frozen=True, slots=True)
class Checks:
    """How a load balancer checks a target (ELBv2 API reference, CreateTargetGroup).

    A check that outbound rules block fails ``timeout`` after its start, at most an interval.
    """

    interval: float = 5.0
    healthy_threshold: int = 2
    unhealthy_threshold: int = 2
    timeout: float = 4.0

    def turns(
        self, port: Port, first_at: float, allowed: Port = OPEN
    ) -> tuple[tuple[float, TargetState], ...]:
        """Return each state change of a target.

        Args:
            port: The target's port.
            first_at: When its checks start.
            allowed: When outbound rules allow them.
        """
        found: list[tuple[float, TargetState]] = []
        kind, streak, reported = False, 0, None
        for is_open, first, last in self._stretches(port.both(allowed), first_at):
            if is_open is not kind:
                kind, streak = is_open, 0
            needed = self.healthy_threshold if is_open else self.unhealthy_threshold
            missing = max(1, needed - streak)
            if reported is not is_open and first + missing <= last:
                reported = is_open
                state = TargetState.HEALTHY if is_open else TargetState.UNHEALTHY
                started_at = first_at + (first + missing - 1) * self.interval
                waits = 0.0 if allowed.is_open(started_at) else self.timeout
                found.append((started_at + waits, state))
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
        allowed: When outbound rules allow new connections to it.
    """

    target: Target
    since: float
    checks_from: float
    turns: tuple[tuple[float, TargetState], ...]
    deregistered_at: float | None = None
    allowed: Port = OPEN

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

    def connectable_spans(self) -> Sequence[tuple[float, float]]:
        """Return the spans in which new connections reach it: it is healthy and allowed."""
        found = (
            (max(start, opened), min(end, closed))
            for start, end in self.healthy_spans()
            for opened, closed in self.allowed.spans()
        )
        return [(start, end) for start, end in found if start < end]


@dataclass(slots=True, kw_only=True)
class ComputedGroup:
    """Implements ``target_sync.ports.TargetGroupPort``.

    Attributes:
        now: The clock.
        ports: The port at each address; closed at every other address.
        registration_seconds: Draws the duration of the next registration.
        checks: The health check settings.
        deregistration_delay: How long a deregistered target is still listed.
        unruled: When outbound rules allow a target for which ``limit`` was not called.
        calls: The number of calls.
        changed_at: When the last call changed the group.
        stays: Every registration of every target, oldest first.
    """

    now: Callable[[], float]
    ports: Mapping[IPAddress, Port]
    registration_seconds: Callable[[], float]
    checks: Checks = Checks()
    deregistration_delay: float = 0.0
    unruled: Port = OPEN
    calls: int = 0
    changed_at: float = -math.inf
    stays: list[Stay] = field(default_factory=list)
    _here: dict[Target, int] = field(default_factory=dict)
    _limits: dict[Target, Port] = field(default_factory=dict)

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

    def limit(self, target: Target, allowed: Port) -> None:
        """Set when outbound rules allow a target. Only its future may differ."""
        self._limits[target] = allowed
        stay = self.stay(target)
        if stay is not None:
            turns = self._turns(target, stay.checks_from)
            self.stays[self._here[target]] = replace(stay, turns=turns, allowed=allowed)

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
        turns, allowed = self._turns(target, checks_from), self._allowed(target)
        self._here[target] = len(self.stays)
        self.stays.append(Stay(target, since, checks_from, turns, allowed=allowed))

    def _turns(self, target: Target, checks_from: float) -> tuple[tuple[float, TargetState], ...]:
        port = self.ports.get(target.address, CLOSED)
        return self.checks.turns(port, checks_from, self._allowed(target))

    def _allowed(self, target: Target) -> Port:
        return self._limits.get(target, self.unruled)

    def _drop_gone(self, now: float) -> None:
        gone = [t for t, n in self._here.items() if self._is_gone(self.stays[n], now)]
        for target in gone:
            del self._here[target]

    def _is_gone(self, stay: Stay, now: float) -> bool:
        return (
            stay.deregistered_at is not None
            and stay.deregistered_at + self.deregistration_delay <= now
        )
