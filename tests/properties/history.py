"""A history as a value: the runs, and everything that happens around them.

Times are seconds from the beginning of the history. Faults occur until ``faults_end_at``.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Generic, TypeAlias, TypeVar

from target_sync.model import Alias, IPAddress, LookupFailure, SwitchState, Target
from target_sync.reconcile.triggers import SyncTrigger
from target_sync.triggers import TriggerKind
from tests.support.scenario import PORT

Answer: TypeAlias = frozenset[IPAddress] | LookupFailure
Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)

PUBLIC = ip_address("52.16.1.9")
LOOPBACK = ip_address("127.0.0.1")
OTHER_FAMILY = ip_address("2001:db8::9")
WRONG_PORT = PORT + 1

TRIGGERS = {
    "event": SyncTrigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0013"),
    "completed": SyncTrigger(kind=TriggerKind.RDS_EVENT, event_id="RDS-EVENT-0049"),
    "schedule": SyncTrigger(kind=TriggerKind.SCHEDULE),
    "manual": SyncTrigger(kind=TriggerKind.MANUAL, wait_for_healthy=False),
    "manual, waits": SyncTrigger(kind=TriggerKind.MANUAL),
    "dry run": SyncTrigger(kind=TriggerKind.MANUAL, dry_run=True),
}


@dataclass(frozen=True, slots=True)
class Timeline(Generic[Value_co]):
    """A value that changes at given times."""

    first: Value_co
    changes: tuple[tuple[float, Value_co], ...] = ()

    def at(self, time: float) -> Value_co:
        index = bisect_right(self.changes, time, key=lambda change: change[0])
        return self.changes[index - 1][1] if index else self.first


def lasting(*spans: tuple[float, Value]) -> Timeline[Value]:
    """Return a timeline from the duration of each value; the last one does not end."""
    changes, at = [], 0.0
    for seconds, value in spans:
        changes.append((at, value))
        at += seconds
    return Timeline(changes[0][1], tuple(changes[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbitrarySources:
    """Resolvers and a second source with arbitrary answers.

    Attributes:
        resolvers: The answers of each resolver.
        ttl: The TTL of the record. An answer has the rest of it, in whole seconds.
        second: The addresses of the second source, None while it does not reply; None if there is
            no second source.
        aliases: The aliases in front of the addresses.
    """

    resolvers: tuple[Timeline[Answer], ...]
    ttl: int | None
    second: Timeline[frozenset[IPAddress] | None] | None = None
    aliases: Timeline[tuple[Alias, ...]] = Timeline(())

    @property
    def longest_ttl(self) -> int:
        aliases = [self.aliases.first, *(value for _, value in self.aliases.changes)]
        return max(self.ttl or 0, *(alias.ttl for value in aliases for alias in value), 0)

    def aliases_of(self, _resolver: int, at: float) -> tuple[Alias, ...]:
        return self.aliases.at(at)

    def answer_of(self, resolver: int, at: float) -> tuple[Answer, int | None]:
        rest = self.ttl and self.ttl - int(at) % self.ttl
        return self.resolvers[resolver % len(self.resolvers)].at(at), rest

    def second_at(self, at: float) -> frozenset[IPAddress] | None:
        return self.second.at(at) if self.second else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedAlias:
    """An alias behind the caches.

    Attributes:
        ttl: Its TTL. It is longer than that of the addresses.
        moves: Whether each change of the name is a change of the alias; otherwise it never changes.
    """

    ttl: int
    moves: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedSources:
    """A name behind caches that respect its TTL, and a second source that may lag or lead.

    Attributes:
        name: The answers of the authoritative servers.
        ttl: The TTL of the record. A cache returns the rest of it, in whole seconds.
        phases: When each cache first fetched the record. It fetches it again whenever the TTL has
            expired, so an answer may be as old as the TTL at any time.
        lag: The delay of the second source in seconds, negative if it is early; None if there is
            no second source.
        silences: The start and the end of each time without a reply of the second source.
        alias: The alias that the name is; None if it is none.
    """

    name: Timeline[frozenset[IPAddress]]
    ttl: int
    phases: tuple[float, ...]
    lag: float | None = None
    silences: tuple[tuple[float, float], ...] = ()
    alias: CachedAlias | None = None

    @property
    def second(self) -> float | None:
        return self.lag

    @property
    def longest_ttl(self) -> int:
        return max(self.ttl, self.alias.ttl if self.alias else 0)

    def aliases_of(self, resolver: int, at: float) -> tuple[Alias, ...]:
        if self.alias is None:
            return ()
        age = self._age(resolver, at, self.alias.ttl)
        changes = [n for n, (since, _) in enumerate(self.name.changes) if since <= at - age]
        host = f"server-{len(changes) if self.alias.moves else 0}"
        return (Alias("db.example.com.", host, int(self.alias.ttl - age)),)

    def answer_of(self, resolver: int, at: float) -> tuple[Answer, int | None]:
        if not self.ttl:
            return self.name.at(at), 0
        age = self._age(resolver, at, self.ttl)
        if self.alias is not None and self.alias.moves:
            return self.name.at(at - self._age(resolver, at, self.alias.ttl)), int(self.ttl - age)
        return self.name.at(at - age), int(self.ttl - age)

    def _age(self, resolver: int, at: float, ttl: int) -> float:
        return (at - self.phases[resolver % len(self.phases)]) % ttl

    def second_at(self, at: float) -> frozenset[IPAddress] | None:
        if self.lag is None or any(since <= at < until for since, until in self.silences):
            return None
        return self.name.at(at - self.lag)


class FaultKind(StrEnum):
    """What happens to one call."""

    #: It fails without effect.
    THROTTLED = "throttled"
    #: It takes effect, but the caller gets an error.
    LOST_REPLY = "lost reply"
    #: It fails after a long time.
    TIMED_OUT = "timed out"
    #: It succeeds after a long time.
    SLOW = "slow"
    #: It fails, and a retry cannot help.
    DENIED = "denied"
    #: A change succeeds without effect.
    IGNORED = "ignored"
    #: A registration succeeds, and takes effect some seconds later.
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the nth call of a run, counted over all its ports."""

    run: int
    call: int
    kind: FaultKind


