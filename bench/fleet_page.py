"""The page and the figure of the fleet's benchmark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from bench.claims import claim_rows
from bench.figure import STYLE
from bench.fleet_rows import NAIVE, Row, claims
from bench.fleet_strategies import EVENT_WATCH_DURATION_SECONDS, WATCHERS, WORKERS
from bench.fleet_world import CALL_SECONDS, FACTS_PAGE, QUERY_SECONDS, TTL
from cost.markdown import table_row
from lab.simulation.queues import BATCH
from target_sync.fleet.name_lookups import THREADS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, DEFAULT_SHARE, QUOTAS, Call, Quota

_WIDTH, _LEFT, _RIGHT, _LINE, _TOP = 860, 210, 190, 22, 66


def to_markdown(rows: Sequence[Row], calls: Mapping[Call, int], date: str) -> str:
    """The page.

    Args:
        rows: The figures.
        calls: What calls one failover takes.
        date: When they were measured.
    """
    steady = [row for row in rows if row.scenario == "steady"]
    storm = [row for row in rows if row.scenario == "storm"]
    return _PAGE.format(
        date=date,
        steady="\n".join(map(_steady, steady)),
        storm_groups=f"{storm[0].groups:,}",
        storm="\n".join(map(_storm, storm)),
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
        needed=", ".join(f"{calls[call]} {call}" for call in Call),
        ttl=TTL,
    )


_PAGE = """# Benchmark: many target groups

Made by `make bench-fleet` on {date}. The sweeper, the watchers and the workers
(`target_sync/fleet`) and the loop that follows a failover are the shipped code, on a virtual clock.
The queues between them are the benchmark's, and so are tags, DNS and ELB. Nothing was measured on
AWS.

![Calls and outages of both strategies](fleet.svg)

## Nothing happens

*fleet* for 30 minutes; *naive* for one sweep, which describes each group. Calls are those of the
busiest minute; throttled calls and failed groups are of the whole time.

| groups | strategy | listing | describes | throttled | failed | sweep | CPU | memory | unverified |
|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|
{steady}

*sweep* is the longest time, in seconds, from the start of a sweep until all that it sent was done.
It sends what can wait in portions, so that no failover stands behind more than a few audits.
*CPU* is in milliseconds for a group and a minute, *memory* in MiB. *unverified* is the
longest time, in seconds, for which a group was not verified.

Half of the buckets has room for 4,125 audits in 15 minutes, and a sweep hands out for 50 s of its
minute, which are 3,750. More groups are all still looked at every minute, but audited less often
([0020](../adr/0020-records-on-the-target-groups.md)).

## A storm

Of {storm_groups} groups many fail over within 20 s. Times are in seconds from the move of a name
until its group has the new primary alone; *last* is from the last move until the last group is
right. Forty minutes were played, and throttled calls and failed looks are of all of them.

| strategy | p50 | p99 | last | bound | never right | throttled | failed | CPU |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
{storm}

The naive times are of the groups that came right at all.

## Claims

`make bench-fleet` fails if one of them does not hold.

| claim | measured | |
|---|---:|---|
{claims}

## How it was measured

- ELB has token buckets: {buckets}. Every call also takes from the account's: {account}. A call
  that does not find a token in both is refused, and takes none.
- Each AWS call takes {call_ms} ms and each DNS query {query_ms} ms, {at_once} at once. A sweep
  also takes the CPU time that it really takes. Nobody else calls; starting a function takes no
  time, and a queue no longer than the call to it.
- The work queue is a FIFO queue with the groups, the deduplication, the visibility and the dead
  letters of `fleet.yaml`. Lambda gives {workers} workers up to {batch} orders each, which they
  carry out side by side as `functions/fleet_worker/app.py` does. They have {share} of the
  buckets. A tag that was written is in the next listing.
- What ELB knows of the groups (port, type, VPC) is asked by each container of the sweep and the
  watch, once in 15 minutes: {facts} groups a call, from the bucket of the describe calls. The table
  does not count these calls.
