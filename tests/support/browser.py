"""A real browser for the pages that are written or served: Chromium, without a window."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DRAWN = "html[data-charts=drawn]"
"""What is there once all charts of one of our pages are drawn."""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Seen:
    """A page, and what went wrong in it.

    Attributes:
        page: Playwright's page.
        errors: exceptions, and what was written to the console as an error.
        requests: the addresses that the page asked for beside its own files.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def serious(self, within: str = "document") -> list[str]:
        """Return axe's findings of serious and critical impact: rule, what is wrong, and the first places."""
        self.page.evaluate((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
        found: dict[str, Any] = self.page.evaluate(f"axe.run({within}, {{resultTypes: ['violations']}})")
        return [
            f"{rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes'][:5]]}"
            for rule in found["violations"]
            if rule["impact"] in ("serious", "critical")
        ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser; the test is skipped where there is none.

    Keep it to the test or module that needs it: while it runs, its thread has an event loop, beside which Kaleido,
    which draws the PNGs, can't start one.
    """
    if PROGRAM is None:
        pytest.skip("there is no Chromium or Chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, dark: bool = False, size: dict[str, int] | None = None) -> Iterator[Seen]:
    """Open an address (`path.as_uri()` for a file) in a page of its own.

    Args:
        browser: the browser.
        url: the address.
        dark: whether the reader's system is set to dark.
        size: of the window in pixels; None: `DESKTOP`.
    """
    window: Any = size or DESKTOP
    context = browser.new_context(viewport=window, color_scheme="dark" if dark else "light", accept_downloads=True)
    try:
        seen = Seen(context.new_page())
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("console", lambda said: seen.errors.append(said.text) if said.type == "error" else None)
        seen.page.on("request", lambda request: _note(seen.requests, request.url, url))
        seen.page.goto(url)
        yield seen
    finally:
        context.close()


def _note(requests: list[str], asked: str, page: str, own: Sequence[str] = ("data:", "blob:")) -> None:
    if asked != page and not asked.startswith(tuple(own)):
        requests.append(asked)
