"""The lab's report: one static HTML page with the timelines drawn.

It has no script and loads nothing, is readable without colour and in light and dark, and every
text on it is escaped.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from lab.faults import HEADS, SeenFault
from lab.timeline import (
    Expectation,
    Outage,
    Phase,
    Timeline,
    format_seconds,
    outage_figures,
    verdict,
)

# Geometry of the drawings, in SVG units (CSS pixels at full width).
_WIDTH = 960
_ROW = 28
_TOP = 34
_BOTTOM = 12
_RIGHT = 90
_CHARACTER = 7.4
_LONGEST_LABEL = 34
_MOST_TICKS = 8

# The browser itself then refuses scripts and anything from elsewhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_COLOURS = """
:root { color-scheme: light dark; --ink: #1c2430; --quiet: #5a6675; --line: #d5dbe3;
  --paper: #ffffff; --band: #fdecd8; --gap: #b45309; --dot: #1d4ed8; --good: #166534;
  --bad: #b91c1c; --detect: #1d4ed8; --register: #6d28d9; --healthy: #d97706; --write: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --quiet: #9aa7b8;
  --line: #35404f; --paper: #12171f; --band: #3a2a14; --gap: #f59e0b; --dot: #7aa7ff;
  --good: #4ade80; --bad: #f87171; --detect: #7aa7ff; --register: #c4b5fd; --healthy: #f59e0b;
  --write: #5eead4; } }
"""

_DRAWING_STYLE = """
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
p.verdict { font-size: 1.1rem; font-weight: 600; border-left: 4px solid; padding-left: 0.8rem; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 700; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.9rem 0.3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
td.number { width: 6rem; padding-right: 2rem; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
td.mark { width: 4rem; white-space: nowrap; } td.name { width: 16rem; }
th.number { text-align: right; padding-right: 2rem; }
.figure { text-align: right; font-variant-numeric: tabular-nums; }
td.figure { white-space: nowrap; }
figure { margin: 1rem 0; overflow-x: auto; } svg { width: 100%; min-width: 40rem; height: auto; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr));
  gap: 0 2.5rem; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page shows.

    Attributes:
        title: The page's title.
        started_at: When the run started, in epoch seconds.
        timelines: One for each failover or repair.
        outages: What each strategy made of a failover, to be compared.
        faults: What the status and the alarms said of each fault.
        expectations: What had to be true, and whether it was.
        options: The lab's options by name, as used.
        versions: The parts' versions by name.
    """

    title: str
    started_at: float
    timelines: tuple[Timeline, ...]
    outages: tuple[Outage, ...] = ()
    faults: tuple[SeenFault, ...] = ()
    expectations: tuple[Expectation, ...]
    options: Mapping[str, str]
    versions: Mapping[str, str]


def write_html(path: Path, report: Report) -> None:
    """Write the report as a page of its own.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(_page(report), encoding="utf-8")


def write_figure(path: Path, outages: Sequence[Outage]) -> None:
    """Write the drawing of the outages as an SVG file of its own.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(_outages_drawing(outages, alone=True) + "\n", encoding="utf-8")


def _page(report: Report) -> str:
    started = datetime.fromtimestamp(report.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    tone = "good" if all(entry.holds for entry in report.expectations) else "bad"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{escape(report.title)}</title>",
        f"<style>{_COLOURS}{_PAGE_STYLE}{_DRAWING_STYLE}</style></head><body>",
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="quiet">Started {started}</p>',
        f'<p class="verdict {tone}">{escape(verdict(report.expectations))}.</p>',
        *([_outages(report.outages)] if report.outages else []),
        *([_faults(report.faults)] if report.faults else []),
        *(_timeline(number, timeline) for number, timeline in enumerate(report.timelines)),
        f"<h2>Expectations</h2>{_expectations(report.expectations)}",
        '<div class="columns">',
        f"<section><h2>Options</h2>{_pairs(report.options)}</section>",
        f"<section><h2>Versions</h2>{_pairs(report.versions)}</section>",
        "</div></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _outages(outages: Sequence[Outage]) -> str:
    figures = [outage_figures(outage) for outage in outages]
    heads = [_head("Strategy"), *(_head(name.capitalize(), "figure") for name in figures[0])]
    rows = [
        _row(_cell(outage.strategy), *(_cell(value, "figure") for value in values.values()))
        for outage, values in zip(outages, figures, strict=True)
    ]
    return (
        "<h2>Outages side by side</h2>"
        f"<figure>{_outages_drawing(outages, alone=False)}</figure>{_table(heads, rows)}"
        f'<p class="quiet">{escape(_OUTAGES_NOTE)}</p>'
    )


def _faults(faults: Iterable[SeenFault]) -> str:
    rows = [
        _row(
            _mark(holds=fault.as_expected),
            *map(_cell, (fault.name, fault.step, fault.remedy, ", ".join(fault.told_alarms))),
        )
        for fault in faults
    ]
    return f"<h2>Faults</h2>{_table([_head(''), *(_head(h.capitalize()) for h in HEADS)], rows)}"


def _timeline(number: int, timeline: Timeline) -> str:
    rows = [
        _row(
            _cell(moment.name, "name"),
            _cell(format_seconds(timeline.seconds(moment.at)), "number"),
            _cell(moment.note, "note"),
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
        f"{_table([_head('What'), _head('After', 'number'), _head('Note')], rows)}"
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps seconds after the cause to a place on the drawing."""

    first: float
    last: float
    left: float

    def x(self, seconds: float) -> float:
        span = self.last - self.first
        return self.left + (seconds - self.first) / span * (_WIDTH - _RIGHT - self.left)

    def ticks(self) -> list[float]:
        step = _nice_step((self.last - self.first) / _MOST_TICKS)
        first, last = math.ceil(self.first / step), math.floor(self.last / step)
        return [round(count * step, 6) for count in range(first, last + 1)]


def _nice_step(least: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _drawing(number: int, timeline: Timeline) -> str:
    """Draw a time axis with a row for each moment, so that labels never meet."""
    scale = _scale(timeline)
    count = len(timeline.ordered) + (timeline.write_gap is not None)
    bottom = _TOP + count * _ROW
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + _BOTTOM}" role="img"',
        f' aria-labelledby="drawing-{number}">',
        f'<title id="drawing-{number}">{escape(timeline.title)}, seconds after the cause</title>',
        *_gap_band(timeline, scale, bottom),
        *_axis(scale, bottom),
    ]
    for row, moment in enumerate(timeline.ordered):
        parts += _marker(row, moment.name, timeline.seconds(moment.at), scale)
    parts += _gap_bar(timeline, scale, count - 1)
    return "".join([*parts, "</svg>"])


def _scale(timeline: Timeline) -> _Scale:
    seconds = [timeline.seconds(moment.at) for moment in timeline.ordered]
    if timeline.write_gap is not None:
        seconds += [
            timeline.seconds(at) for at in (timeline.write_gap.start, timeline.write_gap.end)
        ]
    labels = [_shortened(moment.name) for moment in timeline.ordered] + [_GAP_LABEL]
    first, last = min(seconds), max(seconds)
    return _Scale(first, max(last, first + 0.01), 26 + _CHARACTER * max(map(len, labels)))


_GAP_LABEL = "no write acknowledged"


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def _axis(scale: _Scale, bottom: float) -> list[str]:
    parts = []
    for tick in scale.ticks():
        x = scale.x(tick)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{bottom}"/>'
        )
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="16" text-anchor="middle">{tick:g} s</text>'
        )
    return parts


