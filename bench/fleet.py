"""Measure the calls for many target groups, and the time to follow a storm of failovers.

The shipped sweeper, watchers and workers run on a virtual clock; ``docs/bench/fleet.md`` describes
the world.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from random import Random

from bench.fleet_page import draw_figure, to_markdown
from bench.fleet_rows import FLEET, NAIVE, SIZES, STORM, WITHOUT_EVENTS, Row, claims
from bench.fleet_strategies import Fleet, Naive
from bench.fleet_world import TTL, FleetWorld, Flip
from bench.percentiles import Percentiles
from target_sync.fleet.rate_limits import ACCOUNT_QUOTA, DEFAULT_SHARE, QUOTAS, Call

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "bench"
SEED = 1
#: Two rounds of the audit.
_STEADY_SECONDS = 1_800.0
#: The storm starts in the third minute; the simulation ends after the last minute.
_STORM_AT, _STORM_OVER = 150.0, 2_400.0
#: Events come at once, the names move so much later, at random (docs/bench/failover.md has the
#: delays of one failover; here only their spread counts).
_FLIPS = (5.0, 25.0)


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be measured."""

    strategy: str
    scenario: str
    groups: int
    failovers: int = 0


def tasks(sizes: Sequence[int], storm: tuple[int, int]) -> Sequence[Task]:
    """Every row of the table."""
    steady = [Task(name, "steady", size) for size in sizes for name in (FLEET, NAIVE)]
    return steady + [Task(name, "storm", *storm) for name in (FLEET, WITHOUT_EVENTS, NAIVE)]


def measure(task: Task) -> Row:
    """Play one scenario with one strategy."""
    flips = _flips(task) if task.failovers else {}
    world = FleetWorld(task.groups, flips)
    until = _STORM_OVER if flips else _STEADY_SECONDS
    if task.strategy == NAIVE:
        strategy: Fleet | Naive = Naive(world, SEED)
        # A sweep a minute; it says what it costs as soon as the first one is over.
        until = until if flips else 1.0
    else:
        strategy = Fleet(world, SEED, with_events=task.strategy == FLEET)
        strategy.begin()
    minutes = _Minutes(world, until)
    began = time.process_time()
    world.clock.play([*strategy.actors(until), minutes.watch])
    cpu = time.process_time() - began
    return _row(task, strategy, minutes, cpu)


@dataclass(slots=True)
class _Minutes:
    """Counts the calls of each minute."""

    world: FleetWorld
    until: float
    count: int = 0
    listing: int = 0
    describe: int = 0

    def watch(self) -> None:
        """Take the most of any minute."""
        clock, world = self.world.clock, self.world
        while clock.now() < self.until:
            listing, describe = world.listing_calls, world.elb.calls[Call.DESCRIBE]
            clock.sleep_until(clock.now() + 60.0)
            self.count += 1
            self.listing = max(self.listing, world.listing_calls - listing)
            self.describe = max(self.describe, world.elb.calls[Call.DESCRIBE] - describe)


def _flips(task: Task) -> Mapping[int, Flip]:
    """The failovers: the same for every strategy."""
    random = Random(f"{SEED}/{task.groups}/{task.failovers}")  # noqa: S311 - a simulation
    flips = dict[int, Flip]()
    for number in random.sample(range(task.groups), task.failovers):
        name = _STORM_AT + random.uniform(*_FLIPS)
        flips[number] = Flip(_STORM_AT, name, name + random.uniform(0.0, TTL))
    return flips


def _row(task: Task, strategy: Fleet | Naive, minutes: _Minutes, cpu: float) -> Row:
    world = strategy.world
    waits = [world.right_at[n] - f.name for n, f in world.flips.items() if n in world.right_at]
    figure = Percentiles.of(waits) if waits else None
    last_flip = max((flip.name for flip in world.flips.values()), default=0.0)
    storm = task.scenario == "storm"
    return Row(
        strategy=task.strategy,
        scenario=task.scenario,
        groups=task.groups,
        listing_calls=minutes.listing,
        describe_calls=minutes.describe,
        registration_calls=world.elb.calls[Call.REGISTRATION],
        tag_calls=world.elb.calls[Call.MUTATING],
        throttled=world.elb.throttled,
        failed=strategy.failed,
        wall_s=round(strategy.busy_for, 2),
        cpu_ms_per_group=round(1_000 * cpu / task.groups / minutes.count, 3),
        rss_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        unverified_s=_longest_unverified(strategy),
        p50_s=figure.p50 if figure else None,
        p99_s=figure.p99 if figure else None,
        last_s=round(max(world.right_at.values()) - last_flip, 3) if waits else None,
        bound_s=round(bound(task.failovers), 1) if storm else None,
        not_right=len(world.flips) - len(waits),
        wrong=world.wrong,
    )


def _longest_unverified(strategy: Fleet | Naive) -> float | None:
    if isinstance(strategy, Naive):
        return None
    return round(max(strategy.unverified), 1)


def calls_of_one_run() -> Mapping[Call, int]:
    """What ELB calls one failover costs a fleet of one, counted: its run and its record."""
    world = FleetWorld(1, {0: Flip(0.0, 0.0, 0.0)})
    world.clock.play(Fleet(world, SEED).once())
    return {call: world.elb.calls[call] for call in Call}


def bound(failovers: int) -> float:
    """Seconds that the fleet's share of ELB's buckets takes for so many failovers, at least.

    Full buckets at the beginning, no latency, and every call of each run at the first moment at
    which its bucket and the account's have a token for it.
    """
    calls = calls_of_one_run()
    account = ACCOUNT_QUOTA.per_worker(DEFAULT_SHARE)
    needs = [
        (QUOTAS[call].per_worker(DEFAULT_SHARE), failovers * count) for call, count in calls.items()
    ]
    needs.append((account, failovers * sum(calls.values())))
    return max(max(0.0, (count - quota.capacity) / quota.refill) for quota, count in needs)


def main() -> None:
    """Measure, print, write, and fail if a claim does not hold."""
    arguments = _arguments()
    usual = arguments.sizes == SIZES and arguments.storm == STORM
    # One process for each row, for its memory is the row's; one at a time, for its CPU time.
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        todo = tasks(arguments.sizes, arguments.storm)
        rows = [_printed(row) for row in pool.imap(measure, todo, chunksize=1)]
    failed = False
    for claim in claims(rows):
        failed |= not claim.holds
        print(f"{'holds' if claim.holds else 'DOES NOT HOLD'}: {claim.text}: {claim.measured}")
    folder = arguments.output or (FOLDER if usual else None)
    if folder is not None:
        _write(rows, folder)
    if failed:
        sys.exit("A claim does not hold: see above.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--sizes", type=_numbers, default=SIZES, help="groups, with commas")
    parser.add_argument("--storm", type=_numbers, default=STORM, help="groups,failovers")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for the page, the figure and the JSON; without it a full run writes to"
        " docs/bench, any other nothing",
    )
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(item) for item in text.split(","))


def _printed(row: Row) -> Row:
    print(" ".join(f"{name}={value}" for name, value in asdict(row).items() if value is not None))
    return row


def _write(rows: Sequence[Row], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    date = datetime.now(UTC).date().isoformat()
    (folder / "fleet.md").write_text(to_markdown(rows, calls_of_one_run(), date))
    (folder / "fleet.svg").write_text(draw_figure(rows))
    print(f"Written to {folder}.")


if __name__ == "__main__":
    main()
