"""The rows of the fleet's benchmark, the claims about them, the page and the figure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from bench.chart import Bar, Panel, draw_chart
from bench.claims import Claim, claim_rows
from bench.fleet_peers import ADAPTIVE, PEERS
from bench.fleet_world import CALL_SECONDS, MINUTE, QUERY_SECONDS, TTL, least_waits, storm
from bench.percentiles import Percentiles
from bench.render import render
from cost.markdown import table
from target_sync.fleet.planner import AUDIT_SECONDS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, DEFAULT_SHARE, QUOTAS
from target_sync.fleet.sweeper import SWEEP_SECONDS, names_schedule

SIZES = (1, 10, 100, 1_000, 5_000)
#: Groups, and how many of them fail over at once.
STORM = (1_000, 200)
#: When storms begin, in seconds after the start of a sweep.
PHASES = (0.0, 30.0)
FLEET, COLD, WHOLE = "fleet", "fleet, cold start", "fleet, whole buckets"
#: The limits of p50 and p99 in the storm, and the confirm window for the names' TTL.
_P50, _P99, _CONFIRM_WINDOW = 85.0, 185.0, TTL + 1.0
#: The size with promised calls, and the promised calls of the busiest minute.
_PROMISED_SIZE, _PROMISED_LISTINGS, _PROMISED_DESCRIBES = 1_000, 10, 67


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one strategy in one scenario: an object of fleet.json.

    Attributes:
        listing_calls: Calls of the resource groups tagging API in the busiest minute.
        dns_queries: Look-ups of names in the busiest minute.
        describe_calls: DescribeTargetHealth in the busiest minute, with retries.
        registration_calls: RegisterTargets and DeregisterTargets in all.
        throttled: Calls that ELB throttled, with retries.
        failed: How often a run failed after all retries.
        unverified_s: The longest time in which a group was not described.
        registered_s: From the flip of a name until its group has the new primary; None without
            failovers.
        in_sync_s: The same until its group has only the new primary.
        never: Failovers that were not followed in time.
        wrong: Changes that left a group empty, or with a target that was never right.
    """

    strategy: str
    scenario: str
    groups: int
    listing_calls: int
    dns_queries: int
    describe_calls: int
    registration_calls: int
    throttled: int
    failed: int
    unverified_s: float
    registered_s: Percentiles | None
    in_sync_s: Percentiles | None
    never: int
    wrong: int


def read_rows(documents: Sequence[dict[str, Any]]) -> Sequence[Row]:
    """Return the rows of fleet.json."""
    times = ("registered_s", "in_sync_s")
    return [
        Row(**document | {name: (it := document[name]) and Percentiles(**it) for name in times})
        for document in documents
    ]


