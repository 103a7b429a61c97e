import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from drill.report import Report, write_html
from drill.results import (
    Expectation,
    Gap,
    Moment,
    Results,
    Timeline,
    print_expectations,
    print_timeline,
    summary,
)
from lab.report import write_figure, write_report
from lab.results import LAB_NOTE, FaultResult, LabResults, Outage, print_faults, print_outages

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
WATCH = Outage(
    strategy="watch",
    began_at=T0,
    promoted_at=T0 + 1,
    flipped_at=T0 + 6,
    detected_at=T0 + 6.5,
    registered_at=T0 + 6.6,
    healthy_at=T0 + 101.5,
    written_at=T0 + 101.75,
    gap=Gap(start=T0 - 0.25, end=T0 + 101.75),
    needs={"promotion": 1.0, "registration": 100.0},
)
STANDBY = replace(
    WATCH,
    strategy="serving standby",
    registered_at=None,
    healthy_at=T0 + 9.5,
    written_at=T0 + 9.25,
    gap=Gap(start=T0, end=T0 + 9.25),
    needs={"promotion": 1.0, "health checks": 10.0},
)
PASSED = Expectation(text="every acknowledged row is present", holds=True, detail="812 of 812")
FAILED = Expectation(text="none is on a demoted server", holds=False, detail="row 7")
REPORT = Report(
    title="Failover lab",
    started_at=T0,
    results=Results([FAILOVER], [PASSED]),
    options={"registration delay": "1.0 s"},
    versions={"PostgreSQL": "18.1"},
)
HOSTILE = """<script>alert("x")</script>&'"""


def page(tmp_path: Path, report: Report) -> str:
    path = tmp_path / "report.html"
    write_html(path, report)
    return path.read_text(encoding="utf-8")


def lab_page(tmp_path: Path, results: LabResults) -> str:
    path = tmp_path / "report.html"
    write_report(path, "Failovers", T0, results, {})
    return path.read_text(encoding="utf-8")


def drawings(text: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]  # noqa: S314 - ours


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


def parts(outage: Outage) -> list[tuple[str, float, float]]:
    return [(phase.name, phase.start, phase.end) for phase in outage.phases]


def bars(drawing: ET.Element) -> list[tuple[str, float, float]]:
    """The coloured parts of the outages: their class, where they begin and how wide they are."""
    return [
        (rect.get("class", ""), float(rect.get("x", 0)), float(rect.get("width", 0)))
        for rect in drawing.iter("rect")
        if rect.find("title") is not None
    ]


def test_the_printed_timeline_has_every_moment_by_time_and_the_write_gap() -> None:
    text = " ".join(printed(print_timeline, FAILOVER).split())

    assert re.search(
        r"primary killed .* DNS flipped │ 1\.01 s │ 10\.0\.1\.11 .* registered │ 1\.44 s"
        r" .* healthy .* first write through .* writes interrupted for │ 3\.62 s",
        text,
    )


def test_a_timeline_without_writes_shows_no_gap() -> None:
    repair = replace(FAILOVER, write_gap=None)

    assert "interrupted" not in printed(print_timeline, repair)


def test_the_phases_of_an_outage_follow_each_other() -> None:
    assert parts(WATCH) == [
        ("detect", 0.0, 6.5),
        ("open", 6.5, pytest.approx(6.6)),
        ("healthy", pytest.approx(6.6), 101.5),
        ("first write", 101.5, 101.75),
    ]
    assert WATCH.needed == 101.0


def test_a_registered_address_has_no_phase_of_registration() -> None:
    # Written before health: a load balancer without a healthy target tries all targets.
    assert parts(STANDBY) == [("healthy", 0.0, 9.25), ("first write", 9.25, 9.25)]


def test_an_unrecorded_detection_is_no_phase() -> None:
    assert [name for name, *_ in parts(replace(WATCH, detected_at=None))] == [
        "open",
        "healthy",
        "first write",
    ]


def test_printed_outages_have_their_figures_in_words() -> None:
    watch, standby = " ".join(printed(print_outages, [WATCH, STANDBY]).split()).split(
        "serving standby"
    )

    assert "no write for 102.00 s, needed 101.00 s" in watch
    assert "open -, healthy 9.50 s, first write 9.25 s" in standby


def test_outages_are_drawn_side_by_side_on_one_axis(tmp_path: Path) -> None:
    text = lab_page(tmp_path, LabResults(outages=[WATCH, STANDBY]))
    (drawing,) = drawings(text)
    drawn = bars(drawing)

    assert [kind for kind, *_ in drawn] == [
        "detect", "open", "healthy", "first-write", "healthy", "first-write",
    ]  # fmt: skip
    for (_, start, width), (_, following, _) in pairwise(drawn[:4]):
        assert start + width == pytest.approx(following, abs=0.11)
    origin = drawn[0][1]
    assert drawn[4][1] == origin
    assert drawn[4][2] / (drawn[3][1] + drawn[3][2] - origin) == pytest.approx(
        9.25 / 101.75, abs=0.01
    )
    promoted = [line for line in drawing.iter("line") if line.get("class") == "promoted"]
    assert len({line.get("x1") for line in promoted[1:]}) == 1
    assert ">102.00 s</td>" in text
    assert ">-</td>" in text


