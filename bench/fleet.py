"""Measure the calls for many target groups, and the time to follow a storm of failovers.

The shipped fleet and its peers run on a virtual clock; ``docs/bench/fleet.md`` describes the world.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench.fleet_page import draw_figure, to_markdown
from bench.fleet_peers import PEERS, SEED, play_peer
from bench.fleet_rows import FLEET, SIZES, STORM, WITHOUT_EVENTS, Row, claims
from bench.fleet_strategies import Fleet
from bench.fleet_world import TTL, FleetWorld, Flip
from bench.percentiles import Percentiles
from target_sync.fleet.rate_limits import Call

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "bench"
#: Two rounds of the audit.
_STEADY_SECONDS = 1_800.0
#: The storm starts in the third minute; the simulation ends after the last minute.
_STORM_AT, _STORM_OVER = 150.0, 2_400.0
#: Events come at once, and the names move so many seconds later, at random (docs/bench/failover.md
#: has the delays of one failover; here only their spread counts).
_FLIPS = (5.0, 25.0)


class Task(NamedTuple):
    """One row to be measured."""

    strategy: str
    scenario: str
    groups: int
    failovers: int = 0


def tasks(sizes: Sequence[int], storm: tuple[int, int]) -> Sequence[Task]:
    """Return every row of the tables."""
    steady = [Task(name, "steady", size) for size in sizes for name in (FLEET, *PEERS)]
    return [*steady, *(Task(name, "storm", *storm) for name in (FLEET, WITHOUT_EVENTS, *PEERS))]


def measure(task: Task) -> Row:
    """Play one scenario with one strategy."""
    world = FleetWorld(task.groups, _flips(task))
    until = _STORM_OVER if task.failovers else _STEADY_SECONDS
    if task.strategy in PEERS:
        play_peer(task.strategy, world, until)
    else:
        Fleet(world, SEED, with_events=task.strategy == FLEET).play(until)
    return _row(task, world)


def _flips(task: Task) -> Mapping[int, Flip]:
    """Return the failovers: the same for every strategy."""
    random = Random(f"{SEED}/{task.groups}/{task.failovers}")  # noqa: S311 - a simulation
    flips = dict[int, Flip]()
    for number in random.sample(range(task.groups), task.failovers):
        name = _STORM_AT + random.uniform(*_FLIPS)
        flips[number] = Flip(_STORM_AT, name, name + random.uniform(0.0, TTL))
    return flips


def _row(task: Task, world: FleetWorld) -> Row:
    registered_p50_s, registered_p99_s = _waits(world, world.registered_at)
    p50_s, p99_s = _waits(world, world.in_sync_at)
    last_flip = max((flip.name for flip in world.flips.values()), default=0.0)
    calls = world.calls
    return Row(
        strategy=task.strategy,
        scenario=task.scenario,
        groups=task.groups,
        listing_calls=calls.busiest("listing"),
        dns_queries=calls.busiest("dns"),
        describe_calls=calls.busiest(Call.DESCRIBE),
        registration_calls=calls.total(Call.REGISTRATION),
        tag_calls=calls.total(Call.MUTATING),
        throttled=calls.total("throttled"),
        failed=world.failed,
        wall_s=round(world.busy_for, 2),
        unverified_s=round(world.unverified_for, 1),
        registered_p50_s=registered_p50_s,
        registered_p99_s=registered_p99_s,
        p50_s=p50_s,
        p99_s=p99_s,
        last_s=round(max(world.in_sync_at.values()) - last_flip, 3) if world.in_sync_at else None,
        never=len(world.flips) - len(world.in_sync_at),
        wrong=world.wrong,
    )


def _waits(
    world: FleetWorld, moments: Mapping[int, float]
) -> tuple[float, float] | tuple[None, None]:
    """Return p50 and p99 of the seconds from the flip of a name until these moments."""
    if not moments:
        return None, None
    figure = Percentiles.of(at - world.flips[number].name for number, at in moments.items())
    return figure.p50, figure.p99


def main() -> None:
    """Measure, print, write, and fail if a claim does not hold."""
    arguments = _arguments()
    rows = [_printed(measure(task)) for task in tasks(arguments.sizes, arguments.storm)]
    failed = False
    for claim in claims(rows):
        failed |= not claim.holds
        print(f"{'holds' if claim.holds else 'DOES NOT HOLD'}: {claim.text}: {claim.measured}")
    usual = arguments.sizes == SIZES and arguments.storm == STORM
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
    (folder / "fleet.md").write_text(to_markdown(rows, date))
    (folder / "fleet.svg").write_text(draw_figure(rows))
    print(f"Written to {folder}.")


if __name__ == "__main__":
    main()
