"""The page and the claims of ``make bench-warm``."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.claims import Claim, claim_rows
from bench.render import render

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
    """

    rss_mib: float
    blocks: int
    files: int
    threads: int


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
        subjects: The functions.
    """

    date: str
    python: str
    subjects: tuple[Subject, ...]


def claims(subjects: Iterable[Subject]) -> Iterator[Claim]:
    """Yield the claims about each function."""
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
    return render(
        "warm.md",
        report=report,
        claims=claim_rows(claims(report.subjects)),
        arena=ARENA_MIB,
        blocks=BLOCKS,
    )
