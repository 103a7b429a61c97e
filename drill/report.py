"""The report: one static HTML page with a drawing of each timeline.

The page has no script and loads nothing. It is readable without colour, in light and dark, and it
escapes every text.
"""

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path

from drill.results import Expectation, Results, Timeline, format_seconds, summary

# Geometry of the drawings, in SVG units: CSS pixels at full width.
WIDTH = 960
_ROW = 28
TOP = 34
BOTTOM = 12
_RIGHT = 90
CHARACTER_WIDTH = 7.4
_LONGEST_LABEL = 34
_MOST_TICKS = 8

# With this policy the browser refuses scripts and external resources.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

COLOURS = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #5a6675; --line: #d5dbe3;
  --paper: #ffffff; --band: #fdecd8; --gap: #b45309; --dot: #1d4ed8; --good: #166534;
  --bad: #b91c1c; --detect: #1d4ed8; --register: #6d28d9; --healthy: #d97706; --write: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --quiet: #9aa7b8;
  --line: #35404f; --paper: #12171f; --band: #3a2a14; --gap: #f59e0b; --dot: #7aa7ff;
  --good: #4ade80; --bad: #f87171; --detect: #7aa7ff; --register: #c4b5fd; --healthy: #f59e0b;
  --write: #5eead4; } }
