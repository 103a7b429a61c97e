"""The widget: its content, its size, and that no text becomes a part of the page."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from html.parser import HTMLParser
from typing import Any

import pytest

from target_sync.model import TargetState
from target_sync.status.checks.result import CheckId, CheckState
from target_sync.status.facts import FollowedChange, FollowedChanges, Skipped, Unknown
from target_sync.status.report import StatusCheck, StatusReport, make_report
from target_sync.status.widget import LIGHT, SYMBOL_PATHS, Frame, to_html
from tests.support.status import DEPLOYMENT, FACTS, FAILED_RUNS_URL, NOW, SCALING, STACK, target
from tests.support.widget import HOSTILE, SUSPECT, every_state, make_report_with, with_texts

ATTRIBUTES = {
    "aria-hidden", "class", "cx", "cy", "d", "height", "r", "scope", "stroke-dasharray",
    "viewbox", "width", "x1", "x2", "y1", "y2",
}  # fmt: skip
ELEMENTS = {
    "b", "circle", "div", "h3", "li", "line", "ol", "p", "path", "rect", "span", "style", "svg",
    "table", "td", "th", "tr", "ul",
}  # fmt: skip


class Page(HTMLParser):
    """The content of a page.

    Attributes:
        parts: Its start tags with their attributes and its end tags, in order.
        texts: Its visible texts.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parts.append((tag, tuple(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.parts.append((f"/{tag}", ()))

    def handle_data(self, data: str) -> None:
        if self.open[-1] != "style":
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def values(self, tag: str, name: str) -> list[str | None]:
        """The attribute of each element with this tag, in order."""
        return [dict(attributes).get(name) for found, attributes in self.parts if found == tag]

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def page(report: StatusReport, *, width: float = 1180.0, dark: bool = False) -> Page:
    return Page(to_html(report, Frame(width=width, dark=dark)))


# ------------------------------------------------------------------------------------ the content


def test_each_check_has_a_symbol_and_a_word() -> None:
    report = every_state()

    shown = page(report)

    first, end = shown.texts.index("Status checks") + 1, shown.texts.index("Targets")
    words = shown.texts[first:end]
    pairs = list(zip(words[::2], words[1::2], strict=True))
    assert pairs == [(check.state.value, check.id.value) for check in report.checks]
    symbols = shown.values("path", "d")[-len(report.checks) :]
    assert symbols == [SYMBOL_PATHS[check.state] for check in report.checks]


def test_each_state_has_a_symbol_of_its_own() -> None:
    assert SYMBOL_PATHS.keys() == set(CheckState)
    assert len(set(SYMBOL_PATHS.values())) == len(CheckState)


def test_a_working_path_shows_no_problems() -> None:
    shown = page(make_report_with())

    assert shown.values("path", "d")[0] == SYMBOL_PATHS[CheckState.OK]
    assert shown.texts[:3] == [
        "healthy",
        "The connection path works.",
        f"{STACK}, 2026-11-22T10:00:00Z",
    ]
    assert "What to do" not in shown.texts


def test_a_broken_check_comes_first_with_its_remedy() -> None:
    shown = page(make_report_with(failed_runs=2, recent_runs=Unknown("No permission.", "Give it.")))

    assert shown.values("path", "d")[:3] == [
        SYMBOL_PATHS[CheckState.BROKEN],
        SYMBOL_PATHS[CheckState.BROKEN],
        SYMBOL_PATHS[CheckState.UNKNOWN],
    ]
    assert shown.texts[0] == "not healthy"
    first = shown.texts.index("What to do") + 1
    assert shown.texts[first : first + 10] == [
        "broken: dead-letter-queues",
        "FailedRunsQueue has 2 messages.",
        "Remedy:",
        (
            " Read the messages, which say what failed and why. Fix the cause. Then purge the"
            " queue: use purge-queue with the same --region and --queue-url."
        ),
        "Command:",
        (
            f" aws sqs receive-message --region eu-west-1 --queue-url {FAILED_RUNS_URL}"
            " --max-number-of-messages 10 --message-attribute-names All"
        ),
        "unknown: last-sync",
        "No permission.",
        "Remedy:",
        " Give it.",
    ]


def test_a_command_is_whole_or_absent() -> None:
    (check, *others) = make_report_with(failed_runs=1).checks
    long = replace(check, state=CheckState.BROKEN, command="aws " + "x" * 500)
    shown = page(replace(make_report_with(), checks=(long, *others)))
    assert shown.texts[shown.texts.index("Command:") + 1] == " see the text report"


def test_an_unknown_path_is_headed_unknown() -> None:
    shown = page(make_report_with(listeners=Unknown("No permission.", "Give it.")))
    assert shown.texts[0] == "unknown"
    assert shown.values("path", "d")[0] == SYMBOL_PATHS[CheckState.UNKNOWN]
    assert SYMBOL_PATHS[CheckState.BROKEN] not in shown.values("path", "d")


def test_a_problem_without_a_remedy_shows_none() -> None:
    assert "Remedy:" not in page(make_report_with(listeners=Unknown("No permission.", ""))).texts


def test_long_lists_are_cut() -> None:
    report = every_state()
    broken = [
        replace(check, state=CheckState.BROKEN, details=tuple("abcde"), remedy="")
        for check in report.checks
    ]

    shown = page(replace(report, checks=tuple(broken), targets=(target(),) * 10)).text

    assert "… and 14 more" in shown
    assert "… and 4 more" in shown
    assert "\na b c …\n" in shown


def test_the_line_is_dashed_after_a_broken_check_and_ends_at_the_last() -> None:
    report = every_state()
    dashes = page(report).values("line", "stroke-dasharray")
    assert [dash is not None for dash in dashes] == [
        check.state is CheckState.BROKEN for check in report.checks[:-1]
    ]


def test_the_targets_are_shown_with_their_state_and_its_meaning() -> None:
    texts = page(every_state()).texts
    row = texts.index("10.0.2.12:5432")
    assert texts[row + 1] == "unhealthy"
    assert texts[row + 2] == (
        "Target.FailedHealthChecks: The load balancer cannot open a TCP connection to it."
    )
    assert texts[texts.index("10.0.1.11:5432") + 1] == "healthy"


def test_the_targets_that_are_not_healthy_come_first() -> None:
    """A cut list shows them, whatever their addresses."""
    ill = target("10.0.3.200", TargetState.UNHEALTHY, "Target.Timeout")
    gone = target("10.0.3.201", TargetState.DRAINING)
    many = (*(target(f"10.0.1.{number}") for number in range(58)), ill, gone)

    texts = page(make_report_with(targets=many)).texts

    shown = [text for text in texts if text.endswith(":5432")]
    assert shown == [str(it) for it in (ill, gone, *many[:4])]
    assert "… and 54 more" in texts


def test_no_reason_has_no_column() -> None:
    assert "Reason" in page(every_state()).texts
    assert "Reason" not in page(make_report_with()).texts


def test_an_empty_group_shows_no_target() -> None:
    assert "No target is registered." in page(make_report_with(targets=())).texts


def test_unknown_targets_show_the_details_of_the_check() -> None:
    texts = page(make_report_with(targets=Unknown("It took too long.", "Look again."))).texts
    assert texts[texts.index("Targets") + 1] == "It took too long."


def test_the_last_failover_is_drawn_in_seconds() -> None:
    shown = page(every_state())

    assert "Run of 2026-11-22T09:50:00Z, seconds after its trigger:" in shown.texts
    phases = shown.texts[shown.texts.index("detected") :]
    assert phases == ["detected", "4.2 s", "registered", "4.9 s", "healthy", "184.0 s"]
    assert shown.values("rect", "width") == ["2.3%", "2.7%", "100.0%"]


def test_unknown_seconds_have_no_bar() -> None:
    shown = page(
        make_report_with(changes=FollowedChanges(FollowedChange(at=NOW, to_register=0.0), 14))
    )

    assert [text for text in shown.texts if text == "unknown"] == ["unknown"] * 2
    assert shown.values("rect", "width") == ["0.0%"]


@pytest.mark.parametrize(
    ("deployment", "changes", "words"),
    [
        (
            DEPLOYMENT,
            FollowedChanges(None, 14),
            "The function followed no change in the last 14 days.",
        ),
        (SCALING, Skipped("There is no sync function."), "There is no sync function."),
    ],
)
def test_without_a_failover_the_details_of_the_check_are_shown(
    deployment: Any, changes: Any, words: str
) -> None:
    texts = page(make_report(replace(FACTS, changes=changes), deployment)).texts
    assert texts[texts.index("Last failover") + 1] == words


# ------------------------------------------------------------------------------------- the layout


@pytest.mark.parametrize(
    ("width", "columns"), [(60, 1), (240, 2), (588, 5), (1180, 11), (3800, 11)]
)
def test_the_checks_stand_in_rows_that_fit(width: float, columns: int) -> None:
    assert f"repeat({columns},minmax(0,1fr))" in to_html(make_report_with(), Frame(width=width))


@pytest.mark.parametrize(("width", "has_minimum"), [(180, False), (280, True)])
def test_the_columns_of_a_narrow_table_have_no_minimum(width: float, has_minimum: bool) -> None:
    assert ("min-width" in to_html(make_report_with(), Frame(width=width))) is has_minimum


def test_the_rows_have_about_the_same_length() -> None:
    """21 checks, nine of which fit in a row: 7, 7 and 7 instead of 9, 9 and 3."""
    assert "repeat(7," in to_html(make_report_with(), Frame(width=1040))


def test_each_theme_has_its_own_colours_and_nothing_else_differs() -> None:
    light, dark = (to_html(every_state(), Frame(dark=is_dark)) for is_dark in (False, True))

    assert LIGHT.background in light
    assert LIGHT.background not in dark
    without_colours = [re.sub(r"#[0-9a-f]{6}", "", html) for html in (light, dark)]
    assert without_colours[0] == without_colours[1]


# ------------------------------------------------------------------------- texts from outside


def test_it_is_static_and_loads_nothing() -> None:
    html = to_html(every_state(), Frame())
    shown = Page(html)

    assert {tag.removeprefix("/") for tag, _ in shown.parts} == ELEMENTS
    assert {name for _, attributes in shown.parts for name, _ in attributes} == ATTRIBUTES
    assert not shown.open
    assert not re.search(r"url|@import|http|expression|javascript", html)


@pytest.mark.parametrize("text", HOSTILE + SUSPECT)
def test_a_text_never_becomes_a_part_of_the_page(text: str) -> None:
    harmless, hostile = (
        to_html(with_texts(every_state(), words), Frame()) for words in ("words", text)
    )

    assert Page(hostile).parts == Page(harmless).parts
    assert " ".join(text.split()) in Page(hostile).text
    for character in "<>\"'":
        assert hostile.count(character) == harmless.count(character)


@pytest.mark.parametrize("text", HOSTILE + SUSPECT)
@pytest.mark.parametrize("changes", [{"targets": None}, {"last_change": None}, {"targets": ()}])
def test_a_text_never_becomes_a_part_of_the_page_where_something_is_unknown(
    text: str, changes: dict[str, Any]
) -> None:
    found = replace(every_state(), **changes)
    harmless, hostile = (to_html(with_texts(found, words), Frame()) for words in ("words", text))
    assert Page(hostile).parts == Page(harmless).parts
    assert hostile.count("<") == harmless.count("<")


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str) and not isinstance(value, Enum):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from strings(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from strings(getattr(value, field.name))


def test_the_hostile_text_replaces_every_text() -> None:
    """The helper of the tests above replaces all texts."""
    texts = list(strings(with_texts(every_state(), "attempt")))
    assert set(texts) == {"attempt"}
    assert len(texts) == 1 + len(CheckId) * 5 + 2 * 2


def test_control_and_direction_characters_do_not_reach_the_page() -> None:
    html = to_html(with_texts(every_state(), "a\x1b[31m\u202eb\ud800\n\x00c"), Frame())
    assert "a [31m b c" in html
    assert html.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", ['"' * 5000, "é" * 5000, "😀" * 5000, "words " * 5000])
def test_it_stays_small_with_any_text(text: str) -> None:
    report = every_state()
    checks: tuple[StatusCheck, ...] = tuple(
        replace(check, state=CheckState.BROKEN, details=("",) * 50) for check in report.checks
    )
    huge = with_texts(replace(report, checks=checks, targets=(target(),) * 100), text)

    assert len(to_html(huge, Frame()).encode()) < 30_000
    assert "…" in to_html(huge, Frame())


def test_a_usual_widget_is_far_smaller() -> None:
    assert len(to_html(make_report_with(), Frame()).encode()) < 10_000
