"""The widget in a real Chromium, in each state, at several widths, in both themes."""

from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page

from target_sync.status.checks.result import CheckState
from target_sync.status.widget import Frame, to_html
from tests.browser.chromium import axe, dashboard, page_of, show
from tests.browser.page import axe_findings, focusable, layout_faults
from tests.browser.states import STATES
from tests.support.widget import every_state

#: The width of a dashboard, a half, a third and a sixth of it, and a telephone.
WIDTHS = (1180, 580, 380, 280, 180)
EVERY_STATE = pytest.mark.parametrize("state", STATES)
BOTH_THEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
AT_ALL_SIZES = pytest.mark.parametrize("width", WIDTHS)


@EVERY_STATE
@BOTH_THEMES
@AT_ALL_SIZES
def test_every_text_is_readable(browser: Browser, state: str, width: int, *, dark: bool) -> None:
    with dashboard(browser, width) as page:
        show(page, STATES[state], dark=dark)
        assert layout_faults(page) == []


@EVERY_STATE
def test_every_text_is_readable_with_wider_spacing(browser: Browser, state: str) -> None:
    """WCAG 2.2, 1.4.12: a reader may set this spacing."""
    spacing = (
        "line-height:1.5!important;letter-spacing:.12em!important;word-spacing:.16em!important"
    )
    with dashboard(browser, 380) as page:
        show(page, STATES[state])
        page.add_style_tag(content=f".ppl *{{{spacing}}}.ppl p{{margin-bottom:2em!important}}")
        assert layout_faults(page) == []


def test_an_unreadable_text_is_found(browser: Browser) -> None:
    with dashboard(browser, 380) as page:
        for harm in (
            ".ppl-summary{white-space:nowrap!important;width:30px!important}",
            ".ppl table{width:900px!important}",
            ".ppl h3{margin-bottom:-40px!important}",
            ".ppl{height:60px!important}",
        ):
            show(page, STATES["broken"])
            page.add_style_tag(content=harm)
            assert layout_faults(page), harm


@EVERY_STATE
@BOTH_THEMES
@pytest.mark.parametrize("width", [WIDTHS[0], WIDTHS[-1]])
def test_axe_core_finds_nothing(browser: Browser, state: str, width: int, *, dark: bool) -> None:
    with dashboard(browser, width) as page:
        show(page, STATES[state], dark=dark)
        found = axe_findings(page, axe())
        assert found["violations"] == []
        assert found["incomplete"] == []
        passed = {rule for rule, *_ in found["passes"]}
        assert {"color-contrast", "color-contrast-enhanced", "list", "aria-hidden-focus"} <= passed


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("color:#a81218", "color:#ff8f8f", "color-contrast"),
        ("<ol", '<ol role="button"', "aria-allowed-role"),
        ("<h3>Status checks", "<h5>Status checks", "heading-order"),
    ],
)
def test_axe_core_finds_a_fault(browser: Browser, before: str, after: str, rule: str) -> None:
    html = to_html(STATES["broken"], Frame(width=1180))
    assert before in html
    with dashboard(browser, 1180) as page:
        page.set_content(page_of(html.replace(before, after), dark=False))
        assert rule in {name for name, *_ in axe_findings(page, axe())["violations"]}


@EVERY_STATE
def test_the_widget_has_no_keyboard_focus(browser: Browser, state: str) -> None:
    """The widget has no control, so the Tab key passes over it."""
    with dashboard(browser, 1180) as page:
        html = to_html(STATES[state], Frame(width=1180))
        page.set_content(
            page_of(f"<button id=before></button>{html}<button id=after></button>", dark=False)
        )
        page.focus("#before")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "after"
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement.id") == "before"
        assert focusable(page) == []


def symbol(page: Page, state: CheckState) -> bytes:
    """The picture of a check in this state, in one colour, always at the same position."""
    report = every_state()
    checks = [replace(check, state=state) for check in report.checks]
    show(page, replace(report, checks=tuple(checks)))
    page.add_style_tag(
        content=".ppl-path *{color:gray!important}.ppl > :not(.ppl-path){display:none!important}"
    )
    return page.locator("circle").first.screenshot()


def test_each_state_is_recognizable_without_a_colour(browser: Browser) -> None:
    with dashboard(browser, 1180) as page:
        pictures = [symbol(page, state) for state in CheckState]
        assert len(set(pictures)) == len(CheckState)
        assert pictures == [symbol(page, state) for state in CheckState]

        show(page, every_state())
        words = page.locator(".ppl-path li b").all_inner_texts()
        assert words[: len(CheckState)] == [state.value for state in CheckState]
