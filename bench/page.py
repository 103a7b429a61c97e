"""The page with the results, as Markdown. Everything on it is written by the bench."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.bounds import Bound
from bench.percentiles import Percentiles
from bench.prices import Prices
from bench.results import COUNTED_EVERY, FAILOVERS, Row
from bench.simulation import MISSED_SECONDS, MONTH_RUNS
from bench.strategies import (
    DNS_POLL_INTERVAL_SECONDS,
    OURS,
    STRATEGIES,
    VIGILANCE,
    WARM_STANDBY,
    WATCH,
)
from bench.world import Kind, World, described
from cost.markdown import table

_COLUMNS = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page tells."""

    seed: int
    failovers: int
    command: str
    date: str
    rows: Sequence[Row]
    bounds: Sequence[Bound]
    prices: Prices

    def row(self, strategy: str, kind: Kind) -> Row:
        """The row of a strategy and a kind."""
        return next(r for r in self.rows if (r.strategy, r.kind) == (strategy, kind))


def to_markdown(report: Report) -> str:
    """The page."""
    return "\n\n".join(_sections(report)) + "\n"


def _sections(report: Report) -> Iterator[str]:
    yield "# Failovers, simulated: how fast each strategy follows"
    yield _text(
        f"{report.failovers:,} random failovers for each strategy and kind, the same ones for"
        " every strategy, on a virtual clock. The runs of this stack are the shipped `Reconciler`"
        " with its planner, its convergence loop and its reader of a cluster's topology; only the"
        " clock, DNS, the AWS APIs and the target group are models. **Nothing here was measured on"
        " AWS.** What the world is made of stands below, so that you can disagree with it."
    )
    yield _text(
        f"Made by `{report.command}` on {report.date}, seed {report.seed}. The same seed gives the"
        " same figures to the digit, on any machine and any number of processes. The figures are"
        " in [failover.json](failover.json) too."
    )
    if report.failovers < FAILOVERS:
        yield _text(
            f"**This is not the full run.** It has {report.failovers:,} failovers, the full one"
            f" {FAILOVERS:,}: `make bench` plays it. The worst case and, less so, p99 rest on"
            " fewer failovers here."
        )
    yield "![Half, 99 % and the worst of the failovers, by strategy](failover.svg)"
    yield _text(
        "In the figure a dot is the half of the failovers (p50), the bar ends at 99 % (p99), the"
        " tick is the worst one. Blue is this stack."
    )
    yield from _strategies()
    yield from _results(report)
    yield from _bounds(report)
    yield from _costs(report)
    yield from _world()
    yield from _limits()


def _strategies() -> Iterator[str]:
    yield "## The strategies"
    yield table(("strategy", "what it does"), ((s.name, s.meaning) for s in STRATEGIES))
    yield _text(
        "The first four are what others do, in a loop of this benchmark's own: one look describes"
        " the target group, asks DNS for the name, registers what is new and deregisters what is"
        " not in the answer. It confirms nothing and asks no second source, as they do not either."
        " The others are the code that ships, with the template's defaults:"
        " `EventWatchDurationSeconds` 300, a function of 600 s."
    )


def _results(report: Report) -> Iterator[str]:
    yield "## The results"
    yield _text(
        "Seconds as p50 / p90 / p99 / max. *Stale* counts from the flip of the name until the new"
        " primary is a target for good; 0 if it was one already. *Announced* is the same where an"
        " event preceded the flip and was not lost. *Flowing* counts from when the new primary"
        " listens until the load balancer has it healthy. *Missed* means not followed within 15"
        f" minutes; such a failover counts with {MISSED_SECONDS:g} s everywhere, shown as never."
    )
    for kind in Kind:
        yield f"### {kind.capitalize()}"
        columns: list[tuple[str, Callable[[Row], Percentiles]]] = [
            ("stale", lambda row: row.stale_s),
            ("stale, announced", lambda row: row.stale_s_event_before_flip),
            ("flowing", lambda row: row.flowing_s),
        ]
        rows = [row for row in report.rows if row.kind == kind]
        yield table(
            ("strategy", *(name for name, _ in columns), "missed"),
            (
                (row.strategy, *(_seconds(of(row)) for _, of in columns), f"{row.missed:,}")
                for row in rows
            ),
        )
    announced = report.row(WATCH.name, Kind.INSTANCE)
    yield _text(
        f"In {announced.event_before_flip / announced.failovers:.1%} of the failovers of an"
        " instance an event preceded the flip and was not lost."
    )
    yield "### On the wrong server"
    yield _text(
        "While new connections could reach the old writer of a cluster: it is registered, healthy"
        " and not the writer any more. Counted from the flip, from the promotion of the new writer"
        " (which nobody can see before the name or the API moves), and from when a run was first"
        " answered the new address. The old primary of an instance accepts no connection any more,"
        " so for instances it is 0 by construction."
    )
    yield table(
        ("strategy", "from the flip", "announced", "from the promotion", "from the first answer"),
        (
            (
                row.strategy,
                _seconds(row.wrong_server_s),
                _seconds(row.wrong_server_s_event_before_flip),
                _seconds(row.wrong_server_s_since_promotion),
                _seconds(row.wrong_server_s_since_seen) if row.strategy in OURS else "not counted",
            )
            for row in report.rows
            if row.kind == Kind.CLUSTER
        ),
    )


