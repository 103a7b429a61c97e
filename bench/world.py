"""The world in which the strategies are compared: what is drawn for one failover, and from what.

Moments are seconds of the clock that the simulation moves. The first event of RDS is at
``FIRST_EVENT``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

#: Far enough from zero for everything that happens before the first event.
FIRST_EVENT = 1_000.0


class Kind(StrEnum):
    """Which kind of database fails over."""

    INSTANCE = "instance"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Span:
    """A number of seconds, drawn evenly from a span."""

    low: float
    high: float

    def draw(self, random: Random) -> float:
        """Draw one."""
        return random.uniform(self.low, self.high)

    def __str__(self) -> str:
        return f"{_signed(self.low)}…{_signed(self.high)} s"


def _signed(seconds: float) -> str:
    return f"{seconds:g}".replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a failover is drawn from; ``SOURCES`` says what each value is and where it is from."""

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
    interval: float = 5.0
    schedule: float = 60.0
    start: Span = Span(0.0, 1.0)


_AN_ASSUMPTION = "assumption"
_A_RULE = "set for this benchmark; AWS documents no bound"
_MEASURED = "forced failovers of a Multi-AZ instance, measured by others on AWS"


class Told(NamedTuple):
    """What the page tells of a value of the world: what it is, and where it is from."""

    meaning: str
    source: str


SOURCES: Mapping[str, Told] = {
    "flip": Told("the name moves, counted from the first event", _A_RULE),
    "listens_before_flip": Told(
        "so long before the name moves the new primary accepts connections and is the writer",
        _AN_ASSUMPTION,
    ),
    "dead_before_that": Told(
        "instance: so long before the new primary listens the old one's port closes, or at the"
        " first event if that is earlier",
        f"17 to 39 s without writes in {_MEASURED}",
    ),
    "api_after_flip": Told(
        "cluster: the RDS API names the new writer, counted from the flip, but not before it is"
        " one",
        _AN_ASSUMPTION,
    ),
    "completed_after": Told(
        "the event that says the failover is complete, counted from the flip; never before the"
        " first event",
        _MEASURED,
    ),
    "delivery": Told(
        "from an event until its run begins, cold start included",
        f"{_AN_ASSUMPTION}; AWS says near real time",
    ),
    "lost_events": Told(
        "share of the failovers of which every event is lost",
        f"{_A_RULE}; all of a failover together is the harsh case",
    ),
    "ttl": Told(
        "seconds for which a resolver's cache holds an answer; others keep it filled all the time,"
        " so it asks anew every so often, at a random phase",
        "TTL of RDS's names (RDS user guide, switching a blue/green deployment)",
    ),
    "two_caches": Told(
        "share of the failovers with two caches out of phase, each query to either by chance;"
        " else there is one",
        _AN_ASSUMPTION,
    ),
    "registration": Told(
        "from RegisterTargets until the first health check, for each registration",
        "seen by others (kubernetes-sigs/aws-load-balancer-controller#1834); AWS says a few"
        " minutes",
    ),
    "interval": Told(
        "seconds between two health checks, at a random phase; two equal ones turn a state",
        "template.yaml (HealthCheckIntervalSeconds, HealthyThresholdCount)",
    ),
    "schedule": Told(
        "seconds between two scheduled runs, at a random phase",
        "template.yaml (EveryMinute)",
    ),
    "start": Told(
        "from when a scheduled run is due until it begins, each time anew",
        _AN_ASSUMPTION,
    ),
}


def described(world: World) -> Iterator[tuple[str, str, str]]:
    """Each value of the world, what it is, and where it is from."""
    for name, (meaning, source) in SOURCES.items():
        value = getattr(world, name)
        yield str(value) if isinstance(value, Span) else f"{value:g}", meaning, source


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of RDS: when it occurred, when its run begins, and whether it is the last one."""

    occurs: float
    arrives: float
    completes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """One failover: what happens when.

    Attributes:
        kind: Of what.
        dies: When the old primary's port closes.
        listens: When the new primary listens and writes.
        flip: When the name moves.
        api: When the RDS API names the new writer.
        events: The events that are not lost, in order.
        caches: For each cache of a resolver, when it learns of the flip.
        schedule: When a scheduled run is due for the first time, long before all that.
        old_checks_from: When the checks of the old primary began.
        new_checks_from: When those of the new one did, if it was a target before.
        chances: Seed of everything that depends on what a strategy does: which cache a query
            meets, how late a scheduled run begins, how long a registration takes.
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
    def announced(self) -> bool:
        """Whether an event that was not lost occurred before the name moved."""
        return any(event.occurs <= self.flip for event in self.events)

    @property
    def settled(self) -> float:
        """From when on everybody gives the new answer."""
        return max(self.flip, self.api, *self.caches)


def draw(world: World, kind: Kind, seed: int, index: int) -> Failover:
    """Draw one failover: the same one for the same seed and index, in whatever process."""
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
    # A scheduled run is under way, or keeps its vigil, before the name or the API move.
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
