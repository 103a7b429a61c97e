"""The page and the figure of the fleet's benchmark."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from bench.claims import claim_rows
from bench.figure import STYLE
from bench.fleet_peers import PEERS
from bench.fleet_rows import FLEET_CALLS, STORM, Row, bound, claims, storm_bound
from bench.fleet_strategies import EVENT_WATCH_DURATION_SECONDS, WATCHERS, WORKERS
from bench.fleet_world import CALL_SECONDS, FACTS_PAGE, QUERY_SECONDS, TTL
from cost.markdown import table
from lab.simulation.queues import BATCH
from target_sync.fleet.name_lookups import THREADS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, DEFAULT_SHARE, QUOTAS, Call, Quota

_WIDTH, _LEFT, _RIGHT, _LINE, _TOP = 860, 250, 190, 22, 66

#: A figure of a row, as text.
_Cell = Callable[[Row], str]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


_STEADY: Mapping[str, _Cell] = {
    "groups": lambda row: f"{row.groups:,}",
    "strategy": lambda row: row.strategy,
    "listing": lambda row: f"{row.listing_calls}",
    "DNS": lambda row: f"{row.dns_queries:,}",
    "describes": lambda row: f"{row.describe_calls:,}",
    "throttled": lambda row: f"{row.throttled:,}",
    "failed": lambda row: f"{row.failed:,}",
    "round": lambda row: f"{row.wall_s:g}",
    "unverified": lambda row: f"{row.unverified_s:g}",
}
_STORM: Mapping[str, _Cell] = {
    "strategy": lambda row: row.strategy,
    "registered p50": lambda row: _seconds(row.registered_p50_s),
    "registered p99": lambda row: _seconds(row.registered_p99_s),
    "in sync p50": lambda row: _seconds(row.p50_s),
    "in sync p99": lambda row: _seconds(row.p99_s),
    "last": lambda row: _seconds(row.last_s),
    "never": lambda row: f"{row.never}",
    "DNS": lambda row: f"{row.dns_queries:,}",
    "throttled": lambda row: f"{row.throttled:,}",
    "failed": lambda row: f"{row.failed:,}",
}


def to_markdown(rows: Sequence[Row], date: str) -> str:
    """Return the page with these figures, measured on this date."""
    steady, storm = (
        [row for row in rows if row.scenario == scenario] for scenario in ("steady", "storm")
    )
    registration = QUOTAS[Call.REGISTRATION]
    failovers = STORM[1]
    return _PAGE.format(
        date=date,
        steady=_table(_STEADY, steady),
        storm_groups=f"{storm[0].groups:,}",
        storm=_table(_STORM, storm),
        best=_best(storm),
        claims=claim_rows(claims(rows)),
        buckets=", ".join(map(_bucket, QUOTAS.items())),
        account=_bucket(("any", ACCOUNT_QUOTA)),
        call_ms=f"{CALL_SECONDS * 1_000:g}",
        query_ms=f"{QUERY_SECONDS * 1_000:g}",
        at_once=THREADS,
        workers=WORKERS,
        batch=BATCH,
        facts=FACTS_PAGE,
        watchers=WATCHERS,
        watch=EVENT_WATCH_DURATION_SECONDS,
        share=f"{DEFAULT_SHARE:.0%}",
        needed=FLEET_CALLS,
        failovers=failovers,
        bound=storm_bound(failovers),
        least=bound(2 * failovers, registration.capacity, registration.refill),
        ttl=TTL,
    )


_PAGE = """# Benchmark: many target groups

Made by `make bench-fleet` on {date}. The fleet is the shipped code (`target_sync/fleet`, with the
reconciler) on a virtual clock. The queues, tags, DNS and ELB are models. Nothing was measured on
AWS.

![Calls and outages of each strategy](fleet.svg)

## The strategies

*fleet* is the shipped code. The others are its peers: loops of a few lines, on one thread, without
a confirm window, a veto or an audit. They follow the endpoint's answer at once.

- *describe all* describes every group in a random order, at most once a minute, and changes what
  differs. Its calls keep to the fleet's share of the buckets.
- *describe all, adaptive* does the same, but botocore's adaptive retry mode decides on the rate. It
  uses the buckets of the whole account.
- *remember, each minute* looks up every name once a minute, and remembers the answers in memory. It
  describes and changes the groups whose answer changed, one after the other, within the same share.
- *remember, each second* does the same each second.

A peer that remembers describes no other group. It does not revert a manual change, and after the
loss of its memory it must describe every group.

## Steady state

30 minutes without a failover. The table shows the calls and look-ups of the busiest minute, and the
throttled calls and failed groups of the whole time.

{steady}

*round* is the longest time, in seconds, from the start of a round until its work was done.
*unverified* is the longest time, in seconds, in which a group was not described.

Half of the buckets allows 4,125 audits in 15 minutes. A sweep sends work for 50 s of its minute,
which allows 3,750. With more groups, the sweep still resolves every name each minute, but audits
less often ([0020](../contributing/adr/0020-store-checkpoints-as-tags.md)).

## A storm

