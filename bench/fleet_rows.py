"""The rows of the fleet's benchmark, and what is claimed of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.claims import Claim
from target_sync.fleet.planner import AUDIT_SECONDS

SIZES = (1, 10, 100, 1_000, 5_000)
#: Groups, and how many of them fail over at once.
STORM = (1_000, 200)
FLEET, WITHOUT_EVENTS, NAIVE = "fleet", "fleet without events", "naive"
#: So long after the last flip, beside what ELB's buckets demand, may a storm take.
_STORM_SECONDS = 30.0
_MINUTE = 60.0
#: The size for which calls are promised, and how many of either kind a minute.
_PROMISED_SIZE, _PROMISED_LISTINGS, _PROMISED_DESCRIBES = 1_000, 10, 67


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one strategy in one scenario: an object of fleet.json.

    Attributes:
        listing_calls: Of the resource groups tagging API, in the minute that had the most.
        describe_calls: DescribeTargetHealth, retries too, in the minute that had the most.
        registration_calls: RegisterTargets and DeregisterTargets, in all.
        tag_calls: AddTags, in all.
        throttled: Calls that ELB refused, retries too, in all.
        failed: How often an iteration or a run failed after all retries.
        wall_s: The longest time from the start of a sweep until all that it handed out was done.
        cpu_ms_per_group: CPU time, the stubs' too, for a group and a minute.
        rss_mib: The most memory of the process, the stubs' too.
        unverified_s: The longest time for which a group was not verified.
        p50_s: From the move of a name until its group has the new primary alone.
        p99_s: The same.
        last_s: From the last move of a name until the last group is right.
        bound_s: What the share of ELB's buckets takes for the calls of the storm, at least.
        not_right: Failovers that were not followed in time.
        wrong: Changes that left a group empty or with a target that was never right.
    """

    strategy: str
    scenario: str
    groups: int
    listing_calls: int
    describe_calls: int
    registration_calls: int
    tag_calls: int
    throttled: int
    failed: int
    wall_s: float
    cpu_ms_per_group: float
    rss_mib: float
    unverified_s: float | None
    p50_s: float | None
    p99_s: float | None
    last_s: float | None
    bound_s: float | None
    not_right: int
    wrong: int


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    """What is claimed of the rows that are there."""
    for row in rows:
        if row.strategy == FLEET:
            yield from _of_every(row)
            yield from _of_a_storm(row) if row.scenario == "storm" else _of_a_steady_fleet(row)
        if (row.strategy, row.scenario, row.groups) == (NAIVE, "steady", _PROMISED_SIZE):
            yield Claim(
                f"describing each of {row.groups:,} groups is throttled",
                f"{row.throttled} calls",
                row.throttled > 0,
            )


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
    last, bound = row.last_s or 0.0, row.bound_s or 0.0
    yield Claim(
        f"storm: every group right within {_STORM_SECONDS:g} s and the bound of"
        f" {bound:g} s after the last flip",
        f"{last:.1f} s, {row.not_right} not right",
        last <= bound + _STORM_SECONDS and not row.not_right,
    )
    yield Claim(
        "storm: no group starves, each is verified once in the 15 minutes of a round and a minute",
        f"{row.unverified_s} s",
        (row.unverified_s or 0.0) <= AUDIT_SECONDS + _MINUTE,
    )
