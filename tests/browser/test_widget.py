"""The widget in a real Chromium, in each state, at a widget's sizes, in both themes."""

from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page

from target_sync.status.checks.result import CheckState
from target_sync.status.widget import Frame, to_html
from tests.browser.chromium import axe, dashboard, page_of, show
from tests.browser.page import axe_findings, elements, focusable, layout_faults
from tests.browser.states import STATES
from tests.support.widget import every_state

#: A widget over the whole of a dashboard, over half of it and over a third, and on a telephone.
WIDTHS = (1180, 580, 380, 280)
EVERY_STATE = pytest.mark.parametrize("state", STATES)
BOTH_THEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
AT_ALL_SIZES = pytest.mark.parametrize("width", WIDTHS)


@EVERY_STATE
@BOTH_THEMES
@AT_ALL_SIZES
def test_every_text_can_be_read(browser: Browser, state: str, width: int, *, dark: bool) -> None:
    with dashboard(browser, width) as page:
        show(page, STATES[state], dark=dark)
        assert layout_faults(page) == []


@EVERY_STATE
def test_so_it_can_with_the_spacing_that_a_reader_may_set(browser: Browser, state: str) -> None:
    """WCAG 2.2, 1.4.12: no content is lost by this."""
    spacing = (
        "line-height:1.5!important;letter-spacing:.12em!important;word-spacing:.16em!important"
    )
    with dashboard(browser, 380) as page:
        show(page, STATES[state])
        page.add_style_tag(content=f".ppl *{{{spacing}}}.ppl p{{margin-bottom:2em!important}}")
        assert layout_faults(page) == []


def test_a_text_that_cannot_be_read_is_noticed(browser: Browser) -> None:
    with dashboard(browser, 380) as page:
        for harm in (
            ".ppl-verdict{white-space:nowrap!important;width:30px!important}",
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
        looked_at = {rule for rule, *_ in found["passes"]}
        assert {
            "color-contrast",
            "color-contrast-enhanced",
            "list",
            "aria-hidden-focus",
        } <= looked_at


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("color:#a81218", "color:#ff8f8f", "color-contrast"),
        ("<ol", '<ol role="button"', "aria-allowed-role"),
        ("<h3>The road", "<h5>The road", "heading-order"),
    ],
)
def test_axe_core_notices_what_is_wrong(
    browser: Browser, before: str, after: str, rule: str
) -> None:
    html = to_html(STATES["broken"], Frame(width=1180))
    assert before in html
    with dashboard(browser, 1180) as page:
        page.set_content(page_of(html.replace(before, after), dark=False))
        assert rule in {name for name, *_ in axe_findings(page, axe())["violations"]}


@EVERY_STATE
def test_the_keyboard_passes_over_it(browser: Browser, state: str) -> None:
    """There is nothing to do in it, so nothing in it stops a person who moves on by key."""
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


@EVERY_STATE
def test_it_is_static(browser: Browser, state: str) -> None:
    with dashboard(browser, 1180) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        show(page, STATES[state])
        assert asked == []
        for name, *attributes in elements(page):
            assert name not in {"SCRIPT", "IFRAME", "IMG", "A", "FORM", "LINK"}
            assert not [text for text in attributes if text.startswith(("on", "href", "src"))]


def symbol(page: Page, state: CheckState) -> bytes:
    """The picture of a step in this state, in one colour, and always at the same place."""
    found = every_state()
    checks = [replace(check, state=state) for check in found.checks]
    show(page, replace(found, checks=tuple(checks)))
    page.add_style_tag(
        content=".ppl-road *{color:gray!important}.ppl > :not(.ppl-road){display:none!important}"
    )
    return page.locator("circle").first.screenshot()


def test_each_state_can_be_told_without_a_colour(browser: Browser) -> None:
    with dashboard(browser, 1180) as page:
        pictures = [symbol(page, state) for state in CheckState]
        assert len(set(pictures)) == len(CheckState)
        assert pictures == [symbol(page, state) for state in CheckState]

        show(page, every_state())
        words = page.locator(".ppl-road li b").all_inner_texts()
        assert words[: len(CheckState)] == [state.value for state in CheckState]