@dataclass(frozen=True, slots=True)
class Pause:
    """How long a run is frozen before its nth step; None if it is killed there."""

    run: int
    step: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A registration or deregistration outside the runs."""

    at: float
    target: Target
    registers: bool


@dataclass(frozen=True, slots=True)
class Start:
    """A run: its start, its trigger, its time, and the resolvers that it queries in turn."""

    at: float
    trigger: str
    remaining_seconds: float
    resolvers: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Owned:
    """The database's own addresses as a check reports them; None if the check fails."""

    confirmed: frozenset[IPAddress] | None


NONE_OWNED = Timeline(Owned(frozenset()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Outbound rules that the reconciler owns. At first the registered targets are open.

    Attributes:
        state: Its state at first.
        warm_targets: The highest number of warm targets.
        propagation_seconds: The time until a changed rule takes effect.
        candidates: The addresses that the database may move to; None if no API lists them.
        wide_from: When another security group begins to allow everything; None for never.
    """

    state: SwitchState
    warm_targets: int
    propagation_seconds: float
    candidates: Timeline[Owned] | None
    wide_from: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The complete input of a replay, which is deterministic.

    Attributes:
        registered: The targets at the beginning, registered long before.
        listening: The addresses that accept connections.
        owned: The result of a standby check.
        switch: The outbound rules; None if the reconciler owns none.
        call_seconds: The duration of each call.
        faults_end_at: When the faults and changes end.
        final_addresses: The addresses of every source from then on.
        schedule_phase: The time from then until the next scheduled run.
    """

    sources: ArbitrarySources | CachedSources
    registered: tuple[Target, ...]
    runs: tuple[Start, ...]
    faults_end_at: float
    final_addresses: frozenset[IPAddress]
    listening: Timeline[frozenset[IPAddress]]
    owned: Timeline[Owned] = NONE_OWNED
    faults: tuple[Fault, ...] = ()
    pauses: tuple[Pause, ...] = ()
    drifts: tuple[Drift, ...] = ()
    serving_standby: bool = False
    switch: Switch | None = None
    max_targets: int = 15
    watch_seconds: float = 20.0
    dns_poll_seconds: float = 0.0
    registration_seconds: float = 0.0
    draining_seconds: float = 0.0
    call_seconds: float = 0.0
    schedule_phase: float = 1.0


def targets(*addresses: IPAddress, port: int = PORT) -> tuple[Target, ...]:
    return tuple(Target(address, port) for address in addresses)