def test_words_repeat_the_colours_of_outages(tmp_path: Path) -> None:
    (drawing,) = drawings(lab_page(tmp_path, LabResults(outages=[WATCH])))
    words = [text.text for text in drawing.iter("text")]

    assert "detect 6.50 s · open 0.10 s · healthy 94.90 s · first write 0.25 s" in words
    assert {"detect", "open", "healthy", "first write"} <= set(words)


@pytest.mark.parametrize("last", [0.0, 0.004, 9.0, 184.0, 3600.0])
def test_a_bar_and_its_label_stay_in_the_drawing(tmp_path: Path, last: float) -> None:
    outage = replace(STANDBY, promoted_at=T0, healthy_at=T0 + last, written_at=T0 + last)

    (drawing,) = drawings(lab_page(tmp_path, LabResults(outages=[outage])))

    width = float((drawing.get("viewBox") or "").split()[2])
    assert all(x >= 16 and x + wide <= width - 90 for _, x, wide in bars(drawing))


def test_the_figure_is_the_same_drawing_with_its_own_style(tmp_path: Path) -> None:
    path = tmp_path / "failover.svg"

    write_figure(path, (WATCH, replace(STANDBY, strategy=HOSTILE)))

    text = path.read_text(encoding="utf-8")
    figure = ET.fromstring(text)  # noqa: S314 - ours
    assert figure.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not {"href", "onload"} & {name for node in figure.iter() for name in node.attrib}


def test_printed_texts_are_no_markup() -> None:
    moment = Moment(name="[bold]x[/bold]", at=T0)

    assert "[bold]x[/bold]" in printed(print_timeline, replace(FAILOVER, moments=(moment,)))


def test_printed_expectations_name_the_failed_ones() -> None:
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
def test_the_summary_is_one_sentence(expectations: list[Expectation], words: str) -> None:
    assert summary(expectations) == words


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


def test_the_page_contains_the_whole_report(tmp_path: Path) -> None:
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


def test_words_and_not_only_colours_show_a_failed_expectation(tmp_path: Path) -> None:
    text = page(tmp_path, replace(REPORT, results=Results(expectations=[PASSED, FAILED])))

    assert "✗ FAIL" in text
    assert "1 of 2 expectations FAILED" in text


def test_every_text_is_escaped(tmp_path: Path) -> None:
    hostile = Report(
        title=HOSTILE,
        started_at=T0,
        results=Results(
            [
                Timeline(
                    title=HOSTILE,
                    cause=Moment(name=HOSTILE, at=T0, note=HOSTILE),
                    moments=(Moment(name=HOSTILE, at=T0 + 1),),
                    write_gap=FAILOVER.write_gap,
                )
            ],
            [Expectation(text=HOSTILE, holds=True, detail=HOSTILE)],
        ),
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
def test_the_drawing_stays_in_its_area_for_any_duration(tmp_path: Path, last: float) -> None:
    timeline = replace(
        FAILOVER, moments=(Moment(name="x" * 60, at=T0 + last),), write_gap=Gap(start=T0, end=T0)
    )

    (drawing,) = drawings(page(tmp_path, replace(REPORT, results=Results([timeline]))))

    width = float((drawing.get("viewBox") or "").split()[2])
    positions = [float(dot.get("cx", -1)) for dot in drawing.iter("circle")]
    ticks = [text for text in drawing.iter("text") if text.get("class") == "tick"]
    assert all(200 < x < width - 60 for x in positions)
    assert 1 <= len(ticks) <= 10
    assert all(float(bar.get("width", 0)) >= 3 for bar in drawing.iter("rect"))


# ------------------------------------------------------------------------------------- faults

EXPECTED = FaultResult(
    name="schedule off",
    check="schedule",
    expected_words="Switch it on",
    remedy="Switch it on: EventBridge Scheduler.",
    alarms=("failed-runs", "sync-errors"),
    as_expected=True,
)
UNEXPECTED = replace(
    EXPECTED, name=HOSTILE, check="The connection path works.", alarms=(), as_expected=False
)


def test_the_terminal_shows_each_fault_with_its_check_and_its_alarms() -> None:
    file = io.StringIO()  # has no width, like the log of a pipeline

    print_faults(Console(file=file), [EXPECTED, UNEXPECTED])

    printed = file.getvalue()
    (row,) = [line for line in printed.splitlines() if "schedule off" in line]
    assert re.search(r"pass .*schedule off .*schedule .*Switch it on .*failed-runs", row)
    assert re.search(r"FAIL .*connection path works\. .*EventBridge Scheduler\. .*none", printed)


def test_the_page_shows_faults_with_their_complete_remedies(tmp_path: Path) -> None:
    text = lab_page(tmp_path, LabResults(faults=[EXPECTED, UNEXPECTED]))

    assert "<h2>Faults</h2>" in text
    assert "Switch it on: EventBridge Scheduler.</td><td>failed-runs, sync-errors</td>" in text
    assert HOSTILE not in text
    assert text.count("✗ FAIL") == 1


def test_the_page_says_that_it_is_about_a_lab(tmp_path: Path) -> None:
    assert LAB_NOTE in lab_page(tmp_path, LabResults())
