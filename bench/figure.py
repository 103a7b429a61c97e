"""The figure: p50, p99 and maximum of each strategy. Plain SVG, no script."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from bench.percentiles import Percentiles
from bench.results import Row
from bench.simulation import MISSED_SECONDS
from bench.strategies import OURS
from bench.world import Kind

_WIDTH, _LEFT, _RIGHT, _ROW, _HEAD, _FOOT, _TOP = 860, 210, 170, 24, 46, 34, 40
#: Smaller values are drawn here, because the axis is logarithmic.
_LEAST = 0.3
_TICKS = (_LEAST, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 900.0)

#: The style of every figure of the benchmarks, for light and dark pages.
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .head { font-size: 14px; font-weight: 600 }
  .small { font-size: 11px; fill: #57606a }
  .grid { stroke: #d0d7de }
  .others { fill: #8c959f; stroke: #8c959f }
  .ours { fill: #0969da; stroke: #0969da }
  .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .others { fill: #848d97; stroke: #848d97 }
    .ours { fill: #4493f8; stroke: #4493f8 }
    .back { fill: #0d1117 }
  }
"""


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    kind: Kind
    figure: Callable[[Row], Percentiles]


_PANELS = (
    _Panel(
        "Instance: from the flip of the name until the new primary is a target",
        Kind.INSTANCE,
        lambda row: row.stale_s,
    ),
    _Panel(
        "Instance: from the moment the new primary listens until traffic flows to it",
        Kind.INSTANCE,
        lambda row: row.flowing_s,
    ),
    _Panel(
        "Cluster: after the flip, while new connections could reach the old writer",
        Kind.CLUSTER,
        lambda row: row.wrong_server_s,
    ),
)


def draw_figure(rows: Sequence[Row], *, caption: str) -> str:
    """Return the figure as SVG."""
    parts, y = list[str](), float(_TOP)
    for panel in _PANELS:
        of_kind = [row for row in rows if row.kind == panel.kind]
        parts += _panel(panel, of_kind, y)
        y += _HEAD + _ROW * len(of_kind) + _FOOT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y:g}" role="img">',
            f"<title>{escape(caption)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{_WIDTH}" height="{y:g}"/>',
            f'<text class="small" x="12" y="22">{escape(caption)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _x(seconds: float) -> float:
    share = math.log(max(seconds, _LEAST) / _LEAST) / math.log(MISSED_SECONDS / _LEAST)
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _panel(panel: _Panel, rows: Sequence[Row], top: float) -> Iterator[str]:
    yield f'<text class="head" x="12" y="{top + 20:g}">{escape(panel.title)}</text>'
    first, last = top + _HEAD - 12, top + _HEAD + _ROW * len(rows)
    for tick in _TICKS:
        x = _x(tick)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{first:g}" y2="{last:g}"/>'
        label = f"{tick:g} s" if tick > _LEAST else f"\N{LESS-THAN OR EQUAL TO} {tick:g} s"
        yield f'<text class="small" text-anchor="middle" x="{x}" y="{last + 14:g}">{label}</text>'
    for number, row in enumerate(rows):
        yield from _row(row, panel.figure(row), top + _HEAD + _ROW * number)


def _row(row: Row, figure: Percentiles, y: float) -> Iterator[str]:
    side = "ours" if row.strategy in OURS else "others"
    half, most, worst = _x(figure.p50), _x(figure.p99), _x(figure.max)
    yield f'<text x="12" y="{y + 9:g}">{escape(row.strategy)}</text>'
    yield f'<line class="{side}" x1="{half}" x2="{worst}" y1="{y + 5:g}" y2="{y + 5:g}"/>'
    yield (
        f'<rect class="{side}" x="{half}" y="{y + 1:g}" width="{round(most - half, 1)}" height="8"'
        ' rx="2"/>'
    )
    yield f'<circle class="{side}" cx="{half}" cy="{y + 5:g}" r="5"/>'
    yield f'<line class="{side}" x1="{worst}" x2="{worst}" y1="{y:g}" y2="{y + 10:g}"/>'
    numbers = " · ".join(_number(it) for it in (figure.p50, figure.p99, figure.max))
    yield (
        f'<text class="small" text-anchor="end" x="{_WIDTH - 12}" y="{y + 9:g}">{numbers}</text>'
    )


def _number(seconds: float) -> str:
    return "never" if seconds >= MISSED_SECONDS else f"{seconds:.1f} s"
