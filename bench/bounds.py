"""The bounds on the figures: what we claim, what we would like, and what stands in its way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.results import Row
from bench.simulation import MONTH_RUNS
from bench.strategies import AUTHORITATIVE, OURS, VIGILANCE, WARM_STANDBY, WATCH, Strategy
from bench.world import Kind, World
from target_sync.model import SyncPolicy
from target_sync.reconcile.loop import RunConfig

_WORLD = World()
_LOOK = RunConfig(started_at=0.0, deadline=0.0, watch_until=0.0).iteration_seconds
#: With RDS's TTL (``confirm_window``): the policy's least and one second more than the TTL agree.
CONFIRM_WINDOW = SyncPolicy(port=5432, allowed_networks=()).confirm_seconds
#: A moment is a float, and a second of the clock is not exact to its last digit.
_ROUNDING = 0.001


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure and the most that it may be.

    Attributes:
        figure: What is bounded, for a person.
        measured: The figure.
        limit: The most that it may be.
        claimed: Whether we claim it. Else it is a wish, and ``prevented_by`` says what prevents
            it where it does not hold.
    """

    figure: str
    measured: float
    limit: float
    claimed: bool = True
    prevented_by: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure keeps to it."""
        return self.measured <= self.limit + _ROUNDING


def bounds(rows: Sequence[Row]) -> Iterator[Bound]:
    """Every bound with its figure."""
    by_name = {(row.strategy, row.kind): row for row in rows}

    def row(strategy: Strategy, kind: Kind) -> Row:
        return by_name[strategy.name, kind]

    for kind in Kind:
        yield from _of_the_watch(row(WATCH, kind))
        yield _upper(row(AUTHORITATIVE, kind), "stale p50, an event preceded the flip", 1.5)
        yield _upper(row(VIGILANCE, kind), "stale p99, lost events included", 10.0)
    yield _upper(row(WARM_STANDBY, Kind.INSTANCE), "traffic flows p99", 15.0)
    yield from _of_the_old_writer(row(WATCH, Kind.CLUSTER), row(AUTHORITATIVE, Kind.CLUSTER))
    ours = [row for row in rows if row.strategy in OURS]
    yield Bound("this stack, in every way: missed failovers", sum(r.missed for r in ours), 0)
    yield Bound(
        "this stack, in every way: failovers after which the group changed once it was right",
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
    "wrong server p99, from the first answer with the new address": (
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
    """How long the old writer of a cluster stays a target.

    It leaves at once when both sources name the new one. While the API still names the old one,
    the answer has to last for the confirm window.
    """
    seen = f"{_WORLD.ttl:g} s of cache and {_LOOK:g} s from look to look until it is seen"
    yield _upper(
        watch,
        "wrong server p99, an event preceded the flip",
        CONFIRM_WINDOW,
        prevented_by=f"{seen}; then, while the RDS API still names the old writer, the window",
    )
    yield _upper(
        watch,
        "wrong server p99, an event preceded the flip",
        _WORLD.ttl + _LOOK + CONFIRM_WINDOW,
    )
    yield _upper(
        watch,
        "wrong server p99, lost events included",
        CONFIRM_WINDOW,
        prevented_by=f"the first event comes up to {-_WORLD.flip.low:g} s after the flip, and no"
        " run looks before it but the minute's",
    )
    yield _upper(
        watch,
        "wrong server p99, from the first answer with the new address",
        CONFIRM_WINDOW,
        prevented_by="a second cache that is still stale begins the window anew with each answer",
    )
    yield _upper(
        watch,
        "wrong server p99, from the first answer with the new address",
        _WORLD.ttl + _LOOK + CONFIRM_WINDOW,
    )
    yield _upper(
        authoritative,
        "wrong server p99, from the first answer with the new address",
        CONFIRM_WINDOW,
    )


def _of_the_month(row: Row) -> Iterator[Bound]:
    yield Bound(_title(row, "AWS calls of a quiet month"), row.aws_calls_per_month, MONTH_RUNS)
    yield Bound(_title(row, "DNS queries of a quiet month"), row.dns_queries_per_month, MONTH_RUNS)
