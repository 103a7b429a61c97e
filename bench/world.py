"""The simulated world: the values of one failover, and the spans from which they are drawn.

Moments are seconds of the simulation's clock. The first RDS event occurs at ``FIRST_EVENT``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

#: Leaves room for everything that happens before the first event.
FIRST_EVENT = 1_000.0


class Kind(StrEnum):
    """The kind of database that fails over."""

    INSTANCE = "instance"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Span:
    """A span of seconds, with a uniform distribution."""

    low: float
    high: float

    def draw(self, random: Random) -> float:
        """Draw a number of seconds."""
        return random.uniform(self.low, self.high)

    def __str__(self) -> str:
        return f"{_signed(self.low)}…{_signed(self.high)} s"


def _signed(seconds: float) -> str:
    return f"{seconds:g}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The values from which a failover is drawn. ``SOURCES`` describes each of them."""

    flip: Span = Span(-30.0, 60.0)
    listens_before_flip: Span = Span(0.0, 10.0)
    dead_before_that: Span = Span(10.0, 40.0)
    api_after_flip: Span = Span(-5.0, 10.0)
    completed_after: Span = Span(3.0, 42.0)
    delivery: Span = Span(0.0, 2.0)
    lost_events: float = 0.01
    ttl: float = 5.0
    two_caches: float = 0.5
    registration: Span = Span(90.0, 180.0)
    deregistration: Span = Span(0.0, 120.0)
    rule: Span = Span(0.5, 5.0)
    interval: float = 5.0
    schedule: float = 60.0
    start: Span = Span(0.0, 1.0)


_AN_ASSUMPTION = "assumption"
_A_RULE = "set for this benchmark; AWS documents no bound"
_MEASURED = "forced failovers of a Multi-AZ instance, measured by others on AWS"


class Described(NamedTuple):
    """What a value of the world means, and its source."""

    meaning: str
    source: str


SOURCES: Mapping[str, Described] = {
    "flip": Described("the name moves, counted from the first event", _A_RULE),
    "listens_before_flip": Described(
        "seconds before the flip from which the new primary accepts connections and is the writer",
        _AN_ASSUMPTION,
    ),
    "dead_before_that": Described(
        "instance: seconds before the new primary listens at which the port of the old one closes;"
        " at the first event if that is earlier",
        f"17 to 39 s without writes in {_MEASURED}",
    ),
    "api_after_flip": Described(
        "cluster: when the RDS API names the new writer, counted from the flip; not before its"
        " promotion",
        _AN_ASSUMPTION,
    ),
    "completed_after": Described(
        "the event that reports the failover complete, counted from the flip; never before the"
        " first event",
        _MEASURED,
    ),
    "delivery": Described(
        "from an event until its run starts, cold start included",
        f"{_AN_ASSUMPTION}; AWS says near real time",
    ),
    "lost_events": Described(
        "share of the failovers that lose every event",
        f"{_A_RULE}; losing all of them is the worst case",
    ),
    "ttl": Described(
        "seconds that a resolver caches an answer; other clients keep the cache filled, so it"
        " refreshes at this interval, at a random phase",
        "TTL of RDS's names (RDS user guide, switching a blue/green deployment)",
    ),
    "two_caches": Described(
        "share of the failovers with two caches out of phase, each query to one of them at random;"
        " the others have one",
        _AN_ASSUMPTION,
    ),
    "registration": Described(
        "from RegisterTargets until the first health check",
        "seen by others (kubernetes-sigs/aws-load-balancer-controller#1834); AWS says a few"
        " minutes",
    ),
    "deregistration": Described(
        "from DeregisterTargets until no new connection reaches the target",
        "up to 120 s seen by others (aws/containers-roadmap#470); AWS says a few minutes",
    ),
    "rule": Described(
        "from a change of an outbound rule until it takes effect",
        f"{_AN_ASSUMPTION}; AWS says as quickly as possible, with a small delay",
    ),
    "interval": Described(
        "seconds between two health checks, at a random phase; two equal results change the state",
        "template.yaml (HealthCheckIntervalSeconds, HealthyThresholdCount)",
    ),
    "schedule": Described(
        "seconds between two scheduled runs, at a random phase", "template.yaml (EveryMinute)"
    ),
    "start": Described("from when a scheduled run is due until it starts", _AN_ASSUMPTION),
}


def described(world: World) -> Iterator[tuple[str, str, str]]:
    """Yield each value of the world, its meaning, and its source."""
    for name, (meaning, source) in SOURCES.items():
        value = getattr(world, name)
        yield str(value) if isinstance(value, Span) else f"{value:g}", meaning, source


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An RDS event: when it occurs, when its run starts, and whether it is the last one."""

    occurs: float
    arrives: float
    completes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """One failover, as moments.

    Attributes:
        kind: The kind of database.
        dies: When the old primary's port closes.
        listens: When the new primary listens and writes.
        flip: When the name moves.
        api: When the RDS API names the new writer.
        events: The events that are not lost, in order.
        caches: For each DNS cache, when it first gives the new address.
        schedule: When the first scheduled run is due, before all other moments.
        old_checks_from: When the health checks of the old primary started.
        new_checks_from: When the health checks of the new primary started, if it was a target.
        chances: Seed for everything that depends on the strategy: the cache that a query meets,
            the delay of a scheduled run, the seconds of a registration.
    """

    kind: Kind
    dies: float
    listens: float
    flip: float
    api: float
    events: tuple[Event, ...]
    caches: tuple[float, ...]
    schedule: float
    old_checks_from: float
    new_checks_from: float
    chances: int

    @property
    def settled(self) -> float:
        """The moment from which every source gives the new address."""
        return max(self.flip, self.api, *self.caches)


def draw(world: World, kind: Kind, seed: int, index: int) -> Failover:
    """Draw one failover. The same seed and index give the same failover in every process."""
    # Seeded by text, which Python hashes in the same way everywhere (random.seed, version 2).
    random = Random(f"{seed}/{kind}/{index}")  # noqa: S311 - a simulation
    flip = FIRST_EVENT + world.flip.draw(random)
    listens = flip - world.listens_before_flip.draw(random)
    dies = min(FIRST_EVENT, listens - world.dead_before_that.draw(random))
    api = max(listens, flip + world.api_after_flip.draw(random))
    completed = max(FIRST_EVENT, flip + world.completed_after.draw(random))
    events = tuple(
        Event(occurs=at, arrives=at + world.delivery.draw(random), completes=completes)
        for at, completes in ((FIRST_EVENT, False), (completed, True))
    )
    lost = random.random() < world.lost_events
    phases = [random.uniform(0.0, world.ttl) for _ in range(2)]
    caches = phases if random.random() < world.two_caches else phases[:1]
    # A scheduled run is active, or polls, before the name or the API change.
    earliest = min(dies, flip, FIRST_EVENT) - world.schedule
    return Failover(
        kind=kind,
        dies=dies,
        listens=listens,
        flip=flip,
        api=api,
        events=() if lost else events,
        caches=tuple(flip + phase for phase in caches),
        schedule=earliest + random.uniform(0.0, world.schedule),
        old_checks_from=earliest - 100.0 + random.uniform(0.0, world.interval),
        new_checks_from=earliest - 100.0 + random.uniform(0.0, world.interval),
        chances=random.getrandbits(64),
    )