def _bounds(report: Report) -> Iterator[str]:
    yield "## The bounds"
    yield _text(
        "What we claim has to hold, or the benchmark fails. A wish that does not hold says what"
        " prevents it."
    )
    yield table(
        ("figure", "measured", "limit", "", "holds"),
        (
            (
                bound.figure,
                f"{bound.measured:,.10g}",
                f"{bound.limit:,.10g}",
                "claim" if bound.claimed else "wish",
                _verdict(bound),
            )
            for bound in report.bounds
        ),
    )
    cold, warm = (report.row(s.name, Kind.INSTANCE).flowing_s for s in (WATCH, WARM_STANDBY))
    yield _text(
        f"With a warm standby traffic flows {warm.p50:.1f} s (p50) to {warm.p99:.1f} s (p99) after"
        f" the new primary listens; without one it takes {cold.p50:.0f} s to {cold.p99:.0f} s, of"
        " which the registration at the load balancer alone is 90 to 180 s in this world."
    )


def _verdict(bound: Bound) -> str:
    if bound.holds:
        return "yes"
    return f"no: {bound.prevented_by}" if bound.prevented_by else "**no**"


def _costs(report: Report) -> Iterator[str]:
    yield "## The costs"
    yield _text(
        f"A month in which nothing happens has {MONTH_RUNS:,} scheduled runs, every one of them"
        " played. What a failover costs beside them is the mean of every"
        f" {COUNTED_EVERY}th failover, played until its last run has ended."
    )
    yield table(
        (
            "strategy",
            "kind",
            "AWS calls a month",
            "DNS queries a month",
            "AWS calls a failover",
            "DNS queries a failover",
        ),
        (
            (
                row.strategy,
                row.kind,
                f"{row.aws_calls_per_month:,}",
                f"{row.dns_queries_per_month:,}",
                f"{row.aws_calls_per_failover:,.1f}",
                f"{row.dns_queries_per_failover:,.1f}",
            )
            for row in report.rows
        ),
    )
    yield _text(steady_month(report.row(WATCH.name, Kind.INSTANCE)))
    yield _text(
        "A look at a cluster makes two calls to the RDS API and looks up a second name. Keeping a"
        " standby costs one call to the EC2 API in each run. The authoritative lookup also asks"
        " for the zone and its name servers, once a minute to once an hour; that is not in the"
        " table."
    )
    yield _text(price_of_vigilance(report.row(VIGILANCE.name, Kind.INSTANCE), report.prices))


def steady_month(row: Row) -> str:
    """The sentence on a month in which nothing happens."""
    return (
        f"Steady month of the {row.strategy} ({row.kind}): {MONTH_RUNS:,} runs,"
        f" {_many(row.aws_calls_per_month / MONTH_RUNS, 'AWS call', 'AWS calls')} and"
        f" {_many(row.dns_queries_per_month / MONTH_RUNS, 'DNS query', 'DNS queries')} each."
    )


def _many(number: float, one: str, more: str) -> str:
    return f"{number:g} {one if number == 1 else more}"


def price_of_vigilance(row: Row, prices: Prices) -> str:
    """The sentence on what vigilance costs."""
    seconds = row.waiting_s_per_month
    return (
        f"Price of vigilance with `DnsPollIntervalSeconds={DNS_POLL_INTERVAL_SECONDS:g}`:"
        " the runs of a month wait"
        f" {seconds:,.0f} s, at {prices.memory_mb:g} MB that is"
        f" {seconds * prices.memory_mb / 1024:,.0f} GB-seconds, ${prices.of_waiting(seconds):.2f}"
        f" at ${prices.gb_second:.10f} each. There are no more invocations than without it:"
        f" ${prices.of_requests(MONTH_RUNS):.2f} for {MONTH_RUNS:,}, at"
        f" ${prices.million_requests:.2f} a million. Prices: {prices.SOURCE}."
    )


def _world() -> Iterator[str]:
    yield "## The world"
    yield _text("Every span is drawn evenly, anew for each failover.")
    yield table(("value", "what it is", "source"), described(World()))
    yield _text(
        "Every strategy meets the same failovers. The old writer of a cluster accepts connections"
        " all the time: it is the harsh case, and one that the load balancer's health checks cannot"
        " see. A cluster's member names stay where they are; only the name of the cluster moves."
    )


def _limits() -> Iterator[str]:
    yield "## What is not in it"
    yield _bullets(
        "Calls take no time, and none fails. On AWS each step comes later by the time of its calls,"
        " which was not measured. What happens when calls fail is what the failure stories and the"
        " properties in the tests are for.",
        "A deregistered target gets no new connection from that moment on. On AWS others have seen"
        " new connections at one for about 120 s; that is AWS's part and the same for every"
        " strategy.",
        "A closed port fails a check at once. A server that answers nothing at all takes 4 s longer"
        " for each.",
        "Traffic flows when the new target is healthy. While no target is healthy the load balancer"
        " sends connections to all of them, which may help earlier; it is not counted.",
        "The zone's own name servers change all at once. Whether Route 53's differ for a moment was"
        " not measured.",
        "A kept standby rests on a behaviour that AWS does not document: that the former primary"
        " comes back at its address with its port closed.",
    )


def _bullets(*items: str) -> str:
    return "\n".join(_text(f"- {item}", indent="  ") for item in items)


def _seconds(figure: Percentiles) -> str:
    return " / ".join(
        "never" if value >= MISSED_SECONDS else f"{value:.1f}"
        for value in (figure.p50, figure.p90, figure.p99, figure.max)
    )


def _text(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _COLUMNS,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
