"""The page with the results, as Markdown. The benchmark writes all of it."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.bounds import Bound
from bench.percentiles import Percentiles
from bench.prices import Prices
from bench.results import COUNTED_EVERY, FAILOVERS, Row
from bench.simulation import MISSED_SECONDS, MONTH_RUNS
from bench.strategies import (
    CONTINUOUS_POLLING,
    DNS_POLL_INTERVAL_SECONDS,
    OURS,
    SERVING_STANDBY,
    STRATEGIES,
    WATCH,
)
from bench.world import Kind, World, described
from cost.markdown import table

_COLUMNS = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page shows."""

    seed: int
    failovers: int
    command: str
    date: str
    rows: Sequence[Row]
    bounds: Sequence[Bound]
    prices: Prices

    def row(self, strategy: str, kind: Kind) -> Row:
        """Return the row of a strategy and a kind."""
        return next(r for r in self.rows if (r.strategy, r.kind) == (strategy, kind))


def to_markdown(report: Report) -> str:
    """Return the page."""
    return "\n\n".join(_sections(report)) + "\n"


def _sections(report: Report) -> Iterator[str]:
    yield "# Simulated failovers: how fast each strategy follows"
    yield _text(
        f"The benchmark simulates {report.failovers:,} random failovers for each strategy and kind,"
        " on a virtual clock. Every strategy meets the same failovers. The runs of this stack use"
        " the shipped `Reconciler`, planner, loop and cluster endpoint; the clock, DNS, the AWS"
        " APIs and the target group are models. **Nothing here was measured on AWS.** The section"
        " *The world* lists every assumption."
    )
    yield _text(
        f"Made by `{report.command}` on {report.date}, seed {report.seed}. The same seed gives the"
        " same figures to the digit, on any machine and with any number of processes."
        " [failover.json](failover.json) holds the figures."
    )
    if report.failovers < FAILOVERS:
        yield _text(
            f"**This is not the full run.** It has {report.failovers:,} failovers; the full run"
            f" (`make bench`) has {FAILOVERS:,}. With fewer failovers the maximum and p99 are less"
            " certain."
        )
    yield "![p50, p99 and the maximum of each strategy](failover.svg)"
    yield _text(
        "In the figure the dot is p50, the bar ends at p99, and the tick is the maximum. Blue is"
        " this stack."
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
        "The first four strategies are a plain loop, as others use it. One iteration describes the"
        " target group, looks up the name, registers new addresses and deregisters the addresses"
        " that DNS left out. It has no confirm window and no second source. The other strategies"
        " are the shipped code with the template's defaults: `EventWatchDurationSeconds` 300, and"
        " a function time-out of 600 s."
    )


def _results(report: Report) -> Iterator[str]:
    yield "## The results"
    yield _text(
        "Seconds as p50 / p90 / p99 / max. *Stale* is the time from the flip of the name until the"
        " new primary stays a target; 0 if it was already a target. *Stale, announced* is the same"
        " for failovers with an event before the flip. *Flowing* is the time from the moment the"
        " new primary listens until the load balancer finds it healthy. *Missed* failovers were not"
        f" followed within 15 minutes; each counts as {MISSED_SECONDS:g} s, shown as never."
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
        f"{announced.event_before_flip / announced.failovers:.1%} of the failovers of an instance"
        " had an event before the flip that was not lost."
    )
    yield "### On the wrong server"
    yield _text(
        "The time in which new connections could reach the old writer of a cluster: it is"
        " registered and healthy, but no longer the writer. The table counts it from the flip, from"
        " the promotion of the new writer (not visible before the name or the API changes), and"
        " from the first observation of the new address. The old primary of an instance accepts no"
        " connections, so the time is 0 for instances."
    )
    yield table(
        (
            "strategy",
            "from the flip",
            "announced",
            "from the promotion",
            "from the first observation",
        ),
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
        "The benchmark fails if a claim does not hold. A goal that does not hold gives the reason."
    )
    yield table(
        ("figure", "measured", "limit", "", "holds"),
        (
            (
                bound.figure,
                f"{bound.measured:,.10g}",
                f"{bound.limit:,.10g}",
                "claim" if bound.claimed else "goal",
                _holds(bound),
            )
            for bound in report.bounds
        ),
    )
    watch, serving = (report.row(s.name, Kind.INSTANCE).flowing_s for s in (WATCH, SERVING_STANDBY))
    yield _text(
        f"With a serving standby traffic flows {serving.p50:.1f} s (p50) to {serving.p99:.1f} s"
        f" (p99) after the new primary listens. Without it, it takes {watch.p50:.0f} s to"
        f" {watch.p99:.0f} s: the registration of a target alone takes 90 to 180 s in this world."
    )


