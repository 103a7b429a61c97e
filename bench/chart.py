"""Draws a chart as SVG, without scripts: panels of bars on logarithmic axes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from bench.render import render

_LEFT, _RIGHT, _TOP = 210, 690, 40
#: The heights of a title, a bar, and the labels below the bars.
_HEAD, _BAR, _FOOT = 46, 24, 34


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a panel.

    Attributes:
        label: Its name, on the left.
        values: One value for a bar from the start of the axis, or p50, p99 and the maximum.
        text: The values in words, on the right.
        ours: Whether it is this project's, and therefore blue.
    """

    label: str
    values: Sequence[float]
    text: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars with a title and an axis.

    Attributes:
        title: The title.
        bars: The bars.
        least: The start of the axis. Smaller values are drawn there.
        ticks: The labels of the axis by their values.
    """

    title: str
    bars: Sequence[Bar]
    least: float = 1.0
    ticks: Mapping[float, str] = field(default_factory=dict)

    @property
    def height(self) -> int:
        """The height of the panel."""
        return _HEAD + _BAR * len(self.bars) + _FOOT

    def x(self, value: float) -> float:
        """Return the position of a value."""
        most = max(*self.ticks, *(max(bar.values) for bar in self.bars), 2 * self.least)
        share = math.log(max(value, self.least) / self.least) / math.log(most / self.least)
        return round(_LEFT + share * (_RIGHT - _LEFT), 1)


def draw_chart(caption: str, panels: Sequence[Panel]) -> str:
    """Return the chart as SVG."""
    *tops, height = accumulate((panel.height for panel in panels), initial=_TOP)
    placed = list(zip(tops, panels, strict=True))
    return render("chart.svg", caption=caption, height=height, panels=placed)