def _marker(row: int, name: str, seconds: float, scale: _Scale) -> list[str]:
    x, y = scale.x(seconds), _TOP + (row + 0.5) * _ROW
    return [
        f'<text x="0" y="{y + 4:.1f}">{escape(_shortened(name))}</text>',
        f'<line class="lead" x1="{scale.left - 8:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        f'<text x="{x + 11:.1f}" y="{y + 4:.1f}">{format_seconds(seconds)}</text>',
    ]


def _gap_span(timeline: Timeline, scale: _Scale) -> tuple[float, float] | None:
    """Return where the write gap begins and how wide it is; wide enough to be seen."""
    if timeline.write_gap is None:
        return None
    start = scale.x(timeline.seconds(timeline.write_gap.start))
    return start, max(3.0, scale.x(timeline.seconds(timeline.write_gap.end)) - start)


def _gap_band(timeline: Timeline, scale: _Scale, bottom: float) -> list[str]:
    span = _gap_span(timeline, scale)
    if span is None:
        return []
    x, width = span
    height = bottom - _TOP + 8
    return [
        f'<rect class="band" x="{x:.1f}" width="{width:.1f}" y="{_TOP - 8}" height="{height}"/>'
    ]


def _gap_bar(timeline: Timeline, scale: _Scale, row: int) -> list[str]:
    span = _gap_span(timeline, scale)
    if span is None or timeline.write_gap is None:
        return []
    x, width = span
    y = _TOP + (row + 0.5) * _ROW
    seconds = format_seconds(timeline.write_gap.seconds)
    return [
        f'<text class="strong" x="0" y="{y + 4:.1f}">{_GAP_LABEL}</text>',
        f'<rect class="gap" x="{x:.1f}" width="{width:.1f}" y="{y - 7:.1f}" height="14" rx="2"/>',
        f'<text class="strong" x="{x + width + 8:.1f}" y="{y + 4:.1f}">{seconds}</text>',
    ]


