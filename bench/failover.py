"""Simulate many random failovers, to see how fast each strategy follows them.

The runs use the shipped ``Reconciler`` on a virtual clock; ``docs/bench/failover.md`` describes the
world. The figures depend only on the seed and on the number of failovers.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from bench.failover_claims import claims
from bench.page import FAILOVERS, Report, draw_figure, to_markdown
from bench.results import COMBINATIONS, Combination, Row, make_row, play_some, quiet_costs
from bench.simulation import Outcome

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "bench"
SAMPLE = FOLDER / "failover-sample.json"
SEED = 1
#: The tests repeat this many failovers.
SAMPLE_FAILOVERS = 50
#: The minutes without a failover, from which the costs of a month follow.
QUIET_MINUTES = 10
_CHUNK = 500


def main() -> None:
    """Simulate, print, write, and exit with an error if a claim does not hold."""
    arguments = _arguments()
    report = _report(arguments)
    print(to_markdown(report))
    folder = arguments.output or (FOLDER if arguments.failovers == FAILOVERS else None)
    if folder is not None:
        _write(report, folder)
    if not all(claim.holds for claim in claims(report.rows)):
        sys.exit("A claim does not hold: see above.")


def sample() -> Sequence[Row]:
    """Return the rows of a few failovers, which the tests repeat."""
    return play_all(SEED, SAMPLE_FAILOVERS)


def play_all(seed: int, failovers: int, *, processes: int = 1) -> Sequence[Row]:
    """Return a row for each strategy and kind.

    Args:
        seed: The seed and the number of a failover determine everything about it.
        failovers: The number of failovers.
        processes: The number of processes. The figures do not depend on it.
    """
    chunks = [
        (combination, seed, range(start, min(start + _CHUNK, failovers)))
        for combination in COMBINATIONS
        for start in range(0, failovers, _CHUNK)
    ]
    if processes == 1:
        return list(_rows(seed, failovers, map(_play_chunk, chunks)))
    # Spawned, because a forked process would have the threads of other tests.
    with get_context("spawn").Pool(processes) as pool:
        return list(_rows(seed, failovers, pool.imap(_play_chunk, chunks)))


def _play_chunk(chunk: tuple[Combination, int, range]) -> Sequence[Outcome]:
    return play_some(*chunk)


def _rows(seed: int, failovers: int, chunks: Iterator[Sequence[Outcome]]) -> Iterator[Row]:
    """Yield each row when its failovers are done: memory cannot hold all outcomes."""
    for combination in COMBINATIONS:
        outcomes = list[Outcome]()
        while len(outcomes) < failovers:
            outcomes += next(chunks)
        quiet = quiet_costs(combination, QUIET_MINUTES)
        yield make_row(combination, seed, outcomes, quiet, QUIET_MINUTES)
        print(f"done: {combination.title}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument(
        "--failovers", type=int, default=FAILOVERS, help="of each strategy and kind"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="do not change the figures"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"folder for the page, the figure and the JSON; by default docs/bench for a run of"
        f" {FAILOVERS} failovers, and none for any other number",
    )
    return parser.parse_args()


def _report(arguments: argparse.Namespace) -> Report:
    return Report(
        seed=arguments.seed,
        failovers=arguments.failovers,
        command=_command(arguments),
        date=datetime.now(UTC).date().isoformat(),
        rows=play_all(arguments.seed, arguments.failovers, processes=arguments.processes),
    )


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that gives the same figures, without options that do not change them."""
    given = [
        f"--{name} {value}"
        for name, value, usual in (
            ("failovers", arguments.failovers, FAILOVERS),
            ("seed", arguments.seed, SEED),
        )
        if value != usual
    ]
    return f'make bench BENCH_OPTIONS="{" ".join(given)}"' if given else "make bench"


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failover.json").write_text(as_json(report.rows))
    (folder / "failover.md").write_text(to_markdown(report))
    (folder / "failover.svg").write_text(draw_figure(report))
    (folder / SAMPLE.name).write_text(as_json(sample()))
    print(f"Written to {folder}.")


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as the text of a file, a line each."""
    return "[\n" + ",\n".join(json.dumps(row.to_document()) for row in rows) + "\n]\n"


if __name__ == "__main__":
    main()