def least() -> Percentiles:
    """Return the seconds that the share of the registration bucket alone takes in the storm."""
    return least_waits(storm(*STORM, 0.0).values(), DEFAULT_SHARE)


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield the claims about the fleet in these rows."""
    for row in rows:
        if row.strategy not in (FLEET, COLD):
            continue
        yield Claim(
            f"{row.strategy}, {row.scenario}, {row.groups:,} groups: nothing throttled, no run"
            " failed, nothing wrong, every failover followed",
            f"{row.throttled}, {row.failed}, {row.wrong}, {row.never}",
            not (row.throttled or row.failed or row.wrong or row.never),
        )
        if row.strategy == FLEET and row.in_sync_s:
            yield from _of_a_storm(row, row.in_sync_s)
        elif row.strategy == FLEET and row.groups <= _PROMISED_SIZE:
            yield Claim(
                f"{row.groups:,} groups: each verified within a round of the audit and a minute",
                f"{row.unverified_s} s",
                row.unverified_s <= AUDIT_SECONDS + MINUTE,
            )
        if (row.strategy, row.scenario, row.groups) == (FLEET, "steady", _PROMISED_SIZE):
            yield Claim(
                f"{row.groups:,} groups: at most {_PROMISED_LISTINGS} listing calls and"
                f" {_PROMISED_DESCRIBES} DescribeTargetHealth a minute",
                f"{row.listing_calls}, {row.describe_calls}",
                row.listing_calls <= _PROMISED_LISTINGS
                and row.describe_calls <= _PROMISED_DESCRIBES,
            )


def _of_a_storm(row: Row, in_sync: Percentiles) -> Iterator[Claim]:
    bound = least()
    yield Claim(
        f"storm: p50 at most {_P50:g} s, or the bound and the confirm window of"
        f" {_CONFIRM_WINDOW:g} s",
        f"{in_sync.p50:.1f} s",
        in_sync.p50 <= max(_P50, bound.p50 + _CONFIRM_WINDOW),
    )
    yield Claim(f"storm: p99 at most {_P99:g} s", f"{in_sync.p99:.1f} s", in_sync.p99 <= _P99)
    yield Claim(
        "storm: each group verified within a round of the audit and the bound of the storm",
        f"{row.unverified_s} s",
        row.unverified_s <= AUDIT_SECONDS + bound.max,
    )


def _times(times: Percentiles | None) -> str:
    return f"{times.p50:.1f} / {times.p99:.1f}" if times else "never"


_STEADY: Mapping[str, Callable[[Row], str]] = {
    "groups": lambda row: f"{row.groups:,}",
    "strategy": lambda row: row.strategy,
    "listing": lambda row: f"{row.listing_calls}",
    "DNS": lambda row: f"{row.dns_queries:,}",
    "describes": lambda row: f"{row.describe_calls:,}",
    "throttled": lambda row: f"{row.throttled:,}",
    "unverified": lambda row: f"{row.unverified_s:,.0f}",
}
_STORM: Mapping[str, Callable[[Row], str]] = {
    "strategy": lambda row: row.strategy,
    "registered": lambda row: _times(row.registered_s),
    "in sync": lambda row: _times(row.in_sync_s),
    "never": lambda row: f"{row.never}",
    "DNS": lambda row: f"{row.dns_queries:,}",
    "throttled": lambda row: f"{row.throttled:,}",
    "failed": lambda row: f"{row.failed:,}",
    "unverified": lambda row: f"{row.unverified_s:,.0f}",
}


def to_markdown(rows: Sequence[Row], date: str) -> str:
    """Return the page with these figures, measured on this date."""
    steady, stormy = (
        [row for row in rows if row.scenario == scenario] for scenario in ("steady", "storm")
    )
    return render(
        "fleet.md",
        date=date,
        steady=_table(_STEADY, steady),
        stormy=_table(_STORM, stormy),
        fastest=_fastest(stormy),
        least=least(),
        claims=claim_rows(claims(rows)),
        groups=STORM[0],
        failovers=STORM[1],
        phases=PHASES,
        quotas=QUOTAS,
        account=ACCOUNT_QUOTA,
        share=DEFAULT_SHARE,
        audit_seconds=AUDIT_SECONDS,
        polls=names_schedule().per_second,
        sweep_seconds=SWEEP_SECONDS,
        call_seconds=CALL_SECONDS,
        query_seconds=QUERY_SECONDS,
        ttl=TTL,
    )


def _table(columns: Mapping[str, Callable[[Row], str]], rows: Sequence[Row]) -> str:
    return table(columns, ([cell(row) for cell in columns.values()] for row in rows))


def _fastest(stormy: Sequence[Row]) -> Mapping[str, str]:
    """Return the fastest strategy of each column, of those that keep to the share."""
    within = [row for row in stormy if row.strategy not in (WHOLE, ADAPTIVE)]
    columns: Mapping[str, Callable[[Row], float]] = {
        "registered, p50": lambda row: row.registered_s.p50 if row.registered_s else inf,
        "registered, p99": lambda row: row.registered_s.p99 if row.registered_s else inf,
        "in sync, p50": lambda row: row.in_sync_s.p50 if row.in_sync_s else inf,
        "in sync, p99": lambda row: row.in_sync_s.p99 if row.in_sync_s else inf,
    }
    return {name: min(within, key=value).strategy for name, value in columns.items()}


def draw_figure(rows: Sequence[Row]) -> str:
    """Return the figure as SVG: calls in the busiest minute, and the times of the storm."""
    return draw_chart(
        "Benchmark of many target groups; simulated, not measured on AWS",
        [
            Panel(
                f"Quiet, {STORM[0]:,} groups: DescribeTargetHealth in the busiest minute",
                [
                    _bar(row, (row.describe_calls,), f"{row.describe_calls:,}")
                    for row in rows
                    if (row.scenario, row.groups) == ("steady", STORM[0])
                ],
                ticks={1: "1", 10: "10", 100: "100", 1_000: "1,000"},
            ),
            Panel(
                "Storm: seconds from the flip of a name until its group is in sync",
                [
                    _bar(
                        row,
                        (it.p50, it.p99, it.max),
                        f"{it.p50:.0f} · {it.p99:.0f} · {it.max:.0f} s",
                    )
                    for row in rows
                    if (it := row.in_sync_s)
                ],
                least=10.0,
                ticks={10: "10 s", 30: "30 s", 100: "100 s", 300: "300 s"},
            ),
        ],
    )


def _bar(row: Row, values: Sequence[float], text: str) -> Bar:
    return Bar(row.strategy, values, text, ours=row.strategy not in PEERS)
