"""Texts from outside that attack the page or its layout, in a real Chromium."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request

from target_sync.model import (
    ConnectionState,
    EndpointConnection,
    EndpointService,
    FailedObservation,
    LookupFailure,
    TargetState,
)
from target_sync.status.facts import LoadBalancer, Skipped, Unknown
from target_sync.status.report import StatusReport, make_report
from tests.browser.chromium import dashboard, page_of, show
from tests.browser.page import elements, focusable, layout_faults
from tests.support.status import BALANCER_ARN, DEPLOYMENT, FACTS, NAME, A, B, observation, target
from tests.support.widget import HOSTILE, SUSPECT, UNRULY, every_state, make_report_with, with_texts

TEXTS = [*HOSTILE, *SUSPECT, *UNRULY]
#: A text without any effect.
HARMLESS = "harmless-words"


@contextmanager
def watched(browser: Browser, width: int) -> Iterator[tuple[Page, list[str]]]:
    """Open a page, and yield it with the list of its side effects."""
    effects: list[str] = []

    def requested(request: Request) -> None:
        effects.append(f"requested {request.url}")

    def opened(dialog: Dialog) -> None:
        effects.append(f"opened a dialog: {dialog.message}")
        dialog.dismiss()

    with dashboard(browser, width) as page:
        page.on("request", requested)
        page.on("dialog", opened)
        page.on("popup", lambda _: effects.append("opened a window"))
        page.on("console", lambda message: effects.append(f"wrote {message.text}"))
        page.on("pageerror", lambda error: effects.append(f"failed: {error}"))
        yield page, effects
        if page.evaluate("'attacked' in window"):
            effects.append("ran a script")


def assert_unchanged(
    browser: Browser, report_with: Callable[[str], StatusReport], width: int
) -> None:
    """Assert that no text changes the page, has a side effect, or breaks the layout."""
    with watched(browser, width) as (page, effects):
        show(page, report_with(HARMLESS))
        assert HARMLESS in page.inner_text(".ppl"), "the text is not on the page"
        built = elements(page)
        for text in TEXTS:
            show(page, report_with(text))
            assert elements(page) == built, text
            assert (layout_faults(page), focusable(page)) == ([], []), text
    assert effects == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_attacks_a_page_without_escaping(browser: Browser, text: str) -> None:
    """Without escaping it has an effect, so the tests below can fail."""
    with watched(browser, 1180) as (page, effects):
        page.set_content(page_of(f"<p title='{HARMLESS}'>{HARMLESS}</p>", dark=False))
        before = elements(page)
        # The text stands at the start of an element, after an attribute.
        page.set_content(page_of(f"<p title='{HARMLESS}'>{text}</p>", dark=False))
        after = elements(page)
    assert effects or after != before


@pytest.mark.parametrize("width", [1180, 580, 280])
def test_a_hostile_text_in_every_place_stays_a_text(browser: Browser, width: int) -> None:
    assert_unchanged(browser, lambda text: with_texts(every_state(), text), width)


def test_a_hostile_text_is_shown_as_written(browser: Browser) -> None:
    with dashboard(browser, 1180) as page:
        for text in HOSTILE + SUSPECT:
            show(page, with_texts(every_state(), text))
            shown = page.locator("td").first.inner_text()
            assert shown == f"{' '.join(text.split())}:5432"


def _connection(text: str) -> EndpointConnection:
    return EndpointConnection(
        endpoint_id=text, owner=text, state=ConnectionState.PENDING_ACCEPTANCE, created_at=0.0
    )


def _failed(text: str) -> FailedObservation:
    return FailedObservation(name=NAME, failure=LookupFailure.SERVERS_FAILED, detail=text, at=0.0)


#: The sources of texts from outside: DNS, AWS, consumers, and the name of the stack.
SOURCES: Mapping[str, Callable[[str], StatusReport]] = {
    "the name of the endpoint": lambda text: make_report_with(
        observation=observation(name=text, source=text, disagreement=text)
    ),
    "the error of a name server": lambda text: make_report_with(observation=_failed(text)),
    "a target's reason": lambda text: make_report_with(
        targets=(target(A, TargetState.UNHEALTHY, text), target(B, reason=text))
    ),
    "the name of the stack": lambda text: make_report(FACTS, replace(DEPLOYMENT, stack=text)),
    "a principal": lambda text: make_report_with(principals=frozenset({text})),
    "a connection": lambda text: make_report_with(connections=(_connection(text),)),
    "an error of AWS": lambda text: make_report_with(
        listeners=Unknown(text, text), changes=Unknown(text, text), group=Skipped(text)
    ),
    "a load balancer": lambda text: make_report_with(
        load_balancer=LoadBalancer(
            arn=BALANCER_ARN, state=text, vpc_id=text, zones={text: text}, security_groups=(text,)
        )
    ),
    "an attribute": lambda text: make_report_with(
        group_attributes={text: text, "deregistration_delay.timeout_seconds": text},
        listener_attributes={"tcp.idle_timeout.seconds": text},
    ),
    "the endpoint service": lambda text: make_report_with(
        service=EndpointService(state=text, acceptance_required=True, load_balancer_arns=(text,))
    ),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_hostile_text_from_each_source_stays_a_text(browser: Browser, source: str) -> None:
    assert_unchanged(browser, SOURCES[source], 580)
