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
from tests.support.widget import HOSTILE, SUSPECT, UNRULY, every_state, status_report, with_texts

ATTEMPTS = [*HOSTILE, *SUSPECT, *UNRULY]
#: Text that fills its place and does nothing.
HARMLESS = "harmless-words"


@contextmanager
def watched(browser: Browser, width: int) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the list of all that was done on it behind the reader's back."""
    deeds: list[str] = []

    def asked(request: Request) -> None:
        deeds.append(f"asked for {request.url}")

    def opened(dialog: Dialog) -> None:
        deeds.append(f"opened a dialog: {dialog.message}")
        dialog.dismiss()

    with dashboard(browser, width) as page:
        page.on("request", asked)
        page.on("dialog", opened)
        page.on("popup", lambda _: deeds.append("opened a window"))
        page.on("console", lambda message: deeds.append(f"wrote {message.text}"))
        page.on("pageerror", lambda error: deeds.append(f"failed: {error}"))
        yield page, deeds
        if page.evaluate("'attacked' in window"):
            deeds.append("ran a script")


def stays_as_it_is(browser: Browser, diagnosed: Callable[[str], StatusReport], width: int) -> None:
    """Assert that no attempt changes the page, does anything on it, or breaks its layout."""
    with watched(browser, width) as (page, deeds):
        show(page, diagnosed(HARMLESS))
        assert HARMLESS in page.inner_text(".ppl"), "it does not come in at all"
        built = elements(page)
        for text in ATTEMPTS:
            show(page, diagnosed(text))
            assert elements(page) == built, text
            assert (layout_faults(page), focusable(page)) == ([], []), text
    assert deeds == []


@pytest.mark.parametrize("text", HOSTILE)
def test_the_attempt_is_one(browser: Browser, text: str) -> None:
    """On a page that takes it as it is, it does something: so the tests below can fail."""
    with watched(browser, 1180) as (page, deeds):
        page.set_content(page_of(f"<p title='{HARMLESS}'>{HARMLESS}</p>", dark=False))
        before = elements(page)
        # At the start of an element, and where an attribute would be.
        page.set_content(page_of(f"<p title='{HARMLESS}'>{text}</p>", dark=False))
        after = elements(page)
    assert deeds or after != before


@pytest.mark.parametrize("width", [1180, 580, 280])
def test_in_every_text_at_once_it_stays_a_text(browser: Browser, width: int) -> None:
    stays_as_it_is(browser, lambda text: with_texts(every_state(), text), width)


def test_it_can_be_read_as_it_was_written(browser: Browser) -> None:
    with dashboard(browser, 1180) as page:
        for text in HOSTILE + SUSPECT:
            show(page, with_texts(every_state(), text))
            told = page.locator("td").first.inner_text()
            assert told == f"{' '.join(text.split())}:5432"


def _connection(text: str) -> EndpointConnection:
    return EndpointConnection(
        endpoint_id=text, owner=text, state=ConnectionState.PENDING_ACCEPTANCE, created_at=0.0
    )


def _failed(text: str) -> FailedObservation:
    return FailedObservation(name=NAME, failure=LookupFailure.SERVERS_FAILED, detail=text, at=0.0)


#: Where a text from outside comes in: DNS, AWS, a consumer, whoever named the stack.
PLACES: Mapping[str, Callable[[str], StatusReport]] = {
    "the name of the endpoint": lambda text: status_report(
        observation=observation(name=text, source=text, disagreement=text)
    ),
    "the answer of a name server": lambda text: status_report(observation=_failed(text)),
    "a target's reason": lambda text: status_report(
        targets=(target(A, TargetState.UNHEALTHY, text), target(B, reason=text))
    ),
    "the name of the stack": lambda text: make_report(FACTS, replace(DEPLOYMENT, stack=text)),
    "a principal": lambda text: status_report(principals=frozenset({text})),
    "a connection": lambda text: status_report(connections=(_connection(text),)),
    "an error of AWS": lambda text: status_report(
        listeners=Unknown(text, text), changes=Unknown(text, text), group=Skipped(text)
    ),
    "a load balancer": lambda text: status_report(
        load_balancer=LoadBalancer(
            arn=BALANCER_ARN, state=text, vpc_id=text, zones={text: text}, security_groups=(text,)
        )
    ),
    "an attribute": lambda text: status_report(
        group_attributes={text: text, "deregistration_delay.timeout_seconds": text},
        listener_attributes={"tcp.idle_timeout.seconds": text},
    ),
    "the endpoint service": lambda text: status_report(
        service=EndpointService(state=text, acceptance_required=True, load_balancer_arns=(text,))
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_wherever_it_comes_in_it_stays_a_text(browser: Browser, place: str) -> None:
    stays_as_it_is(browser, PLACES[place], 580)
