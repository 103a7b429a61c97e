"""How fast each strategy follows a failover: many random ones, on a virtual clock.

The runs are the real ``Synchronizer`` with the real planner; see ``docs/bench/failover.md`` for
the world that they meet. The figures depend on the seed and the number of failovers alone.
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
from bench.page import Report, price_of_vigilance, steady_month, to_markdown
from bench.prices import Prices
from bench.results import COMBINATIONS, FAILOVERS, Combination, Row, make_row, month, play_some
from bench.simulation import MONTH_RUNS, Costs, Outcome
from bench.strategies import VIGILANCE, WARM_STANDBY, WATCH
from bench.world import Kind

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "bench"
SAMPLE = FOLDER / "failover-sample.json"
SEED = 1
#: So many failovers, and so many runs of a quiet month, are played again by the tests.
SAMPLE_FAILOVERS, SAMPLE_RUNS = 200, 60
_CHUNK = 500


def main() -> None:
    """Play, print, write, and fail if a bound that we claim does not hold."""
    arguments = _arguments()
    if arguments.check:
        _check_sample()
    report = _report(arguments)
    _print(report)
    folder = arguments.output or (FOLDER if arguments.failovers == FAILOVERS else None)
    if folder is not None:
        _write(report, folder)
    if any(bound.claimed and not bound.holds for bound in report.bounds):
        sys.exit("A bound that we claim does not hold: see above.")


def sample() -> Sequence[Mapping[str, object]]:
    """The rows of a few failovers, which the tests play again."""
    rows = play_all(SEED, SAMPLE_FAILOVERS, runs=SAMPLE_RUNS)
    return [row.to_document() for row in rows]


def play_all(
    seed: int, failovers: int, *, runs: int = MONTH_RUNS, processes: int = 1
) -> Sequence[Row]:
    """A row for each strategy and kind.

    Args:
        seed: With the number of a failover it decides everything about it.
        failovers: How many are played.
        runs: How many scheduled runs a month has.
        processes: How many processes share the work. The figures do not depend on it.
    """
    chunks = [
        (combination, seed, range(start, min(start + _CHUNK, failovers)))
        for combination in COMBINATIONS
        for start in range(0, failovers, _CHUNK)
    ]
    months = [(combination, runs) for combination in COMBINATIONS]
    if processes == 1:
        return list(_rows(seed, failovers, map(_play_month, months), map(_play_chunk, chunks)))
    # Spawned: a test that forks has the threads of other tests.
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
    """The rows, each as soon as its failovers have been played: there is not room for all."""
    for combination, quiet in zip(COMBINATIONS, months, strict=True):
        outcomes = list[Outcome]()
        while len(outcomes) < failovers:
            outcomes += next(chunks)
        yield make_row(combination, seed, outcomes, quiet)
        print(f"played: {combination.title}", file=sys.stderr, flush=True)


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
        help=f"first play the {SAMPLE_FAILOVERS} failovers of the committed sample again",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"folder for the page, the figure and the JSON; without it {FAILOVERS} failovers"
        " write to docs/bench, any other number nothing",
    )
    parser.add_argument("--usd-per-gb-second", type=float, default=prices.gb_second)
    parser.add_argument("--usd-per-million-requests", type=float, default=prices.million_requests)
    parser.add_argument("--memory-mb", type=float, default=prices.memory_mb)
    return parser.parse_args()


def _check_sample() -> None:
    if as_json(sample()) != SAMPLE.read_text():
        sys.exit(
            f"The figures differ from those of {SAMPLE}. Run `make bench` and read the change."
        )
    print(f"The committed sample is what {SAMPLE_FAILOVERS} failovers give.")


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
    """The command that gives the same figures: what else was given does not change them."""
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
        verdict = "holds" if bound.holds else "does not hold"
        reason = f" ({bound.prevented_by})" if bound.prevented_by and not bound.holds else ""
        kind = "claim" if bound.claimed else "wish"
        print(
            f"{verdict}: {bound.figure}: {bound.measured:g}, at most {bound.limit:g}, a"
            f" {kind}{reason}"
        )
    print()
    for strategy in (WATCH, WARM_STANDBY, VIGILANCE):
        print(steady_month(report.row(strategy.name, Kind.INSTANCE)))
    print(steady_month(report.row(WATCH.name, Kind.CLUSTER)))
    print(price_of_vigilance(report.row(VIGILANCE.name, Kind.INSTANCE), report.prices))


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failover.json").write_text(as_json([row.to_document() for row in report.rows]))
    (folder / "failover.md").write_text(to_markdown(report))
    (folder / "failover.svg").write_text(draw_figure(report.rows, caption=caption(report)))
    (folder / SAMPLE.name).write_text(as_json(sample()))
    print(f"Written to {folder}.")


def caption(report: Report) -> str:
    """What stands above the figure."""
    return f"{report.failovers:,} simulated failovers each, seed {report.seed}: p50 · p99 · worst"


def as_json(rows: Sequence[Mapping[str, object]]) -> str:
    """The rows as the text of a file."""
    return json.dumps(rows, indent=1) + "\n"


if __name__ == "__main__":
    main()
