"""The page and the figures of ``make bench-cold``."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cost.markdown import table_row


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured.

    Attributes:
        name: What it is.
        instructions: Those of its start, without the interpreter's; None if not counted.
        instructions_ratio: To the bare client's; None if not counted.
        median_ms: Milliseconds of its start.
        wall_ratio: Of the medians, to the bare client's.
    """

    name: str
    instructions: int | None
    instructions_ratio: float | None
    median_ms: float
    wall_ratio: float

    @classmethod
    def of(
        cls,
        name: str,
        count: int | None,
        bare: int | None,
        seconds: Sequence[float],
        bare_seconds: Sequence[float],
    ) -> "Row":
        """What was counted and timed, held against the bare client's."""
        median = statistics.median(seconds)
        return cls(
            name=name,
            instructions=count,
            instructions_ratio=None if count is None or bare is None else round(count / bare, 3),
            median_ms=round(median * 1000, 1),
            wall_ratio=round(median / statistics.median(bare_seconds), 3),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the sync function's start.

    Attributes:
        name: What it is.
        owner: Whose it is.
        instructions: What it adds.
        ratio: The same, in bare clients.
    """

    name: str
    owner: str
    instructions: int
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was measured, and on what.

    Attributes:
        date: The day (UTC).
        python: The interpreter's version.
        versions: Those of the packages, by name.
        valgrind: Its version; None if there was none, and then nothing was counted.
        cores: How many the machine has.
        load: Its load average of one minute, after the timed runs.
        repetitions: Timed runs of each.
        rows: The bare client, the artifacts, and the sync function without bytecode.
        parts: What the start of the sync function is made of, in order; none if not counted.
    """

    date: str
    python: str
    versions: Mapping[str, str]
    valgrind: str | None
    cores: int
    load: float
    repetitions: int
    rows: tuple[Row, ...]
    parts: tuple[Part, ...]


def to_markdown(report: Report) -> str:
    """The page."""
    return _PAGE.format(
        measured=_measured(report),
        rows="\n".join(map(_row, report.rows)),
        parts=_parts(report) or "\nNot counted: there was no valgrind.\n",
    )


def _measured(report: Report) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    counter = f"counted by cachegrind ({report.valgrind})" if report.valgrind else "not counted"
    text = (
        f"Made by `make bench-cold` on {report.date}: CPython {report.python}, {versions}.\n"
        f"Instructions: {counter}.\n"
        f"Wall: the median of {report.repetitions} fresh processes each, in turn, on {report.cores}"
        f" cores with a load of {report.load:g}."
    )
    if not report.python.startswith("3.13."):
        text += "\nThe shipped bytecode is for Python 3.13: here the artifacts ran without it."
    return text


def _row(row: Row) -> str:
    count, ratio = "not counted", ""
    if row.instructions is not None and row.instructions_ratio is not None:
        count, ratio = _millions(row.instructions), f"{row.instructions_ratio:.2f}"
    cells = (row.name, count, ratio, f"{row.median_ms:.0f} ms", f"{row.wall_ratio:.2f}")
    return table_row(*cells)


def _parts(report: Report) -> str:
    lines = [
        f"| {part.name} | {_millions(part.instructions)} | {part.ratio:+.2f} | {part.owner} |"
        for part in report.parts
    ]
    if not lines:
        return ""
    total = sum(part.instructions for part in report.parts)
    ratio = sum(part.ratio for part in report.parts)
    return "\n".join(
        [
            "",
            "| part | million instructions | in bare clients | whose |",
            "|---|---:|---:|---|",
            *lines,
            f"| **together** | {_millions(total)} | {ratio:.2f} | |",
            "",
        ]
    )


def _millions(count: int) -> str:
    return f"{count / 1e6:,.0f}"


_PAGE = """\
# The cold start

What a new container does before its first call to AWS: import, settings, clients. Measured in fresh
processes of one interpreter, on the built artifacts as they ship, from the import path that Lambda
gives them. It is held against a bare `import boto3; boto3.client("elbv2")` in the same environment,
with the same compiled packages. The interpreter's own start is in none of the figures.

**Not measured on AWS**: neither the start of the sandbox and of the interpreter nor Lambda's slower
CPU is in here, so the ratios are what counts; and the SDK is the one of this project's lock, which
is not always Lambda's.

{measured}

| | million instructions | ratio | wall | ratio |
|---|---:|---:|---:|---:|
{rows}

Instructions leave out the kernel's work, of which ours is less: a bare client looks into some 870
folders, ours into a few. The answer function makes a client of EC2, whose model is AWS's largest by
far. The status function makes that one and five more; the manage function makes none before a
request says which.

## What is left, and whose it is

The sync function at its default settings (`DatabaseKind` `rds-instance`):
{parts}
What only some stacks or runs need is imported when they need it: the EC2 and RDS clients, the
zone's own name servers, the messages, and DNS itself, which a static database does without. A test
holds that (`tests/functional/test_cold_start.py`).

The goal is 1.0, which is the bare client. What made the difference, and shipped with it:

- botocore's table of the endpoints of every service is left out. No request of ours goes by it:
  `tests/contract/test_where_requests_go.py` compares where they go and how they are signed.
- While the handler's module is imported Python looks for no garbage, and never again in what was
  imported (`gc.freeze`): none of it ever is.

What would still be possible, and why it is not done:

- *A DNS client of our own* in place of dnspython. Parsing what comes from the network, truncation,
  retries over several resolvers: a library that many others test does it better ([ADR
  0004](../adr/0004-dnspython.md)).
- *Named tuples in place of frozen data classes.* Python writes and compiles the methods of a data
  class when it is imported, 4 to 7 million instructions for each; a named tuple takes 1 to 2, and
  is equal to any other tuple with the same items, which is how targets and addresses get mixed up.
- *To import dnspython at the first look-up.* The table would show less, and no run would be faster:
  each of them looks the name up.
"""
