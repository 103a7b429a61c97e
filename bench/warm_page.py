"""The page and the claims of ``make bench-warm``."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.claims import Claim, claim_rows
from bench.percentiles import Percentiles
from cost.markdown import table_row

#: Python gets memory from the system in arenas of 1 MiB, so a run can need one more. A leak of
#: 2 KiB a run exceeds this: between the first and the last hundred runs it is 1.8 MiB.
ARENA_MIB = 1.0
#: Memory blocks by which two runs may differ. A leak of one block a run would be 900 between the
#: end of the first hundred and the last run.
BLOCKS = 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """A hundred runs in a row.

    Attributes:
        rss_mib: The resident memory of the process after a run; the median.
        blocks: Memory blocks that Python had allocated after the last run.
        files: Open files, sockets among them, after a run; the median.
        threads: Threads after a run; the median, because threads of a pool may end later.
        p50_ms: Milliseconds of a run, from the event to the reply; the median.
        p99_ms: The same, as the 99th percentile.
    """

    rss_mib: float
    blocks: int
    files: int
    threads: int
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(
        cls,
        *,
        rss_mib: Sequence[float],
        files: Sequence[int],
        threads: Sequence[int],
        seconds: Sequence[float],
        blocks: int,
    ) -> "Stretch":
        """Return the summary of figures that were recorded run by run."""
        shares = Percentiles.of(1_000 * value for value in seconds)
        return cls(
            rss_mib=round(statistics.median(rss_mib), 2),
            blocks=blocks,
            files=statistics.median_high(files),
            threads=statistics.median_high(threads),
            p50_ms=shares.p50,
            p99_ms=shares.p99,
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """A function, and its first, middle and last runs."""

    name: str
    runs: int
    first: Stretch
    middle: Stretch
    last: Stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The measurements and the machine.

    Attributes:
        date: The day (UTC).
        python: The interpreter's version.
        cores: How many the machine has.
        load: Its load average of one minute, after the runs.
        subjects: The functions.
    """

    date: str
    python: str
    cores: int
    load: float
    subjects: tuple[Subject, ...]


def claims(subjects: Iterable[Subject]) -> Iterator[Claim]:
    """Yield the claims about each function. Times are not claimed: they depend on the machine."""
    for subject in subjects:
        first, last = subject.first, subject.last
        grown = last.rss_mib - first.rss_mib
        yield Claim(
            f"{subject.name}: at most {ARENA_MIB:g} MiB more memory in the last runs than in the"
            " first",
            f"{grown:+.2f} MiB",
            grown <= ARENA_MIB,
        )
        more = last.blocks - first.blocks
        yield Claim(
            f"{subject.name}: at most {BLOCKS} more objects after the last run than after the first"
            " hundred",
            f"{more:+d}",
            more <= BLOCKS,
        )
        yield Claim(
            f"{subject.name}: no more open files and threads in the last runs than in the first",
            f"{last.files - first.files:+d}, {last.threads - first.threads:+d}",
            last.files <= first.files and last.threads <= first.threads,
        )


def to_markdown(report: Report) -> str:
    """Return the page."""
    return _PAGE.format(
        date=report.date,
        python=report.python,
        cores=report.cores,
        load=f"{report.load:g}",
        runs=f"{report.subjects[0].runs:,}",
        rows="\n".join(row for subject in report.subjects for row in _rows(subject)),
        claims=claim_rows(claims(report.subjects)),
        arena=f"{ARENA_MIB:g}",
        blocks=BLOCKS,
    )


def _rows(subject: Subject) -> Iterator[str]:
    for name, figures in (
        ("first", subject.first),
        ("middle", subject.middle),
        ("last", subject.last),
    ):
        cells = (
            subject.name,
            name,
            f"{figures.rss_mib:.2f}",
            f"{figures.blocks:,}",
            f"{figures.files}",
            f"{figures.threads}",
            f"{figures.p50_ms:.1f}",
            f"{figures.p99_ms:.1f}",
        )
        yield table_row(*cells)


_PAGE = """\
# Warm runs

{runs} runs of each function in one container: the built artifact in one process, under Lambda's
runtime interface client, with Lambda's import path. AWS, DNS and Lambda's Runtime API are stubs on
this machine. Only the times include them. **Not measured on AWS.**

Made by `make bench-warm` on {date}: CPython {python}, {cores} cores with a load of {load}.

*sync* is ReconcileTargetsFunction of `template.yaml`; its scheduled runs find the group in sync.
*sweep of a fleet* has 100 groups. Each sweep audits one of them, because the sweeps follow each
other at once; a sweep each minute would audit seven. *worker of a fleet* gets batches of two work
items for groups in sync. Its call budget is unlimited here; the real one allows a call every two
seconds.

| function | hundred runs | memory, MiB | objects | files | threads | p50, ms | p99, ms |
|---|---|---:|---:|---:|---:|---:|---:|
{rows}

*memory* is the resident memory of the process: the median after each run. *objects* are the memory
blocks that Python had allocated after the last run of the hundred, without garbage and without
Python's type attribute cache. *files* and *threads* are medians after each run. The time of a run
starts with its event at the Runtime API and ends with its reply.

## Claims

`make bench-warm` fails if a claim does not hold.

| claim | measured | |
|---|---:|---|
{claims}

The reasons for the bounds: Python gets its memory from the system in arenas of {arena} MiB, so a
run that needs slightly more memory can add one arena, once. A leak of 2 KiB a run would add 1.8
MiB. A leak of one object a run would add 900 objects; two runs may differ by {blocks}. Times have
no bound, because they depend on the machine.
"""
