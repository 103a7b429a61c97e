"""The rows of the fleet's benchmark, and the claims about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.claims import Claim
from target_sync.fleet.planner import AUDIT_SECONDS
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, DEFAULT_SHARE

SIZES = (1, 10, 100, 1_000, 5_000)
#: Groups, and how many of them fail over at once.
STORM = (1_000, 200)
FLEET, WITHOUT_EVENTS = "fleet", "fleet without events"
#: The calls of one failover of the fleet.
FLEET_CALLS = 6
#: How long a storm may take after the last flip, beside the time of the buckets.
_STORM_SECONDS = 30.0
_MINUTE = 60.0
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
        tag_calls: AddTags in all.
        throttled: Calls that ELB throttled, with retries.
        failed: How often an iteration or a run failed after all retries.
        wall_s: The longest time from the start of a round until its work was done.
        unverified_s: The longest time in which a group was not verified.
        registered_p50_s: From the flip of a name until its group has the new primary.
        registered_p99_s: The same.
        p50_s: From the flip of a name until its group has only the new primary.
        p99_s: The same.
        last_s: From the last flip until the last group is in sync.
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
    tag_calls: int
    throttled: int
    failed: int
    wall_s: float
    unverified_s: float
    registered_p50_s: float | None
    registered_p99_s: float | None
    p50_s: float | None
    p99_s: float | None
    last_s: float | None
    never: int
    wrong: int


def bound(calls: int, capacity: float, refill: float) -> float:
    """Return the seconds that the fleet's share of a bucket takes for these calls.

    The bucket is full at the start.
    """
    return max(0.0, (calls - capacity * DEFAULT_SHARE) / (refill * DEFAULT_SHARE))


def storm_bound(failovers: int) -> float:
    """Return the seconds that all calls of a storm take, at least."""
    quota = ACCOUNT_QUOTA
    return bound(failovers * FLEET_CALLS, quota.capacity, quota.refill)


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield the claims about these rows."""
    for row in rows:
        if row.strategy == FLEET:
            yield from _of_every(row)
            yield from _of_a_storm(row) if row.scenario == "storm" else _of_a_steady_fleet(row)


def _of_every(row: Row) -> Iterator[Claim]:
    yield Claim(
        f"{row.scenario}, {row.groups:,} groups: nothing throttled, no group failed or wrong",
        f"{row.throttled}, {row.failed}, {row.wrong}",
        not (row.throttled or row.failed or row.wrong),
    )


def _of_a_steady_fleet(row: Row) -> Iterator[Claim]:
    yield Claim(
        f"{row.groups:,} groups are done within the minute",
        f"{row.wall_s} s",
        row.wall_s <= _MINUTE,
    )
    if row.groups == _PROMISED_SIZE:
        yield Claim(
            f"{row.groups:,} groups: at most {_PROMISED_LISTINGS} listing calls and"
            f" {_PROMISED_DESCRIBES} DescribeTargetHealth a minute",
            f"{row.listing_calls}, {row.describe_calls}",
            row.listing_calls <= _PROMISED_LISTINGS and row.describe_calls <= _PROMISED_DESCRIBES,
        )


def _of_a_storm(row: Row) -> Iterator[Claim]:
    last, limit = row.last_s or 0.0, storm_bound(STORM[1])
    yield Claim(
        f"storm: every group in sync within {_STORM_SECONDS:g} s and the bound of"
        f" {limit:g} s after the last flip",
        f"{last:.1f} s, {row.never} never",
        last <= limit + _STORM_SECONDS and not row.never,
    )
    yield Claim(
        "storm: each group is verified once in the 15 minutes of a round and a minute",
        f"{row.unverified_s} s",
        row.unverified_s <= AUDIT_SECONDS + _MINUTE,
    )
