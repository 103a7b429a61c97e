"""The page and the figure of ``make bench``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.chart import Bar, Panel, draw_chart
from bench.claims import claim_rows
from bench.failover_claims import claims
from bench.percentiles import Percentiles
from bench.render import render
from bench.results import COUNTED_EVERY, FLIPS, Row
from bench.simulation import MISSED_SECONDS
from bench.strategies import (
    DEFAULT,
    NO_POLLS,
    NO_STANDBY,
    OURS,
    PLAIN_LOOPS,
    POLLS,
    SERVING_STANDBY,
    STRATEGIES,
)
from bench.world import Kind, World, described
from cost.model import Inputs, stacks, total
from cost.prices import load_prices

#: The number of failovers of the committed page.
FAILOVERS = 100_000
#: Sizes of the function for which the page states the price.
_MEMORY_MB = (128, 256)
_RIVALS = [strategy.name for strategy in (*PLAIN_LOOPS, DEFAULT, POLLS[-1])]
_TICKS = {0.3: "\N{LESS-THAN OR EQUAL TO} 0.3 s"} | {
    seconds: f"{seconds:g} s" for seconds in (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 900.0)
}
_PANELS: Sequence[tuple[str, Kind, Callable[[Row], Percentiles]]] = (
    (
        "Instance: from the flip of the name until the new primary is a target",
        Kind.INSTANCE,
        lambda row: row.stale_s,
    ),
    (
        "Instance: from the moment the new primary listens until traffic flows to it",
        Kind.INSTANCE,
        lambda row: row.flowing_s,
    ),
    (
        "Cluster: after the flip, while new connections could reach the old writer",
        Kind.CLUSTER,
        lambda row: row.wrong_server_s,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page shows."""

    seed: int
    failovers: int
    command: str
    date: str
    rows: Sequence[Row]

    def row(self, strategy: str, kind: Kind) -> Row:
        """Return the row of a strategy and a kind."""
        return next(r for r in self.rows if (r.strategy, r.kind) == (strategy, kind))


def to_markdown(report: Report) -> str:
    """Return the page."""
    return render(
        "failover.md",
        report=report,
        full=FAILOVERS,
        strategies=STRATEGIES,
        kinds=Kind,
        seconds=_seconds,
        flips=FLIPS,
        rivals=_RIVALS,
        compared=_compared,
        stack=report.row(DEFAULT.name, Kind.INSTANCE),
        standby=report.row(SERVING_STANDBY.name, Kind.INSTANCE),
        cold=report.row(NO_STANDBY.name, Kind.INSTANCE),
        missed_seconds=MISSED_SECONDS,
        counted_every=COUNTED_EVERY,
        claims=claim_rows(claims(report.rows)),
        world=described(World()),
        gains=_gains(report),
    )


def draw_figure(report: Report) -> str:
    """Return p50, p99 and the maximum of each strategy as SVG."""
    return draw_chart(
        f"{report.failovers:,} simulated failovers each, seed {report.seed}: p50 · p99 · maximum",
        [
            Panel(
                title,
                [_bar(row, figure(row)) for row in report.rows if row.kind == kind],
                least=min(_TICKS),
                ticks=_TICKS,
            )
            for title, kind, figure in _PANELS
        ],
    )


def _bar(row: Row, figure: Percentiles) -> Bar:
    values = (figure.p50, figure.p99, figure.max)
    return Bar(row.strategy, values, " · ".join(map(_second, values)), row.strategy in OURS)


def _second(value: float) -> str:
    return "never" if value >= MISSED_SECONDS else f"{value:.1f} s"


def _seconds(figure: Percentiles | None, names: str = "p50 p90 p99 max") -> str:
    if figure is None:
        return ""
    return " / ".join(_second(getattr(figure, name)).removesuffix(" s") for name in names.split())


def _compared(report: Report, kind: Kind, figure: str) -> Sequence[str]:
    """Return a figure of the plain loops and of this stack, with the lowest p99 in bold."""
    found: list[Percentiles] = [getattr(report.row(name, kind), figure) for name in _RIVALS]
    lowest = min(it.p99 for it in found)
    cells = [(_seconds(it, "p50 p99 max"), it.p99 == lowest) for it in found]
    return [f"**{cell}**" if best else cell for cell, best in cells]


def _gains(report: Report) -> Iterator[Mapping[str, object]]:
    """Yield, for each interval of DNS polls, what it costs and gains for an instance."""
    before = report.row(NO_POLLS.name, Kind.INSTANCE).stale_s
    for strategy in sorted((DEFAULT, *POLLS), key=lambda s: -s.dns_poll_seconds):
        row = report.row(strategy.name, Kind.INSTANCE)
        yield {
            "interval": strategy.dns_poll_seconds,
            "row": row,
            "gained": before.mean - row.stale_s.mean,
            "gained_max": before.max - row.stale_s.max,
            "prices": [month_price(strategy.dns_poll_seconds, size) for size in _MEMORY_MB],
        }


def month_price(dns_poll_seconds: float, memory_mb: float) -> float:
    """Return what these DNS polls add to the monthly cost of a stack, in US dollars."""
    inputs = replace(Inputs.load(), stack_memory_mb=memory_mb)
    off, on = (
        total(stacks(replace(inputs, stack_poll_seconds=seconds), 1), load_prices())
        for seconds in (0.0, dns_poll_seconds)
    )
    return on - off