"""

DRAWING_STYLE = """
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg .tick { fill: var(--quiet); font-size: 12px; }
svg .grid { stroke: var(--line); } svg .lead { stroke: var(--line); stroke-dasharray: 2 3; }
svg .dot { fill: var(--dot); } svg .band { fill: var(--band); } svg .gap { fill: var(--gap); }
svg .strong { font-weight: 600; } svg .paper { fill: var(--paper); }
svg .detect { fill: var(--detect); } svg .register { fill: var(--register); }
svg .healthy { fill: var(--healthy); } svg .first-write { fill: var(--write); }
svg .promoted { stroke: var(--ink); stroke-width: 2; }
"""

_PAGE_STYLE = """
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
p.quiet, td.note, figcaption { color: var(--quiet); }
p.summary { font-size: 1.1rem; font-weight: 600; border-left: 4px solid; padding-left: 0.8rem; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 700; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.9rem 0.3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.number { width: 6rem; padding-right: 2rem; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
td.status { width: 4rem; white-space: nowrap; } td.name { width: 16rem; }
th.number { text-align: right; padding-right: 2rem; }
.figure { text-align: right; font-variant-numeric: tabular-nums; }
td.figure { white-space: nowrap; }
figure { margin: 1rem 0; overflow-x: auto; } svg { width: 100%; min-width: 40rem; height: auto; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr));
  gap: 0 2.5rem; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The content of the page.

    Attributes:
        title: The page's title.
        started_at: When the run started, in epoch seconds.
        results: The timelines and the expectations.
        options: The options of the run, by name.
        versions: The versions of the software, by name.
        note: A paragraph below the title.
        sections: HTML of further sections, before the timelines.
    """

    title: str
    started_at: float
    results: Results
    options: Mapping[str, str]
    versions: Mapping[str, str]
    note: str = ""
    sections: Sequence[str] = ()


def write_html(path: Path, report: Report) -> None:
    """Write the report as one HTML file.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(_page(report), encoding="utf-8")


def package_versions(packages: Iterable[str]) -> Mapping[str, str]:
    """Return the versions of Python and of installed packages, by name."""
    return {
        "Python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _page(report: Report) -> str:
    started = datetime.fromtimestamp(report.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    results = report.results
    tone = "good" if results.all_hold else "bad"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{escape(report.title)}</title>",
        f"<style>{COLOURS}{_PAGE_STYLE}{DRAWING_STYLE}</style></head><body>",
        f"<h1>{escape(report.title)}</h1>",
        *([f"<p>{escape(report.note)}</p>"] if report.note else []),
        f'<p class="quiet">Started {started}</p>',
        f'<p class="summary {tone}">{escape(summary(results.expectations))}.</p>',
        *report.sections,
        *(_timeline(number, timeline) for number, timeline in enumerate(results.timelines)),
        f"<h2>Expectations</h2>{_expectations(results.expectations)}",
        '<div class="columns">',
        f"<section><h2>Options</h2>{_pairs(report.options)}</section>",
        f"<section><h2>Versions</h2>{_pairs(report.versions)}</section>",
        "</div></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _timeline(number: int, timeline: Timeline) -> str:
    rows = [
        row(
            cell(moment.name, "name"),
            cell(format_seconds(timeline.seconds(moment.at)), "number"),
            cell(moment.note, "note"),
        )
        for moment in timeline.ordered
    ]
    gap = ""
    if timeline.write_gap is not None:
        seconds = format_seconds(timeline.write_gap.seconds)
        gap = f"<p>Writes were interrupted for <strong>{seconds}</strong>.</p>"
    return (
        f"<h2>{escape(timeline.title)}</h2>{gap}"
        f"<figure>{_drawing(number, timeline)}</figure>"
        f"{table([heading('What'), heading('After', 'number'), heading('Note')], rows)}"
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps seconds to x coordinates of a drawing, from `left` to the right margin."""

    first: float
    last: float
    left: float

    def x(self, seconds: float) -> float:
        """Return the x coordinate of a time."""
        span = self.last - self.first
        return self.left + (seconds - self.first) / span * (WIDTH - _RIGHT - self.left)

    def ticks(self) -> list[float]:
        """Return the round seconds that the axis shows."""
        step = _nice_step((self.last - self.first) / _MOST_TICKS)
        first, last = math.ceil(self.first / step), math.floor(self.last / step)
        return [round(count * step, 6) for count in range(first, last + 1)]


def _nice_step(least: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _drawing(number: int, timeline: Timeline) -> str:
    """Draw a time axis with a row for each moment, so that labels never overlap."""
    scale = _scale(timeline)
    count = len(timeline.ordered) + (timeline.write_gap is not None)
    bottom = TOP + count * _ROW
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img"',
        f' aria-labelledby="drawing-{number}">',
        f'<title id="drawing-{number}">{escape(timeline.title)}, seconds after the cause</title>',
        *_gap_band(timeline, scale, bottom),
        *axis(scale, bottom),
    ]
    for index, moment in enumerate(timeline.ordered):
        parts += _marker(index, moment.name, timeline.seconds(moment.at), scale)
    parts += _gap_bar(timeline, scale, count - 1)
    return "".join([*parts, "</svg>"])


def _scale(timeline: Timeline) -> Scale:
    seconds = [timeline.seconds(moment.at) for moment in timeline.ordered]
    if timeline.write_gap is not None:
        seconds += [
            timeline.seconds(at) for at in (timeline.write_gap.start, timeline.write_gap.end)
        ]
    labels = [_shortened(moment.name) for moment in timeline.ordered] + [_GAP_LABEL]
    first, last = min(seconds), max(seconds)
    return Scale(first, max(last, first + 0.01), 26 + CHARACTER_WIDTH * max(map(len, labels)))


_GAP_LABEL = "no write acknowledged"


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def axis(scale: Scale, bottom: float) -> list[str]:
    """Return the SVG of a time axis with grid lines down to `bottom`."""
    parts = []
    for tick in scale.ticks():
        x = scale.x(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="16" text-anchor="middle">{tick:g} s</text>'
        )
    return parts


def _marker(row: int, name: str, seconds: float, scale: Scale) -> list[str]:
    x, y = scale.x(seconds), TOP + (row + 0.5) * _ROW
    return [
        f'<text x="0" y="{y + 4:.1f}">{escape(_shortened(name))}</text>',
        f'<line class="lead" x1="{scale.left - 8:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        f'<text x="{x + 11:.1f}" y="{y + 4:.1f}">{format_seconds(seconds)}</text>',
    ]


def _gap_span(timeline: Timeline, scale: Scale) -> tuple[float, float] | None:
    """Return the x coordinate and the width of the write gap; at least 3 wide."""
    if timeline.write_gap is None:
        return None
    start = scale.x(timeline.seconds(timeline.write_gap.start))
    return start, max(3.0, scale.x(timeline.seconds(timeline.write_gap.end)) - start)


def _gap_band(timeline: Timeline, scale: Scale, bottom: float) -> list[str]:
    span = _gap_span(timeline, scale)
    if span is None:
        return []
    x, width = span
    height = bottom - TOP + 8
    return [f'<rect class="band" x="{x:.1f}" width="{width:.1f}" y="{TOP - 8}" height="{height}"/>']


def _gap_bar(timeline: Timeline, scale: Scale, row: int) -> list[str]:
    span = _gap_span(timeline, scale)
    if span is None or timeline.write_gap is None:
        return []
    x, width = span
    y = TOP + (row + 0.5) * _ROW
    seconds = format_seconds(timeline.write_gap.seconds)
    return [
        f'<text class="strong" x="0" y="{y + 4:.1f}">{_GAP_LABEL}</text>',
        f'<rect class="gap" x="{x:.1f}" width="{width:.1f}" y="{y - 7:.1f}" height="14" rx="2"/>',
        f'<text class="strong" x="{x + width + 8:.1f}" y="{y + 4:.1f}">{seconds}</text>',
    ]


def _expectations(expectations: Iterable[Expectation]) -> str:
    rows = [
        row(status_cell(holds=entry.holds), cell(entry.text), cell(entry.detail, "note"))
        for entry in expectations
    ]
    return table([heading(""), heading("Expectation"), heading("Observed")], rows)


def status_cell(*, holds: bool) -> str:
    """Return a table cell with "pass" or "FAIL"."""
    text, tone = ("✓ pass", "good") if holds else ("✗ FAIL", "bad")
    return cell(text, f"status {tone}")


def _pairs(pairs: Mapping[str, str]) -> str:
    rows = [row(cell(name, "name"), cell(value)) for name, value in pairs.items()]
    return table([heading("Name"), heading("Value")], rows)


def table(heads: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table with these heading cells and rows."""
    head = "".join(heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def heading(text: str, kind: str = "") -> str:
    """Return a heading cell of a CSS class."""
    return cell(text, kind, tag="th")


def row(*cells: str) -> str:
    """Return a table row."""
    return f"<tr>{''.join(cells)}</tr>"


def cell(text: str, kind: str = "", tag: str = "td") -> str:
    """Return a table cell of a CSS class; its text is escaped."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<{tag}{attribute}>{escape(text)}</{tag}>"
