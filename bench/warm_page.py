"""The page and the claims of ``make bench-warm``."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.claims import Claim, claim_rows
from bench.percentiles import Percentiles
from cost.markdown import table_row

#: Python gets memory from the system in arenas of 1 MiB, so one run more or less may cost one. A
#: leak of 2 KiB a run would be seen: from the first hundred to the last it is 1.8 MiB.
ARENA_MIB = 1.0
#: Pieces of memory that a run may happen to hold and another not. A leak of one piece a run would
#: be 900 from the end of the first hundred to the last run.
BLOCKS = 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """A hundred runs in a row.

    Attributes:
        rss_mib: The resident memory of the process after a run; the median.
        blocks: Pieces of memory that Python had allocated after the last of them.
        files: Open files, sockets among them, after a run; the median.
        threads: Threads after a run; the median: those of a pool may end a moment later.
        p50_ms: Milliseconds of a run, from the event to the answer; the median.
        p99_ms: The same, of all but the slowest in a hundred.
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
        """What was seen run by run."""
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
    """Everything that was measured, and on what.

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
    """What is claimed of each function. Times are not: they are the machine's too."""
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
    """The page."""
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
runtime interface client, from the import path that Lambda gives it. AWS, DNS and Lambda's Runtime
API are stubs on this machine, and are in none of the figures but the times. **Not measured on
AWS.**

Made by `make bench-warm` on {date}: CPython {python}, {cores} cores with a load of {load}.

*sync* is the function of `template.yaml`, at scheduled runs that find all in order. *sweep of a
fleet* has 100 groups, of which the audit comes to one: the sweeps follow each other at once, and
in a minute it would come to seven. *worker of a fleet* gets batches of two orders on groups that
are right, and a share of ELB's calls that is never used up: of the real one it would get a call
every two seconds.

| function | hundred runs | memory, MiB | objects | files | threads | p50, ms | p99, ms |
|---|---|---:|---:|---:|---:|---:|---:|
{rows}

*memory* is the resident memory of the process, the median after each run; *objects* the pieces of
memory that Python had allocated after the last run of the hundred, without garbage and without
Python's cache of the names that were last looked up in classes; *files* and *threads* the median
after a run. A run's time begins with its event at the Runtime API and ends with its
answer.

## Claims

`make bench-warm` fails if one of them does not hold.

| claim | measured | |
|---|---:|---|
{claims}

Why these bounds: Python gets its memory from the system in arenas of {arena} MiB, so one run that
needs a little more than those before can cost one, once. A leak of 2 KiB a run would be 1.8 MiB. A
leak of one object a run would be 900; {blocks} are what one run may happen to hold and another not.
Times have no bound, because they are the machine's as much as ours.
"""
