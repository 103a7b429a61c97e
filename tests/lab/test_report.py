import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from lab.report import Report, write_html
from lab.timeline import (
    Expectation,
    Moment,
    Timeline,
    format_seconds,
    print_expectations,
    print_timeline,
    verdict,
)
from lab.writer import Gap

T0 = 1_800_000_000.0
FAILOVER = Timeline(
    title="Failover 1: the primary crashes",
    cause=Moment(name="primary killed", at=T0),
    moments=(
        Moment(name="healthy", at=T0 + 3.52),
        Moment(name="DNS flipped", at=T0 + 1.01, note="10.0.1.11 → 10.0.2.12"),
        Moment(name="registered", at=T0 + 1.44),
        Moment(name="first write through", at=T0 + 3.61, note="row 412"),
    ),
    write_gap=Gap(start=T0 - 0.01, end=T0 + 3.61),
)
PASSED = Expectation(text="every acknowledged row is present", holds=True, detail="812 of 812")
FAILED = Expectation(text="none is on a demoted server", holds=False, detail="row 7")
REPORT = Report(
    title="Failover lab",
    started_at=T0,
    timelines=(FAILOVER,),
    expectations=(PASSED,),
    options={"registration delay": "1.0 s"},
    versions={"PostgreSQL": "18.1"},
)
HOSTILE = """<script>alert("x")</script>&'"""


def page(tmp_path: Path, report: Report) -> str:
    path = tmp_path / "report.html"
    write_html(path, report)
    return path.read_text(encoding="utf-8")


def drawings(text: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text)]  # noqa: S314 - ours


def printed(print_it: object, *arguments: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    assert callable(print_it)
    print_it(console, *arguments)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


class Tags(HTMLParser):
    """Collects what a page is made of, and checks that tags are closed in order."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_moments_are_ordered_by_time_whatever_order_they_were_seen_in() -> None:
    assert [moment.name for moment in FAILOVER.ordered] == [
        "primary killed",
        "DNS flipped",
        "registered",
        "healthy",
        "first write through",
    ]


def test_seconds_count_from_the_cause() -> None:
    assert FAILOVER.seconds(T0 + 1.5) == 1.5
    assert format_seconds(1.005 + 0.0001) == "1.01 s"


def test_the_printed_timeline_has_every_moment_and_the_write_gap() -> None:
    lines = printed(print_timeline, FAILOVER).splitlines()

    assert any("DNS flipped" in line and "1.01 s" in line and "10.0.2.12" in line for line in lines)
    assert any("writes interrupted for" in line and "3.62 s" in line for line in lines)


def test_a_timeline_without_writes_shows_no_gap() -> None:
    repair = replace(FAILOVER, write_gap=None)

    assert "interrupted" not in printed(print_timeline, repair)


def test_texts_are_printed_as_they_are() -> None:
    moment = Moment(name="[bold]x[/bold]", at=T0)

    assert "[bold]x[/bold]" in printed(print_timeline, replace(FAILOVER, moments=(moment,)))


def test_printed_expectations_say_in_words_what_failed() -> None:
    lines = printed(print_expectations, [PASSED, FAILED]).splitlines()

    assert any("pass" in line and PASSED.text in line for line in lines)
    assert any("FAIL" in line and FAILED.text in line and "row 7" in line for line in lines)


@pytest.mark.parametrize(
    ("expectations", "words"),
    [
        ([PASSED, PASSED], "2 of 2 expectations hold"),
        ([PASSED, FAILED], "1 of 2 expectations FAILED"),
    ],
)
def test_the_verdict_is_one_sentence(expectations: list[Expectation], words: str) -> None:
    assert verdict(expectations) == words


def test_the_page_is_static_and_loads_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, REPORT)
    tags = Tags()
    tags.feed(text)

    assert tags.open == []
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(tags.tags)
    assert not {"src", "href", "style"} & tags.attributes
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_has_everything_that_it_was_given(tmp_path: Path) -> None:
    text = page(tmp_path, REPORT)

    for part in (
        "Failover 1: the primary crashes",
        "10.0.1.11 → 10.0.2.12",
        "Writes were interrupted for <strong>3.62 s</strong>",
        "1 of 1 expectations hold",
        "✓ pass",
        "812 of 812",
        "registration delay",
        "18.1",
        "2027-01-15 08:00:00 UTC",
    ):
        assert part in text


def test_a_failed_expectation_is_told_in_words_not_by_colour_alone(tmp_path: Path) -> None:
    text = page(tmp_path, replace(REPORT, expectations=(PASSED, FAILED)))

    assert "✗ FAIL" in text
    assert "1 of 2 expectations FAILED" in text


def test_every_text_is_escaped(tmp_path: Path) -> None:
    hostile = Report(
        title=HOSTILE,
        started_at=T0,
        timelines=(
            Timeline(
                title=HOSTILE,
                cause=Moment(name=HOSTILE, at=T0, note=HOSTILE),
                moments=(Moment(name=HOSTILE, at=T0 + 1),),
                write_gap=FAILOVER.write_gap,
            ),
        ),
        expectations=(Expectation(text=HOSTILE, holds=True, detail=HOSTILE),),
        options={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
    )

    text = page(tmp_path, hostile)

    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 11
    assert len(drawings(text)) == 1


def test_the_drawing_has_a_row_for_each_moment_in_the_order_of_time(tmp_path: Path) -> None:
    (drawing,) = drawings(page(tmp_path, REPORT))
    dots = [(float(dot.get("cx", 0)), float(dot.get("cy", 0))) for dot in drawing.iter("circle")]
    bars = [rect for rect in drawing.iter("rect") if rect.get("class") == "gap"]

    assert len(dots) == 5
    assert dots == sorted(dots)
    assert len({y for _, y in dots}) == 5
    assert len(bars) == 1
    bar_end = float(bars[0].get("x", 0)) + float(bars[0].get("width", 0))
    assert bar_end == pytest.approx(dots[-1][0], abs=0.2)


@pytest.mark.parametrize("last", [0.0, 0.004, 0.9, 3.6, 47.0, 184.0, 3600.0])
def test_the_drawing_keeps_its_place_whatever_the_duration(tmp_path: Path, last: float) -> None:
    timeline = replace(
        FAILOVER, moments=(Moment(name="x" * 60, at=T0 + last),), write_gap=Gap(start=T0, end=T0)
    )

    (drawing,) = drawings(page(tmp_path, replace(REPORT, timelines=(timeline,))))

    width = float((drawing.get("viewBox") or "").split()[2])
    places = [float(dot.get("cx", -1)) for dot in drawing.iter("circle")]
    ticks = [text for text in drawing.iter("text") if text.get("class") == "tick"]
    assert all(200 < x < width - 60 for x in places)
    assert 1 <= len(ticks) <= 10
    assert all(float(bar.get("width", 0)) >= 3 for bar in drawing.iter("rect"))
