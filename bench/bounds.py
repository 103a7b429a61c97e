"""The bounds on the figures: claims, goals, and the reason why a goal does not hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.results import Row
from bench.simulation import MONTH_RUNS
from bench.strategies import (
    AUTHORITATIVE,
    CONTINUOUS_POLLING,
    OURS,
    SERVING_STANDBY,
    WATCH,
    Strategy,
)
from bench.world import Kind, World
from target_sync.model import SyncPolicy
from target_sync.reconcile.loop import RunConfig

_WORLD = World()
_ITERATION = RunConfig(started_at=0.0, deadline=0.0, watch_until=0.0).iteration_seconds
#: For RDS's TTL the minimum of the policy and the TTL plus one second are equal.
CONFIRM_WINDOW = SyncPolicy(port=5432, allowed_networks=()).confirm_seconds
#: Moments are floats, so sums of seconds are not exact to the last digit.
_ROUNDING = 0.001


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure and its limit.

    Attributes:
        figure: The name of the figure.
        measured: Its value.
        limit: Its highest allowed value.
        claimed: Whether it is a claim. Else it is a goal, and ``prevented_by`` gives the reason
            where it does not hold.
    """

    figure: str
    measured: float
    limit: float
    claimed: bool = True
    prevented_by: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure is within its limit."""
        return self.measured <= self.limit + _ROUNDING


def bounds(rows: Sequence[Row]) -> Iterator[Bound]:
    """Yield every bound with its figure."""
    by_name = {(row.strategy, row.kind): row for row in rows}

    def row(strategy: Strategy, kind: Kind) -> Row:
        return by_name[strategy.name, kind]

    for kind in Kind:
        yield from _of_the_watch(row(WATCH, kind))
        yield _upper(row(AUTHORITATIVE, kind), "stale p50, an event preceded the flip", 1.5)
        yield _upper(row(CONTINUOUS_POLLING, kind), "stale p99, lost events included", 10.0)
    yield _upper(row(SERVING_STANDBY, Kind.INSTANCE), "traffic flows p99", 15.0)
    yield from _of_the_old_writer(row(WATCH, Kind.CLUSTER), row(AUTHORITATIVE, Kind.CLUSTER))
    ours = [row for row in rows if row.strategy in OURS]
    yield Bound("all strategies of this stack: missed failovers", sum(r.missed for r in ours), 0)
    yield Bound(
        "all strategies of this stack: failovers after which an in-sync group changed again",
        sum(r.changed_later for r in ours),
        0,
    )
    yield from _of_the_month(row(WATCH, Kind.INSTANCE))


_FIGURES: Mapping[str, Callable[[Row], float]] = {
    "stale p50, an event preceded the flip": lambda row: row.stale_s_event_before_flip.p50,
    "stale p99, an event preceded the flip": lambda row: row.stale_s_event_before_flip.p99,
    "stale p99, lost events included": lambda row: row.stale_s.p99,
    "traffic flows p99": lambda row: row.flowing_s.p99,
    "wrong server p99, an event preceded the flip": (
        lambda row: row.wrong_server_s_event_before_flip.p99
    ),
    "wrong server p99, lost events included": lambda row: row.wrong_server_s.p99,
    "wrong server p99, from the first observation of the new address": (
        lambda row: row.wrong_server_s_since_seen.p99
    ),
}


def _title(row: Row, figure: str) -> str:
    return f"{row.kind}, {row.strategy}: {figure}"


def _upper(row: Row, figure: str, limit: float, prevented_by: str = "") -> Bound:
    return Bound(_title(row, figure), _FIGURES[figure](row), limit, not prevented_by, prevented_by)


def _of_the_watch(row: Row) -> Iterator[Bound]:
    yield _upper(row, "stale p50, an event preceded the flip", 4.5)
    yield _upper(row, "stale p99, an event preceded the flip", 6.0)
    yield _upper(row, "stale p99, lost events included", 31.0)


def _of_the_old_writer(watch: Row, authoritative: Row) -> Iterator[Bound]:
    """Yield the bounds on how long the old writer of a cluster stays a target.

    A run removes it at once when both sources name the new writer. While the API names the old
    one, the observation must last for the confirm window.
    """
    detection = f"{_WORLD.ttl:g} s of cache and {_ITERATION:g} s between iterations"
    yield _upper(
        watch,
        "wrong server p99, an event preceded the flip",
        CONFIRM_WINDOW,
        prevented_by=f"{detection}; then the confirm window, while the RDS API names the old"
        " writer",
    )
    yield _upper(
        watch,
        "wrong server p99, an event preceded the flip",
        _WORLD.ttl + _ITERATION + CONFIRM_WINDOW,
    )
    yield _upper(
        watch,
        "wrong server p99, lost events included",
        CONFIRM_WINDOW,
        prevented_by=f"the first event arrives up to {-_WORLD.flip.low:g} s after the flip; before"
        " it only the scheduled runs observe the name",
    )
    yield _upper(
        watch,
        "wrong server p99, from the first observation of the new address",
        CONFIRM_WINDOW,
        prevented_by="each stale answer of a second cache restarts the confirm window",
    )
    yield _upper(
        watch,
        "wrong server p99, from the first observation of the new address",
        _WORLD.ttl + _ITERATION + CONFIRM_WINDOW,
    )
    yield _upper(
        authoritative,
        "wrong server p99, from the first observation of the new address",
        CONFIRM_WINDOW,
    )


def _of_the_month(row: Row) -> Iterator[Bound]:
    yield Bound(_title(row, "AWS calls of a steady month"), row.aws_calls_per_month, MONTH_RUNS)
    yield Bound(_title(row, "DNS queries of a steady month"), row.dns_queries_per_month, MONTH_RUNS)
