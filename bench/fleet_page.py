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
    """Return the page.

    Args:
        rows: The figures.
        calls: The calls of one failover.
        date: The date of the measurement.
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

Made by `make bench-fleet` on {date}. The sweeper, the watchers, the workers
(`target_sync/fleet`) and the reconciler are the shipped code, on a virtual clock. The queues, tags,
DNS and ELB are models. Nothing was measured on AWS.

![Calls and outages of both strategies](fleet.svg)

## Steady state

*fleet* runs for 30 minutes; *naive* runs one sweep, which describes each group. The table shows the
calls of the busiest minute, and the throttled calls and failed groups of the whole time.

| groups | strategy | listing | describes | throttled | failed | sweep | CPU | memory | unverified |
|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|
{steady}

*sweep* is the longest time, in seconds, from the start of a sweep until its last work item was
done. A sweep sends audits in portions, so that a failover waits behind a few of them at most. *CPU*
is in milliseconds for a group and a minute, *memory* in MiB. *unverified* is the longest time, in
seconds, in which a group was not verified.

Half of the buckets allows 4,125 audits in 15 minutes. A sweep sends work for 50 s of its minute,
which allows 3,750. With more groups, the sweep still resolves every name each minute, but audits
less often ([0020](../contributing/adr/0020-store-checkpoints-as-tags.md)).

## A storm

Many of {storm_groups} groups fail over within 20 s. Times are seconds from the flip of a name until
its group has only the new primary; *last* is the time from the last flip until the last group is in
sync. The simulation covers forty minutes; throttled calls and failed iterations count for all of
them.

| strategy | p50 | p99 | last | bound | never in sync | throttled | failed | CPU |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
{storm}

The times of *naive* cover only the groups that became in sync.

## Claims

`make bench-fleet` fails if a claim does not hold.

| claim | measured | |
|---|---:|---|
{claims}

## How it was measured

- ELB has token buckets: {buckets}. Every call also takes a token of the account: {account}. ELB
  throttles a call without both tokens, and the call takes none.
- Each AWS call takes {call_ms} ms and each DNS query {query_ms} ms, {at_once} at once. A sweep
  also takes its real CPU time. There are no other callers; starting a function takes no time, and a
  queue takes only the time of its call.
- The work queue is a FIFO queue with the groups, the deduplication, the visibility and the dead
  letters of `fleet.yaml`. Lambda gives {workers} workers up to {batch} work items each, which they
  process concurrently, as `functions/fleet_worker/app.py` does. They have {share} of the buckets. A
  written tag is in the next listing.
- Each container of the sweep and the watch describes the groups (port, type, VPC) once in 15
  minutes: {facts} groups a call, from the bucket of the describe calls. The table does not count
  these calls.
- A botocore client retries in its standard mode with three attempts, with botocore's own back-off
  and retry quota. *naive* has one client for ten threads. Its threads take the groups in the same
  order every minute, so the same groups always get no token.
- One failover takes these calls: {needed}. The bound is the time that the share of the buckets,
  full at the start, needs for the calls of all failovers. The bound of registering and
  deregistering alone is 195 s for 200 failovers.
- In the storm an RDS event names each database 5 to 25 s before the flip. {watchers} watchers take
  the events and resolve these names every second for {watch:g} s, without calls to ELB. *fleet
  without events* waits for the next sweep. A DNS cache gives the new address up to {ttl} s later.
- A group is in sync when the new primary is its only target. The fleet does not wait for its
  health.
- An audit is due every 15 sweeps, or when the budget allows it. Its time in the queue comes on top.
- CPU time and memory are those of one machine with the models of the benchmark, without Lambda's
  runtime, DNS packets and HTTP. Everything else depends on the seed, and by milliseconds on the CPU
  time.
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
    """Return the figure as SVG: calls in the busiest minute, and the times of the storm."""
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
            *_panel("DescribeTargetHealth in the busiest minute, steady state", calls, _TOP),
            *_panel("Storm: from the flip of a name until its group is in sync", times, second),
            "</svg>\n",
        ]
    )


def _panel(title: str, bars: Sequence[tuple[str, float, str, bool]], top: int) -> Iterator[str]:
    """Yield bars on a logarithmic scale, because the values differ by a factor of a thousand."""
    most = max(value for _, value, _, _ in bars)
    yield f'<text class="head" x="12" y="{top - 12}">{escape(title)}</text>'
    for number, (label, value, text, others) in enumerate(bars):
        y = top + _LINE * number
        width = (_WIDTH - _LEFT - _RIGHT) * math.log1p(value) / math.log1p(most)
        side = "others" if others else "ours"
        yield f'<text x="12" y="{y + 11}">{escape(label)}</text>'
        yield (
            f'<rect class="{side}" x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="10" rx="2"/>'
        )
        yield (
            f'<text class="small" text-anchor="end" x="{_WIDTH - 12}" y="{y + 11}">'
            f"{escape(text)}</text>"
        )
