"""Measure the calls for many target groups, and the time to follow a storm of failovers.

The shipped fleet and its peers run on a virtual clock; ``docs/bench/fleet.md`` describes the world.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

from bench.fleet_page import (
    COLD,
    FLEET,
    PHASES,
    SIZES,
    STORM,
    WHOLE,
    Row,
    claims,
    draw_figure,
    to_markdown,
)
from bench.fleet_peers import PEERS, play_peer
from bench.fleet_strategies import play_fleet
from bench.fleet_world import MINUTE, FleetWorld, storm
from bench.percentiles import Percentiles
from target_sync.fleet.rate_limits import Call

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "bench"
#: How long each scenario is simulated: more than a round of the audit, and until the slowest
#: strategy has followed the storm.
_SECONDS = {"steady": 1_200.0, "storm": 480.0}


class Task(NamedTuple):
    """One row to be measured."""

    strategy: str
    scenario: str
    groups: int
    failovers: int = 0


def tasks(sizes: Sequence[int], storm_size: tuple[int, int]) -> Sequence[Task]:
    """Return every row of the tables."""
    steady = [Task(name, "steady", size) for size in sizes for name in (FLEET, *PEERS)]
    return [*steady, *(Task(name, "storm", *storm_size) for name in (FLEET, COLD, WHOLE, *PEERS))]


def measure(task: Task) -> Row:
    """Play one scenario with one strategy; a storm at several seconds of a minute."""
    starts = [MINUTE + phase for phase in PHASES] if task.failovers else [MINUTE]
    return _row(task, [_played(task, start) for start in starts])


def _played(task: Task, start: float) -> FleetWorld:
    world = FleetWorld(task.groups, storm(task.groups, task.failovers, start))
    fleets: Mapping[str, Callable[[FleetWorld, float], None]] = {
        FLEET: play_fleet,
        COLD: partial(play_fleet, lost_at=start),
        WHOLE: partial(play_fleet, share=1.0),
    }
    fleets.get(task.strategy, partial(play_peer, task.strategy))(
        world, start + _SECONDS[task.scenario]
    )
    world.end()
    return world


def _row(task: Task, worlds: Sequence[FleetWorld]) -> Row:
    registered = _waits(worlds, lambda world: world.registered_at)
    in_sync = _waits(worlds, lambda world: world.in_sync_at)
    return Row(
        strategy=task.strategy,
        scenario=task.scenario,
        groups=task.groups,
        listing_calls=max(world.calls.busiest("listing") for world in worlds),
        dns_queries=max(world.calls.busiest("dns") for world in worlds),
        describe_calls=max(world.calls.busiest(Call.DESCRIBE) for world in worlds),
        registration_calls=sum(world.calls.total(Call.REGISTRATION) for world in worlds),
        throttled=sum(world.calls.total("throttled") for world in worlds),
        failed=sum(world.failed for world in worlds),
        unverified_s=round(max(world.unverified_for for world in worlds), 1),
        registered_s=registered,
        in_sync_s=in_sync,
        never=sum(len(world.flips) - len(world.in_sync_at) for world in worlds),
        wrong=sum(world.wrong for world in worlds),
    )


def _waits(
    worlds: Sequence[FleetWorld], moments: Callable[[FleetWorld], Mapping[int, float]]
) -> Percentiles | None:
    """Return the seconds from the flips until these moments; None without any."""
    waits = [at - world.flips[n].name for world in worlds for n, at in moments(world).items()]
    return Percentiles.of(waits) if waits else None


def main() -> None:
    """Measure, print, write, and fail if a claim does not hold."""
    arguments = _arguments()
    with Pool() as pool:
        rows = [*map(_printed, pool.imap(measure, tasks(arguments.sizes, arguments.storm)))]
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
