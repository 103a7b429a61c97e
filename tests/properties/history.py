"""A history as a value: what the world will do to the runs, and when they start.

Times are seconds from the beginning of the history. Until ``calm_at`` everything may go wrong;
from then on nothing does any more.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Generic, TypeAlias, TypeVar

from target_sync.model import IPAddress, LookupFailure, Target
from target_sync.reconcile.triggers import Trigger, TriggerKind
from tests.support.scenario import PORT

Answer: TypeAlias = frozenset[IPAddress] | LookupFailure
Value = TypeVar("Value")
Said_co = TypeVar("Said_co", covariant=True)

PUBLIC = ip_address("52.16.1.9")
LOOPBACK = ip_address("127.0.0.1")
OTHER_FAMILY = ip_address("2001:db8::9")
WRONG_PORT = PORT + 1

TRIGGERS = {
    "event": Trigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0013"),
    "completed": Trigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0049"),
    "schedule": Trigger(kind=TriggerKind.SCHEDULE),
    "manual": Trigger(kind=TriggerKind.MANUAL, wait_for_healthy=False),
    "manual, waits": Trigger(kind=TriggerKind.MANUAL),
    "dry run": Trigger(kind=TriggerKind.MANUAL, dry_run=True),
}


@dataclass(frozen=True, slots=True)
class Timeline(Generic[Said_co]):
    """What is so from when on; the first value holds from the beginning."""

    first: Said_co
    changes: tuple[tuple[float, Said_co], ...] = ()

    def at(self, moment: float) -> Said_co:
        index = bisect_right(self.changes, moment, key=lambda change: change[0])
        return self.changes[index - 1][1] if index else self.first


def lasting(*spans: tuple[float, Value]) -> Timeline[Value]:
    """A timeline from how long each value holds; the last one holds for good."""
    changes, at = [], 0.0
    for seconds, value in spans:
        changes.append((at, value))
        at += seconds
    return Timeline(changes[0][1], tuple(changes[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Anything:
    """Resolvers and a second source that answer whatever they like.

    Attributes:
        resolvers: What each resolver answers.
        ttl: The TTL of every answer.
        second: What the second source says, None where it is silent; None if there is no such
            source.
    """

    resolvers: tuple[Timeline[Answer], ...]
    ttl: int | None
    second: Timeline[frozenset[IPAddress] | None] | None = None

    def answer(self, resolver: int, at: float) -> tuple[Answer, int | None]:
        return self.resolvers[resolver % len(self.resolvers)].at(at), self.ttl

    def said_by_second(self, at: float) -> frozenset[IPAddress] | None:
        return self.second.at(at) if self.second else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """A name behind caches that keep to its TTL, and a second source that may lag or lead.

    Attributes:
        name: What the name's own servers answer.
        ttl: The record's TTL. A cache says what is left of it, in whole seconds.
        phases: When each cache first fetched the record. Others keep it warm, so that an answer
            may be as old as the TTL allows at any moment.
        lag: By how many seconds the second source is behind the name; negative if it is ahead.
            None if there is no such source.
        silences: From when to when the second source says nothing.
    """

    name: Timeline[frozenset[IPAddress]]
    ttl: int
    phases: tuple[float, ...]
    lag: float | None = None
    silences: tuple[tuple[float, float], ...] = ()

    @property
    def second(self) -> float | None:
        return self.lag

    def answer(self, resolver: int, at: float) -> tuple[Answer, int | None]:
        if not self.ttl:
            return self.name.at(at), 0
        age = (at - self.phases[resolver % len(self.phases)]) % self.ttl
        return self.name.at(at - age), int(self.ttl - age)

    def said_by_second(self, at: float) -> frozenset[IPAddress] | None:
        if self.lag is None or any(since <= at < until for since, until in self.silences):
            return None
        return self.name.at(at - self.lag)


class FaultKind(StrEnum):
    """What becomes of one call."""

    #: It fails and has done nothing.
    THROTTLED = "throttled"
    #: It was done, but the caller hears of a failure.
    LOST_REPLY = "lost reply"
    #: It fails after a long time.
    TIMED_OUT = "timed out"
    #: It works, after a long time.
    SLOW = "slow"
    #: It fails and always would.
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of the nth call of a run, over all its ports."""

    run: int
    call: int
    kind: FaultKind


@dataclass(frozen=True, slots=True)
class Pause:
    """For how long a run is frozen before its nth step; None: it dies there."""

    run: int
    step: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """Somebody else registers or deregisters a target."""

    at: float
    target: Target
    puts: bool


@dataclass(frozen=True, slots=True)
class Start:
    """A run: when it starts, why, with how much time, and which resolvers it asks by turns."""

    at: float
    trigger: str
    remaining_seconds: float
    resolvers: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Held:
    """What may be found out about the database's own addresses; None: it cannot be."""

    confirmed: frozenset[IPAddress] | None


NOBODY = Timeline(Held(frozenset()))


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that decides what happens; playing it twice gives the same.

    Attributes:
        registered: The targets at the beginning, registered long ago.
        listening: Which addresses accept connections.
        held: What a check for a standby finds.
        call_seconds: How long each call takes.
        calm_at: From when on nothing goes wrong any more.
        right: What every source says from then on.
        schedule_phase: How long after that the next scheduled run starts.
    """

    sources: Anything | Truth
    registered: tuple[Target, ...]
    runs: tuple[Start, ...]
    calm_at: float
    right: frozenset[IPAddress]
    listening: Timeline[frozenset[IPAddress]]
    held: Timeline[Held] = NOBODY
    faults: tuple[Fault, ...] = ()
    pauses: tuple[Pause, ...] = ()
    drifts: tuple[Drift, ...] = ()
    serving_standby: bool = False
    max_targets: int = 15
    watch_seconds: float = 20.0
    dns_poll_seconds: float = 0.0
    registration_seconds: float = 0.0
    draining_seconds: float = 0.0
    call_seconds: float = 0.0
    schedule_phase: float = 1.0


def targets(*addresses: IPAddress, port: int = PORT) -> tuple[Target, ...]:
    return tuple(Target(address, port) for address in addresses)
