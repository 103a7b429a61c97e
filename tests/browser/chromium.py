"""A real Chromium, and a dashboard page around the widget."""

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
    "--no-sandbox",  # Root needs this. No page loads anything.
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",  # The letters are the same on every machine.
)


class NoBrowserError(Exception):
    """A browser tool is missing. The message says what to do."""


def executable() -> Path:
    """Return the path of Chromium: from CHROMIUM, the locked one, or one of the system.

    Raises:
        NoBrowserError: There is no Chromium.
    """
    if given := os.environ.get("CHROMIUM"):
        return Path(given)
    if (locked := _FETCHED / "chromium").exists():
        return locked
    for name in _INSTALLED:
        if found := shutil.which(name):
            return Path(found)
    raise NoBrowserError(
        "There is no Chromium. On Linux x86-64 run `make browser`. Elsewhere install Chromium, or"
        " set CHROMIUM to its path."
    )


def axe() -> str:
    """Return the source of axe-core.

    Raises:
        NoBrowserError: axe-core was not downloaded.
    """
    if not _AXE.exists():
        raise NoBrowserError("There is no axe-core: run `make browser`.")
    return _AXE.read_text()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser with a new profile until the block ends."""
    path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=_OPTIONS, env=dict(_environment(path))
        )
        with browser:
            yield browser


def _environment(path: Path) -> Mapping[str, str]:
    """Return the environment. The locked Chromium has its own libraries and fonts."""
    if path.parent != _FETCHED:
        return os.environ
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(path.parent / "lib"),
        "FONTCONFIG_FILE": str(path.parent / "fonts.conf"),
    }


@contextmanager
def dashboard(browser: Browser, width: int, *, height: int = 540) -> Iterator[Page]:
    """Open a page of the width of a widget, in a new session without a network."""
    with browser.new_context(viewport={"width": width, "height": height}, offline=True) as session:
        yield session.new_page()


def page_of(widget: str, *, dark: bool) -> str:
    """Return the HTML of a dashboard page with only the widget, over its full width.

    The colours of the page are the console's (Cloudscape). The headings are those of a dashboard
    and a widget in the console.
    """
    background, text = ("#161d26", "#d1d5db") if dark else ("#ffffff", "#16191f")
    hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Dashboard</title>'
        f"<style>body{{margin:0;background:{background};color:{text}}}</style></head><body><main>"
        f'<div style="{hidden}"><h1>Dashboard</h1><h2>Connection path to PostgreSQL</h2></div>'
        f"{widget}</main></body></html>"
    )


def show(page: Page, report: StatusReport, *, dark: bool = False) -> None:
    """Show the widget over the full width of the page."""
    size = page.viewport_size
    assert size is not None
    page.set_content(page_of(to_html(report, Frame(width=size["width"], dark=dark)), dark=dark))