_OUTAGES_NOTE = (
    "Seconds after the beginning of the failover. Promoted: from then on the new primary accepts"
    " writes. No write for: from the last row acknowledged before it to the first one after it."
    " Needed: what the database and the set delays themselves take. A dash stands for what did not"
    " happen, or was not looked at: an address that is registered already is not registered again."
)
_OUTAGES_TITLE = "Outages side by side, seconds after the beginning of the failover"
#: A strategy's rows: its name, its bar, and its figures in words.
_STRATEGY = 78
_LEGEND = 30
_PHASES = ("detect", "register", "healthy", "first write")
_PROMOTED = "the new primary accepts writes"


def _outages_drawing(outages: Sequence[Outage], *, alone: bool) -> str:
    """Draw a bar for each strategy, in parts, on one axis; what colours say stands in words too."""
    last = max((outage.phases[-1].end for outage in outages), default=0.0)
    scale = _Scale(0.0, max(last, 0.01), 16)
    top = _TOP + _LEGEND
    bottom = top + _STRATEGY * len(outages)
    height = bottom + _BOTTOM
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="outages"',
        ' xmlns="http://www.w3.org/2000/svg">' if alone else ">",
        f'<title id="outages">{escape(_OUTAGES_TITLE)}</title>',
    ]
    if alone:
        parts += [
            f"<style>{_COLOURS}{_DRAWING_STYLE}</style>",
            f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        ]
    parts += [_legend(), f'<g transform="translate(0 {_LEGEND})">', *_axis(scale, bottom - _LEGEND)]
    parts.append("</g>")
    for row, outage in enumerate(outages):
        parts += _outage_bar(outage, scale, top + row * _STRATEGY)
    return "".join([*parts, "</svg>"])


def _legend() -> str:
    parts, x = [], 16.0
    for name in _PHASES:
        parts.append(f'<rect class="{_kind(name)}" x="{x:.1f}" y="6" width="12" height="12"/>')
        parts.append(_text(x + 18, 17, name))
        x += 44 + _CHARACTER * len(name)
    return "".join([*parts, _upright(x, 4, 20), _text(x + 8, 17, _PROMOTED)])


def _kind(phase: str) -> str:
    return phase.replace(" ", "-")


def _outage_bar(outage: Outage, scale: _Scale, top: float) -> list[str]:
    bar = top + 24
    parts = [_text(scale.left, top + 16, outage.strategy, "strong")]
    for phase in outage.phases:
        x, end = scale.x(phase.start), scale.x(phase.end)
        parts.append(
            f'<rect class="{_kind(phase.name)}" x="{x:.1f}" y="{bar:.1f}"'
            f' width="{end - x:.1f}" height="18"><title>{_in_words(phase)}</title></rect>'
        )
    promoted = scale.x(outage.promoted_at - outage.began_at)
    written = scale.x(outage.phases[-1].end)
    figures = " · ".join(map(_in_words, outage.phases))
    return [
        *parts,
        _upright(promoted, bar - 3, bar + 21),
        _text(written + 8, bar + 14, format_seconds(outage.phases[-1].end), "strong"),
        _text(scale.left, bar + 36, figures, "tick"),
    ]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _upright(x: float, top: float, bottom: float) -> str:
    return f'<line class="promoted" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'


def _in_words(phase: Phase) -> str:
    return f"{phase.name} {format_seconds(phase.seconds)}"


def _expectations(expectations: Iterable[Expectation]) -> str:
    rows = [
        _row(_mark(holds=entry.holds), _cell(entry.text), _cell(entry.detail, "note"))
        for entry in expectations
    ]
    return _table([_head(""), _head("Expectation"), _head("Seen")], rows)


def _mark(*, holds: bool) -> str:
    text, tone = ("✓ pass", "good") if holds else ("✗ FAIL", "bad")
    return _cell(text, f"mark {tone}")


def _pairs(pairs: Mapping[str, str]) -> str:
    rows = [_row(_cell(name, "name"), _cell(value)) for name, value in pairs.items()]
    return _table([_head("Name"), _head("Value")], rows)


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    head = "".join(heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _head(text: str, kind: str = "") -> str:
    return _cell(text, kind, tag="th")


def _row(*cells: str) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _cell(text: str, kind: str = "", tag: str = "td") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f"<{tag}{attribute}>{escape(text)}</{tag}>"