{failovers} of {storm_groups} groups fail over within 20 s. Times are seconds from the flip of a
name: until its group has the new primary (*registered*), and until it has only the new primary (*in
sync*). *last* is the time from the last flip until the last group is in sync. *never* counts the
failovers that were not followed in the forty minutes of the simulation.

{storm}

{best}

The share of the buckets takes {least:g} s to register and deregister {failovers} targets, and
{bound:g} s for the {needed} calls that each failover takes the fleet. Both start with full buckets.

## Claims

`make bench-fleet` fails if a claim does not hold.

| claim | measured | |
|---|---:|---|
{claims}

## How it was measured

- ELB has token buckets: {buckets}. Every call also takes a token of the account: {account}. ELB
  throttles a call without both tokens, and the call takes none. The fleet and the peers keep to
  {share} of the buckets, but for the adaptive one.
- Each AWS call takes {call_ms} ms and each DNS query {query_ms} ms, {at_once} at once. A sweep
  also takes its real CPU time. There are no other callers; starting a function takes no time, and a
  queue takes only the time of its call.
- The work queue is a FIFO queue with the groups, the deduplication, the visibility and the dead
  letters of `fleet.yaml`. Lambda gives {workers} workers up to {batch} work items each, which they
  process concurrently, as `functions/fleet_worker/app.py` does. A written tag is in the next
  listing.
- Each container of the sweep and the watch describes the groups (port, type, VPC) once in 15
  minutes: {facts} groups a call, from the bucket of the describe calls. The table does not count
  these calls.
- A botocore client retries in its standard mode with three attempts, with botocore's own back-off
  and retry quota. The adaptive one also has botocore's own rate limiter.
- In the storm an RDS event names each database 5 to 25 s before the flip. {watchers} watchers take
  the events and resolve these names every second for {watch:g} s, without calls to ELB. *fleet
  without events* waits for the next sweep. A DNS cache gives the new address up to {ttl} s later.
- A group is in sync when the new primary is its only target. The fleet does not wait for its
  health.
- An audit is due every 15 sweeps, or when the budget allows it. Its time in the queue comes on top.
- Everything depends only on the seed, and by milliseconds on the CPU time of the sweep.
"""


def _table(columns: Mapping[str, _Cell], rows: Sequence[Row]) -> str:
    return table(columns, ([cell(row) for cell in columns.values()] for row in rows))


def _best(storm: Sequence[Row]) -> str:
    """Return who is the fastest in each column of the storm."""
    columns: Mapping[str, Callable[[Row], float | None]] = {
        "registered p50": lambda row: row.registered_p50_s,
        "registered p99": lambda row: row.registered_p99_s,
        "in sync p50": lambda row: row.p50_s,
        "in sync p99": lambda row: row.p99_s,
    }
    best = (
        f"*{min(storm, key=lambda row: value(row) or math.inf).strategy}* ({column})"
        for column, value in columns.items()
    )
    return f"The fastest: {', '.join(best)}."


def _bucket(named: tuple[str, Quota]) -> str:
    name, quota = named
    return f"{name} calls {quota.capacity:g} and {quota.refill:g}/s"


def draw_figure(rows: Sequence[Row]) -> str:
    """Return the figure as SVG: calls in the busiest minute, and the times of the storm."""
    caption = "Benchmark of many target groups; simulated, not measured on AWS"
    calls = [
        (row.strategy, row.describe_calls, f"{row.describe_calls:,} · {row.throttled:,} throttled")
        for row in rows
        if (row.scenario, row.groups) == ("steady", STORM[0])
    ]
    times = [
        (row.strategy, row.p99_s or 0.0, f"{row.p50_s or 0:.0f} s · {row.p99_s or 0:.0f} s")
        for row in rows
        if row.scenario == "storm"
    ]
    second = _TOP + _LINE * len(calls) + 50
    height = second + _LINE * len(times) + 10
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            f"<title>{escape(caption)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{_WIDTH}" height="{height}"/>',
            f'<text class="small" x="12" y="22">{escape(caption)}</text>',
            *_panel(
                f"DescribeTargetHealth in the busiest minute, {STORM[0]:,} groups", calls, _TOP
            ),
            *_panel(
                "Storm: from the flip of a name until its group is in sync (p50 · p99)",
                times,
                second,
            ),
            "</svg>\n",
        ]
    )


def _panel(title: str, bars: Sequence[tuple[str, float, str]], top: int) -> Iterator[str]:
    """Yield bars on a logarithmic scale, because the values differ by a factor of a thousand."""
    most = max(value for _, value, _ in bars)
    yield f'<text class="head" x="12" y="{top - 12}">{escape(title)}</text>'
    for number, (strategy, value, text) in enumerate(bars):
        y = top + _LINE * number
        width = (_WIDTH - _LEFT - _RIGHT) * math.log1p(value) / math.log1p(most)
        side = "others" if strategy in PEERS else "ours"
        yield f'<text x="12" y="{y + 11}">{escape(strategy)}</text>'
        yield (
            f'<rect class="{side}" x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="10" rx="2"/>'
        )
        yield (
            f'<text class="small" text-anchor="end" x="{_WIDTH - 12}" y="{y + 11}">'
            f"{escape(text)}</text>"
        )