- A botocore client retries in its standard mode, three attempts: botocore's own back-off and retry
  quota are used. *naive* has one client for ten threads. Its threads take the groups in the same
  order every minute, so it is always the same groups that find no token.
- One failover takes the fleet these calls: {needed}. The bound is what the share of the buckets,
  full at the beginning, takes for them, times the failovers. Registering and deregistering alone
  would be bound by 195 s for 200 failovers.
- In the storm an RDS event names each database 5 to 25 s before its name moves. {watchers} watchers
  take the events and ask these names every second for {watch:g} s, which costs no call to ELB.
  *fleet without events* waits for the minute. A resolver's cache learns of the move up to {ttl} s
  later.
- A group is right when the new primary is its only target. Its health comes later, and the fleet
  does not wait for it.
- An audit is due every 15 sweeps, or when there is room. How long it then stands in the queue, or
  waits to be sent, comes on top.
- CPU time and memory are of one machine, with the benchmark's stubs, without Lambda's runtime and
  without packing and unpacking DNS and HTTP. All else depends on the seed, and by milliseconds on
  the CPU time.
"""


def _steady(row: Row) -> str:
    return table_row(
        f"{row.groups:,}",
        row.strategy,
        f"{row.listing_calls}",
        f"{row.describe_calls:,}",
        f"{row.throttled:,}",
        f"{row.failed:,}",
        f"{row.wall_s:g}",
        f"{row.cpu_ms_per_group:g}",
        f"{row.rss_mib:g}",
        "" if row.unverified_s is None else f"{row.unverified_s:g}",
    )


def _storm(row: Row) -> str:
    seconds = (row.p50_s, row.p99_s, row.last_s, row.bound_s)
    return table_row(
        row.strategy,
        *("" if it is None else f"{it:.1f}" for it in seconds),
        f"{row.not_right}",
        f"{row.throttled:,}",
        f"{row.failed:,}",
        f"{row.cpu_ms_per_group:g}",
    )


def _bucket(named: tuple[str, Quota]) -> str:
    name, quota = named
    return f"{name} calls {quota.capacity:g} and {quota.refill:g}/s"


def draw_figure(rows: Sequence[Row]) -> str:
    """The figure as SVG: calls in the busiest minute, and the times of the storm."""
    caption = "Benchmark of many target groups; simulated, not measured on AWS"
    steady = [row for row in rows if row.scenario == "steady"]
    storm = [row for row in rows if row.scenario == "storm"]
    calls = [
        (
            f"{row.groups:,} groups, {row.strategy}",
            float(row.describe_calls),
            f"{row.describe_calls:,} · {row.throttled:,} throttled",
            row.strategy == NAIVE,
        )
        for row in steady
    ]
    times = [
        (
            f"{row.strategy}, {share}",
            value or 0.0,
            f"{value or 0:.0f} s · {row.not_right} never",
            row.strategy == NAIVE,
        )
        for row in storm
        for share, value in (("p50", row.p50_s), ("p99", row.p99_s))
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
            *_panel("DescribeTargetHealth in the busiest minute, nothing happening", calls, _TOP),
            *_panel("Storm: from the move of a name until its group is right", times, second),
            "</svg>\n",
        ]
    )


def _panel(title: str, bars: Sequence[tuple[str, float, str, bool]], top: int) -> Iterator[str]:
    """Bars on a logarithmic scale, for they differ by a thousand."""
    most = max(value for _, value, _, _ in bars)
    yield f'<text class="head" x="12" y="{top - 12}">{escape(title)}</text>'
    for number, (label, value, told, others) in enumerate(bars):
        y = top + _LINE * number
        width = (_WIDTH - _LEFT - _RIGHT) * math.log1p(value) / math.log1p(most)
        side = "others" if others else "ours"
        yield f'<text x="12" y="{y + 11}">{escape(label)}</text>'
        yield (
            f'<rect class="{side}" x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="10" rx="2"/>'
        )
        yield (
            f'<text class="small" text-anchor="end" x="{_WIDTH - 12}" y="{y + 11}">'
            f"{escape(told)}</text>"
        )
