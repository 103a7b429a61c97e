"""The page and the figures of ``make bench-cold``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import sub

from bench.render import render

BARE, SYNC = "bare boto3 client", "ReconcileTargetsFunction"
CLUSTER, OURS = f"{SYNC} of a cluster", "this project's modules and settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures: numbers of instructions, without those of the interpreter's own start.

    Attributes:
        date: The day (UTC).
        python: The interpreter's version.
        versions: The versions of the packages, by name.
        valgrind: Its version.
        authorities: The number of certificate authorities in botocore's list.
        starts: Of the bare client and each function, until its first call.
        parts: Of the sync function up to each part of its start, its own included.
        without: Of the sync function without one of its measures, by the measure.
        first: Of the bare client with its first call, and of the sync function with its first run.
        calls: Of the bare client with `one` call, with `two` on one connection, `apart` on two
            connections, and so without the list of authorities (`own`).
    """

    date: str
    python: str
    versions: Mapping[str, str]
    valgrind: str
    authorities: int
    starts: Mapping[str, int]
    parts: Mapping[str, int]
    without: Mapping[str, int]
    first: Mapping[str, int]
    calls: Mapping[str, int]


def to_markdown(report: Report) -> str:
    """Return the page."""
    bare, sync, calls = report.starts[BARE], report.starts[SYNC], report.calls
    ends, connection = [0, *report.parts.values()], calls["apart"] - calls["one"]
    return render(
        "cold.md",
        report=report,
        versions=", ".join(f"{name} {number}" for name, number in report.versions.items()),
        starts=_rows(report.starts, bare),
        parts=_rows(dict(zip(report.parts, map(sub, ends[1:], ends), strict=True)), bare),
        saved=_rows({name: count - sync for name, count in report.without.items()}, sync),
        first=_rows(report.first, report.first[BARE]),
        calls=_rows(
            {
                "on the open connection": calls["two"] - calls["one"],
                "on a new connection": connection,
                "of these, for the authorities": (calls["apart"] - calls["own"]) // 2,
            },
            bare,
        ),
        with_one_connection=f"{(report.first[SYNC] - connection) / report.first[BARE]:.2f}",
    )


def _rows(counts: Mapping[str, int], whole: int) -> Iterator[tuple[str, str, str]]:
    for name, count in counts.items():
        yield name, f"{count / 1e6:,.0f}", f"{count / whole:.2f}"
