"""Simulate many random failovers, to see how fast each strategy follows them.

The runs use the shipped ``Reconciler`` on a virtual clock; ``docs/bench/failover.md`` describes the
world. The figures depend only on the seed and on the number of failovers.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from bench.bounds import bounds
from bench.figure import draw_figure
from bench.page import Report, price_of_polling, steady_month, to_markdown
from bench.prices import Prices
from bench.results import COMBINATIONS, FAILOVERS, Combination, Row, make_row, month, play_some
from bench.simulation import MONTH_RUNS, Costs, Outcome
from bench.strategies import CONTINUOUS_POLLING, SERVING_STANDBY, WATCH
from bench.world import Kind

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "bench"
SAMPLE = FOLDER / "failover-sample.json"
SEED = 1
#: The tests repeat this many failovers, and this many runs of a steady month.
SAMPLE_FAILOVERS, SAMPLE_RUNS = 200, 60
_CHUNK = 500


def main() -> None:
    """Simulate, print, write, and exit with an error if a claim does not hold."""
    arguments = _arguments()
    if arguments.check:
        _check_sample()
    report = _report(arguments)
    _print(report)
    folder = arguments.output or (FOLDER if arguments.failovers == FAILOVERS else None)
    if folder is not None:
        _write(report, folder)
    if any(bound.claimed and not bound.holds for bound in report.bounds):
        sys.exit("A claim does not hold: see above.")


def sample() -> Sequence[Mapping[str, object]]:
    """Return the rows of a few failovers, which the tests repeat."""
    rows = play_all(SEED, SAMPLE_FAILOVERS, runs=SAMPLE_RUNS)
    return [row.to_document() for row in rows]


def play_all(
    seed: int, failovers: int, *, runs: int = MONTH_RUNS, processes: int = 1
) -> Sequence[Row]:
    """Return a row for each strategy and kind.

    Args:
        seed: The seed and the number of a failover determine everything about it.
        failovers: The number of failovers.
        runs: The number of scheduled runs of a month.
        processes: The number of processes. The figures do not depend on it.
    """
    chunks = [
        (combination, seed, range(start, min(start + _CHUNK, failovers)))
        for combination in COMBINATIONS
        for start in range(0, failovers, _CHUNK)
    ]
    months = [(combination, runs) for combination in COMBINATIONS]
    if processes == 1:
        return list(_rows(seed, failovers, map(_play_month, months), map(_play_chunk, chunks)))
    # Spawned, because a forked process would have the threads of other tests.
    with get_context("spawn").Pool(processes) as pool:
        quiet = pool.map(_play_month, months, chunksize=1)
        return list(_rows(seed, failovers, quiet, pool.imap(_play_chunk, chunks)))


def _play_chunk(chunk: tuple[Combination, int, range]) -> Sequence[Outcome]:
    return play_some(*chunk)


def _play_month(task: tuple[Combination, int]) -> Costs:
    return month(*task)


def _rows(
    seed: int,
    failovers: int,
    months: Iterable[Costs],
    chunks: Iterator[Sequence[Outcome]],
) -> Iterator[Row]:
    """Yield each row when its failovers are done: memory cannot hold all outcomes."""
    for combination, quiet in zip(COMBINATIONS, months, strict=True):
        outcomes = list[Outcome]()
        while len(outcomes) < failovers:
            outcomes += next(chunks)
        yield make_row(combination, seed, outcomes, quiet)
        print(f"done: {combination.title}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    prices = Prices()
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument(
        "--failovers", type=int, default=FAILOVERS, help="of each strategy and kind"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="do not change the figures"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"first repeat the {SAMPLE_FAILOVERS} failovers of the committed sample",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"folder for the page, the figure and the JSON; by default docs/bench for a run of"
        f" {FAILOVERS} failovers, and none for any other number",
    )
    parser.add_argument("--usd-per-gb-second", type=float, default=prices.gb_second)
    parser.add_argument("--usd-per-million-requests", type=float, default=prices.million_requests)
    parser.add_argument("--memory-mb", type=float, default=prices.memory_mb)
    return parser.parse_args()


def _check_sample() -> None:
    if as_json(sample()) != SAMPLE.read_text():
        sys.exit(
            f"The figures differ from those of {SAMPLE}. Run `make bench` and review the change."
        )
    print(f"The committed sample equals the figures of {SAMPLE_FAILOVERS} failovers.")


def _report(arguments: argparse.Namespace) -> Report:
    rows = play_all(arguments.seed, arguments.failovers, processes=arguments.processes)
    return Report(
        seed=arguments.seed,
        failovers=arguments.failovers,
        command=_command(arguments),
        date=datetime.now(UTC).date().isoformat(),
        rows=rows,
        bounds=tuple(bounds(rows)),
        prices=Prices(
            gb_second=arguments.usd_per_gb_second,
            million_requests=arguments.usd_per_million_requests,
            memory_mb=arguments.memory_mb,
        ),
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


def _print(report: Report) -> None:
    print(f"{report.failovers} failovers each, seed {report.seed}; p50/p90/p99/max in seconds")
    for row in report.rows:
        print(f"\n{row.kind}, {row.strategy}: {row.missed} missed")
        for name, figure in (
            ("stale", row.stale_s),
            ("stale, an event preceded the flip", row.stale_s_event_before_flip),
            ("flowing", row.flowing_s),
            ("wrong server", row.wrong_server_s),
        ):
            print(
                f"  {name:<36}{figure.p50:>9.2f}{figure.p90:>9.2f}{figure.p99:>9.2f}"
                f"{figure.max:>9.2f}"
            )
        print(
            f"  a failover {row.aws_calls_per_failover} AWS calls,"
            f" {row.dns_queries_per_failover} DNS queries; a month {row.aws_calls_per_month} and"
            f" {row.dns_queries_per_month}"
        )
    print()
    for bound in report.bounds:
        result = "holds" if bound.holds else "does not hold"
        reason = f" ({bound.prevented_by})" if bound.prevented_by and not bound.holds else ""
        kind = "claim" if bound.claimed else "goal"
        print(
            f"{result}: {bound.figure}: {bound.measured:g}, at most {bound.limit:g}, a"
            f" {kind}{reason}"
        )
    print()
    for strategy in (WATCH, SERVING_STANDBY, CONTINUOUS_POLLING):
        print(steady_month(report.row(strategy.name, Kind.INSTANCE)))
    print(steady_month(report.row(WATCH.name, Kind.CLUSTER)))
    print(price_of_polling(report.row(CONTINUOUS_POLLING.name, Kind.INSTANCE), report.prices))


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failover.json").write_text(as_json([row.to_document() for row in report.rows]))
    (folder / "failover.md").write_text(to_markdown(report))
    (folder / "failover.svg").write_text(draw_figure(report.rows, caption=caption(report)))
    (folder / SAMPLE.name).write_text(as_json(sample()))
    print(f"Written to {folder}.")


def caption(report: Report) -> str:
    """Return the caption of the figure."""
    return f"{report.failovers:,} simulated failovers each, seed {report.seed}: p50 · p99 · maximum"


def as_json(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the rows as the text of a file."""
    return json.dumps(rows, indent=1) + "\n"


if __name__ == "__main__":
    main()
