"""A real Chromium, and pages in it that may talk to this machine's loopback only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Request, sync_playwright

LIMIT_MS = 120_000
"""How long a page may take: a machine that runs other tests besides is slow."""
LOOPBACK = ("127.0.0.1", "localhost")
VIEW = {"width": 1400, "height": 1080}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The distribution's Chromium; playwright's own cannot be had everywhere.

    One a module, and not one a session: playwright keeps an event loop running in this thread, and the screen's tests
    want one of their own.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    nowhere = "MAP * ~NOTFOUND, " + ", ".join(f"EXCLUDE {name}" for name in LOOPBACK)
    settings = [f"--host-resolver-rules={nowhere}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=settings)
        yield browser
        browser.close()


class Outgoing:
    """Requests that a page wanted to send to other machines; none of their names is found."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        """Note what pages of `context` ask for."""
        context.on("request", self._note)

    def _note(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and parts.hostname not in LOOPBACK:
            self.urls.append(request.url)


@pytest.fixture
def outgoing() -> Outgoing:
    """What the test's pages wanted from other machines."""
    return Outgoing()


@pytest.fixture
def context(chromium: Browser, outgoing: Outgoing) -> Iterator[BrowserContext]:
    """A fresh profile."""
    made = chromium.new_context(viewport=VIEW)  # type: ignore[arg-type]  # playwright's own class, which is a dict
    made.set_default_timeout(LIMIT_MS)
    outgoing.watch(made)
    yield made
    made.close()
