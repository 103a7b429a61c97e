"""The charts and the pages of the benchmarks."""

from xml.etree import ElementTree as ET

import pytest
from jinja2 import UndefinedError

from bench.chart import Bar, Panel, draw_chart
from bench.render import render

PANEL = Panel(
    "A & B <seconds>",
    [
        Bar("one value", (10.0,), "10 s", ours=True),
        Bar("p50, p99 and max", (1.0, 10.0, 100.0), "1 · 10 · 100", ours=False),
        Bar("less than the axis", (0.1,), "0.1 s", ours=False),
    ],
    ticks={1.0: "1 s", 100.0: "100 s"},
)


def drawn(*panels: Panel) -> ET.Element:
    return ET.fromstring(draw_chart("a caption", panels))  # noqa: S314 - our own


def numbers(chart: ET.Element, element: str, attribute: str) -> list[float]:
    return [float(it.get(attribute, "")) for it in chart.findall(f".//{{*}}g/{{*}}{element}")]


def test_a_bar_ends_at_its_value_or_goes_from_p50_to_p99() -> None:
    chart = drawn(PANEL)
    # The axis goes from 210 to 690; a tenth of it on a logarithmic scale is half of it.
    assert numbers(chart, "rect", "x") == [210, 210, 210]
    assert numbers(chart, "rect", "width") == [240, 240, 0]
    assert numbers(chart, "circle", "cx") == [210]
    (path,) = chart.findall(".//{*}path")
    assert path.get("d") == "M210.0 5H690.0M690.0 0V10"
    assert numbers(chart, "line", "x1") == [210, 690]


def test_a_chart_escapes_its_texts_and_has_no_script() -> None:
    chart = drawn(PANEL, PANEL)
    titles = [text.text for text in chart.findall(".//{*}text[@class='head']")]
    assert titles == [PANEL.title, PANEL.title]
    assert chart.find(".//{*}script") is None
    height = float(chart.get("viewBox", "").split()[3])
    assert height == 40 + 2 * PANEL.height


def test_a_template_needs_every_value() -> None:
    with pytest.raises(UndefinedError, match="height"):
        render("chart.svg", caption="", panels=[])