def _holds(bound: Bound) -> str:
    if bound.holds:
        return "yes"
    return f"no: {bound.prevented_by}" if bound.prevented_by else "**no**"


def _costs(report: Report) -> Iterator[str]:
    yield "## The costs"
    yield _text(
        f"A steady month has {MONTH_RUNS:,} scheduled runs; the benchmark simulates each of them."
        f" The additional cost of a failover is the mean of every {COUNTED_EVERY}th failover,"
        " simulated until its last run ends."
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
        "An iteration for a cluster makes two calls to the RDS API and looks up a second name. A"
        " serving standby costs one call to the EC2 API in each run. Authoritative DNS also queries"
        " the zone and its name servers, once a minute to once an hour; the table leaves that out."
    )
    yield _text(price_of_polling(report.row(CONTINUOUS_POLLING.name, Kind.INSTANCE), report.prices))


def steady_month(row: Row) -> str:
    """Return the sentence on the calls of a steady month."""
    return (
        f"Steady month of the {row.strategy} ({row.kind}): {MONTH_RUNS:,} runs,"
        f" {_many(row.aws_calls_per_month / MONTH_RUNS, 'AWS call', 'AWS calls')} and"
        f" {_many(row.dns_queries_per_month / MONTH_RUNS, 'DNS query', 'DNS queries')} each."
    )


def _many(number: float, one: str, more: str) -> str:
    return f"{number:g} {one if number == 1 else more}"


def price_of_polling(row: Row, prices: Prices) -> str:
    """Return the sentence on the price of continuous polling."""
    seconds = row.waiting_s_per_month
    return (
        f"Price of continuous polling with `DnsPollIntervalSeconds={DNS_POLL_INTERVAL_SECONDS:g}`:"
        f" the runs of a month wait {seconds:,.0f} s. At {prices.memory_mb:g} MB that is"
        f" {seconds * prices.memory_mb / 1024:,.0f} GB-seconds, ${prices.of_waiting(seconds):.2f}"
        f" at ${prices.gb_second:.10f} each. The number of invocations does not change:"
        f" ${prices.of_requests(MONTH_RUNS):.2f} for {MONTH_RUNS:,}, at"
        f" ${prices.million_requests:.2f} a million. Prices: {prices.SOURCE}."
    )


def _world() -> Iterator[str]:
    yield "## The world"
    yield _text("Each failover draws every span from a uniform distribution.")
    yield table(("value", "what it is", "source"), described(World()))
    yield _text(
        "The old writer of a cluster accepts connections all the time: this is the worst case,"
        " which health checks cannot detect. Only the name of the cluster moves; the names of its"
        " members do not."
    )


def _limits() -> Iterator[str]:
    yield "## What is not in it"
    yield _bullets(
        "Calls take no time and never fail. On AWS each call takes time, which was not measured."
        " The failure scenarios and the properties of the tests cover failing calls.",
        "A deregistered target gets no new connections at once. On AWS, others observed new"
        " connections for about 120 s; this is the same for every strategy.",
        "A closed port fails a health check at once. A server that does not respond adds 4 s to"
        " each check.",
        "Traffic flows when the new target is healthy. While no target is healthy, the load"
        " balancer sends connections to all of them. The benchmark does not count that.",
        "All name servers of the zone change at once. Whether those of Route 53 do was not"
        " measured.",
        "A serving standby relies on a behaviour that AWS does not document: the former primary"
        " returns at its address, with its port closed.",
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
