"""The report: one static HTML page with a drawing of each timeline.

The page has no script and loads nothing. It is readable without colour, in light and dark, and the
template escapes every text.
"""

import math
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from drill.results import Results, Timeline, format_seconds, summary

TEMPLATE = Path(__file__).with_name("report.html.j2")
#: The width of a drawing, its right margin, and the width of a character, in SVG units.
_WIDTH, _RIGHT, CHARACTER_WIDTH = 960, 90, 7.4
_LONGEST_LABEL = 34
_MOST_TICKS = 8
_GAP_LABEL = "no write acknowledged"


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
    """

    title: str
    started_at: float
    results: Results
    options: Mapping[str, str]
    versions: Mapping[str, str]
    note: str = ""

    @property
    def started(self) -> str:
        """When the run started, as text."""
        return datetime.fromtimestamp(self.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    @property
    def summary(self) -> str:
        """Whether all expectations hold, as a sentence."""
        return summary(self.results.expectations)


def write_html(path: Path, report: Report, template: Path = TEMPLATE) -> None:
    """Write the report as one HTML file.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(render(template, report=report, results=report.results), encoding="utf-8")


def render(template: Path, **values: object) -> str:
    """Return a template with these values, escaped. It may use templates of both folders."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, TEMPLATE.parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(WIDTH=_WIDTH, GAP_LABEL=_GAP_LABEL)
    environment.filters.update(
        seconds=format_seconds, px="{:.1f}".format, label=_shortened, scale=_scale
    )
    return environment.get_template(template.name).render(**values)


def package_versions(packages: Iterable[str]) -> Mapping[str, str]:
    """Return the versions of Python and of installed packages, by name."""
    return {
        "Python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps seconds to x coordinates of a drawing, from `left` to the right margin."""

    first: float
    last: float
    left: float

    def x(self, seconds: float) -> float:
        """Return the x coordinate of a time."""
        span = self.last - self.first
        return self.left + (seconds - self.first) / span * (_WIDTH - _RIGHT - self.left)

    def ticks(self) -> list[float]:
        """Return the round seconds that the axis shows."""
        step = _nice_step((self.last - self.first) / _MOST_TICKS)
        first, last = math.ceil(self.first / step), math.floor(self.last / step)
        return [round(count * step, 6) for count in range(first, last + 1)]


def _nice_step(least: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _scale(timeline: Timeline) -> Scale:
    seconds = [timeline.seconds(moment.at) for moment in timeline.ordered]
    if (gap := timeline.write_gap) is not None:
        seconds += [timeline.seconds(gap.start), timeline.seconds(gap.end)]
    labels = [_shortened(moment.name) for moment in timeline.ordered] + [_GAP_LABEL]
    first, last = min(seconds), max(seconds)
    return Scale(first, max(last, first + 0.01), 26 + CHARACTER_WIDTH * max(map(len, labels)))


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
