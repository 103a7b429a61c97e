"""The page and the figures of ``make bench-cold``."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cost.markdown import table_row


@dataclass(frozen=True, slots=True)
class Row:
    """The measurements of one start.

    Attributes:
        name: Its name.
        instructions: Its instructions without those of the interpreter; None if not counted.
        instructions_ratio: The ratio to the bare client; None if not counted.
        median_ms: Its median in milliseconds.
        wall_ratio: The ratio of its median to the bare client's median.
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
        """Return the row of a start, compared with the bare client."""
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
        name: Its name.
        owner: The package that it belongs to.
        instructions: The instructions that it adds.
        ratio: The same, as a ratio to the bare client.
    """

    name: str
    owner: str
    instructions: int
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The measurements and the machine.

    Attributes:
        date: The day (UTC).
        python: The interpreter's version.
        versions: The versions of the packages, by name.
        valgrind: Its version; None if there was none, and then nothing was counted.
        cores: How many the machine has.
        load: Its load average of one minute, after the timed runs.
        repetitions: Timed runs of each.
        rows: The bare client, the artifacts, and the sync function without bytecode.
        parts: The parts of the start of ReconcileTargetsFunction, in order; none if not counted.
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
    """Return the page."""
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
            "| part | million instructions | ratio | package |",
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

The cold start is what a new container does before its first AWS call: imports, settings, clients.
The benchmark starts the built artifacts in fresh processes of one interpreter, with Lambda's import
path. It compares them with a bare `import boto3; boto3.client("elbv2")` in the same environment,
with the same compiled packages. No figure includes the start of the interpreter.

**Not measured on AWS**: the figures include neither the start of the sandbox nor Lambda's slower
CPU, so compare the ratios. The SDK is the locked version of this project; Lambda's may differ.

{measured}

| | million instructions | ratio | wall | ratio |
|---|---:|---:|---:|---:|
{rows}

The instructions do not include the kernel's work: a bare client lists about 870 folders, ours a
few. ReviewConnectionsFunction makes an EC2 client, whose model is the largest of AWS.
ReportStatusFunction makes that client and five more. ProvisionStackFunction makes its clients when
a request needs them.

## The parts of a start

ReconcileTargetsFunction with its default settings (`DatabaseKind` `rds-instance`):
{parts}
The functions import some modules only when they need them: the EC2 and RDS clients, authoritative
DNS, the notifications, and DNS itself, which a static database does not use.
`tests/functional/test_cold_start.py` checks that.

The goal is 1.0, the bare client. Two measures made the difference:

- The functions do not load botocore's table of the endpoints of every service. Our requests do not
  use it: `tests/contract/test_where_requests_go.py` compares their URLs and signatures.
- The garbage collector is off while the handler's module is imported, and ignores the imported
  objects later (`gc.freeze`): none of them is ever garbage.

Other measures were possible, and rejected:

- *An own DNS client* in place of dnspython. A widely tested library handles hostile packets,
  truncation and retries better ([ADR
  0004](../contributing/adr/0004-resolve-names-with-dnspython.md)).
- *Named tuples in place of frozen data classes.* Python compiles the methods of a data class at
  import, 4 to 7 million instructions for each; a named tuple needs 1 to 2. But a named tuple equals
  every tuple with the same items, so targets and addresses could be confused.
- *Importing dnspython at the first look-up.* The table would show less, but no run would be faster:
  every run looks up the name.
"""
