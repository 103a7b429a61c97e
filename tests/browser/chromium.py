"""A real Chromium, and a dashboard's page around the widget."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from target_sync.status.report import StatusReport
from target_sync.status.widget import Frame, to_html

_FETCHED = Path(__file__).parents[2] / ".venv/browser"
_AXE = _FETCHED / "axe.min.js"
_INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    "--no-sandbox",  # of Chromium; it refuses root otherwise. Nothing from outside is loaded.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",  # the same letters on every machine
)


class NoBrowserError(Exception):
    """There is nothing to draw the widget with; the message says what to do."""


def executable() -> Path:
    """The Chromium to take: the one that CHROMIUM names, the locked one, or one of the system.

    Raises:
        NoBrowserError: There is none.
    """
    if given := os.environ.get("CHROMIUM"):
        return Path(given)
    if (locked := _FETCHED / "chromium").exists():
        return locked
    for name in _INSTALLED:
        if found := shutil.which(name):
            return Path(found)
    raise NoBrowserError(
        "There is no Chromium: run `make browser`, or where it has none for the machine (it has one"
        " for Linux on x86-64), install Chromium or set CHROMIUM to the path of one."
    )


def axe() -> str:
    """The source of axe-core.

    Raises:
        NoBrowserError: It was not fetched.
    """
    if not _AXE.exists():
        raise NoBrowserError("There is no axe-core: run `make browser`.")
    return _AXE.read_text()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, until the block ends."""
    path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=_OPTIONS, env=dict(_environment(path))
        )
        with browser:
            yield browser


def _environment(path: Path) -> Mapping[str, str]:
    """The locked one brings the libraries that it needs, and its fonts."""
    if path.parent != _FETCHED:
        return os.environ
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(path.parent / "lib"),
        "FONTCONFIG_FILE": str(path.parent / "fonts.conf"),
    }


@contextmanager
def dashboard(browser: Browser, width: int, *, height: int = 540) -> Iterator[Page]:
    """A page as wide as a widget, in a session of its own that reaches no network."""
    with browser.new_context(viewport={"width": width, "height": height}, offline=True) as session:
        yield session.new_page()


def page_of(widget: str, *, dark: bool) -> str:
    """A dashboard's page with nothing on it but the widget, from edge to edge.

    The colours behind are those of the console (Cloudscape, light and dark), the headings those
    that a dashboard and a widget have there.
    """
    background, text = ("#161d26", "#d1d5db") if dark else ("#ffffff", "#16191f")
    hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Dashboard</title>'
        f"<style>body{{margin:0;background:{background};color:{text}}}</style></head><body><main>"
        f'<div style="{hidden}"><h1>Dashboard</h1><h2>Connection path to PostgreSQL</h2></div>'
        f"{widget}</main></body></html>"
    )


def show(page: Page, status_report: StatusReport, *, dark: bool = False) -> None:
    """Let the page show the widget as wide as it is itself."""
    size = page.viewport_size
    assert size is not None
    page.set_content(
        page_of(to_html(status_report, Frame(width=size["width"], dark=dark)), dark=dark)
    )
