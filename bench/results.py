"""The results of many failovers: percentiles and costs, one row for each strategy and kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from bench.percentiles import Percentiles
from bench.simulation import Costs, Outcome, play, play_quietly
from bench.strategies import STRATEGIES, Strategy
from bench.world import Kind, World, draw

#: One failover in this many is simulated to the end of all its runs, to count their costs.
COUNTED_EVERY = 50
MONTH_MINUTES = 30 * 24 * 60

#: When the name moves, counted from the first event.
FLIPS: Mapping[str, Callable[[float | None], bool]] = {
    "before the event": lambda flip: flip is not None and flip < 0.0,
    "0 to 30 s after it": lambda flip: flip is not None and 0.0 <= flip < 30.0,  # noqa: PLR2004
    "30 to 60 s after it": lambda flip: flip is not None and flip >= 30.0,  # noqa: PLR2004
    "all events lost": lambda flip: flip is None,
}


@dataclass(frozen=True, slots=True)
class Combination:
    """A strategy and a kind of database."""

    strategy: Strategy
    kind: Kind

    @property
    def title(self) -> str:
        """The name of the combination."""
        return f"{self.strategy.name}, {self.kind}"


COMBINATIONS = tuple(
    Combination(strategy, kind)
    for kind in Kind
    for strategy in STRATEGIES
    if kind in strategy.kinds
)


def quiet_costs(combination: Combination, minutes: int) -> Costs:
    """Return the costs of some minutes in which nothing happens."""
    return play_quietly(World(), combination.kind, combination.strategy, minutes)


def play_some(combination: Combination, seed: int, indexes: Iterable[int]) -> Sequence[Outcome]:
    """Simulate the failovers with these indexes, and return their outcomes."""
    world, kind = World(), combination.kind
    return [
        play(
            world,
            draw(world, kind, seed, index),
            combination.strategy,
            to_the_end=index % COUNTED_EVERY == 0,
        )
        for index in indexes
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one strategy and kind: an object of failover.json.

    Attributes:
        failovers: The number of simulated failovers.
        event_before_flip: The number with an event before the flip that was not lost.
        missed: The number that no run followed within 15 minutes.
        changed_later: The number in which the group changed although it was in sync and all
            sources agreed; only failovers simulated to the end are counted.
        removed_desired: The number in which a desired target was removed.
        flaps: The mean number of targets that were removed and registered again.
        most_flaps: The highest number of them in one failover.
        stale_s: From the flip until the new primary stays a target.
        stale_s_by_flip: The same, for each part of ``FLIPS`` with a failover.
        flowing_s: From the moment the new primary listens until the load balancer finds it
            healthy.
        wrong_server_s: After the flip, while new connections could reach the old writer.
        wrong_server_s_since_promotion: The same, after the promotion of the new writer.
        wrong_server_s_since_seen: The same, after a run first observed the new address.
        aws_calls_per_failover: Mean number in addition to the calls of the scheduled runs.
        dns_queries_per_failover: The same for DNS queries.
        waiting_s_per_month: Seconds that the runs of a steady month wait.
    """

    strategy: str
    kind: str
    seed: int
    failovers: int
    event_before_flip: int
    missed: int
    changed_later: int
    removed_desired: int
    flaps: float
    most_flaps: int
    stale_s: Percentiles
    stale_s_event_before_flip: Percentiles
    stale_s_by_flip: Mapping[str, Percentiles]
    flowing_s: Percentiles
    wrong_server_s: Percentiles
    wrong_server_s_event_before_flip: Percentiles
    wrong_server_s_since_promotion: Percentiles
    wrong_server_s_since_seen: Percentiles
    aws_calls_per_failover: float
    dns_queries_per_failover: float
    aws_calls_per_month: int
    dns_queries_per_month: int
    waiting_s_per_month: float

    def to_document(self) -> Mapping[str, object]:
        """The row as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the row of an object of failover.json."""
        by_flip = document["stale_s_by_flip"]
        percentiles = {
            name: Percentiles(**value)
            for name, value in document.items()
            if isinstance(value, dict) and value is not by_flip
        }
        flips = {name: Percentiles(**value) for name, value in by_flip.items()}
        return cls(**{**document, **percentiles, "stale_s_by_flip": flips})


def make_row(
    combination: Combination, seed: int, outcomes: Sequence[Outcome], quiet: Costs, minutes: int
) -> Row:
    """Return the row of a strategy and kind.

    Args:
        combination: The strategy and the kind.
        seed: The seed.
        outcomes: The outcomes of the failovers, in order.
        quiet: The costs of some minutes in which nothing happens.
        minutes: The number of these minutes.
    """
    announced = [o for o in outcomes if o.announced]
    counted = [o.costs for o in outcomes if o.costs is not None]
    month = MONTH_MINUTES / minutes

    def beside(count: Callable[[Costs], int]) -> float:
        every_run = count(quiet) / max(1, quiet.scheduled)
        extra = sum(count(costs) - every_run * costs.scheduled for costs in counted)
        return round(extra / len(counted), 1)

    return Row(
        strategy=combination.strategy.name,
        kind=combination.kind,
        seed=seed,
        failovers=len(outcomes),
        event_before_flip=len(announced),
        missed=sum(o.missed for o in outcomes),
        changed_later=sum(o.changed_later for o in outcomes),
        removed_desired=sum(o.removals > 0 for o in outcomes),
        flaps=round(sum(o.flaps for o in outcomes) / len(outcomes), 3),
        most_flaps=max(o.flaps for o in outcomes),
        stale_s=Percentiles.of(o.stale for o in outcomes),
        stale_s_event_before_flip=Percentiles.of(o.stale for o in announced),
        stale_s_by_flip={
            name: Percentiles.of(o.stale for o in outcomes if within(o.flip))
            for name, within in FLIPS.items()
            if any(within(o.flip) for o in outcomes)
        },
        flowing_s=Percentiles.of(o.flowing for o in outcomes),
        wrong_server_s=Percentiles.of(o.wrong for o in outcomes),
        wrong_server_s_event_before_flip=Percentiles.of(o.wrong for o in announced),
        wrong_server_s_since_promotion=Percentiles.of(o.wrong_since_promotion for o in outcomes),
        wrong_server_s_since_seen=Percentiles.of(o.wrong_since_seen for o in outcomes),
        aws_calls_per_failover=beside(lambda costs: costs.aws_calls),
        dns_queries_per_failover=beside(lambda costs: costs.dns_queries),
        aws_calls_per_month=round(quiet.aws_calls * month),
        dns_queries_per_month=round(quiet.dns_queries * month),
        waiting_s_per_month=round(quiet.waiting * month, 1),
    )
