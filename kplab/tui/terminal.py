"""The terminal: drawn on through standard output, and given back as it was found, whatever happens."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, ClassVar

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

LEAVE = (
    "\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l"
    "\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)
"""Undoes what Textual's driver switches on: paste marks, no wrapping, size reports, mouse, keyboard protocol, the
other screen, the hidden cursor, focus reports. (xterm's control sequences, DECRST.)"""


class TerminalDriver(LinuxDriver):
    """Draws on standard output; Textual's own draws on standard error, and `2>file` would swallow the screen."""

    drawing: ClassVar[TerminalDriver | None] = None
    """The one that holds the terminal now."""

    def __init__(self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: Any = None) -> None:
        """Take the terminal's file; UTF-8 whatever the locale, because our marks are no Latin letters."""
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file = open(sys.stdout.fileno(), "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115

    def start_application_mode(self) -> None:
        """Take the terminal."""
        TerminalDriver.drawing = self
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Give it back."""
        super().stop_application_mode()
        TerminalDriver.drawing = None


def restore() -> None:
    """Give the terminal back if a driver still holds it. Never waits, also not for a terminal that is stopped."""
    driver, TerminalDriver.drawing = TerminalDriver.drawing, None
    if driver is None:
        return
    out = 1
    with suppress(OSError, termios.error):  # the terminal is gone
        if driver.attrs_before is not None:
            termios.tcsetattr(driver.fileno, termios.TCSANOW, driver.attrs_before)
        blocking = os.get_blocking(out)
        os.set_blocking(out, False)
        try:
            os.write(out, LEAVE.encode())
        finally:
            os.set_blocking(out, blocking)


@contextmanager
def restored() -> Iterator[None]:
    """Give the terminal back in the end, also after a signal that comes before the app sees to signals itself."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        restore()
        for number, handler in before.items():
            signal.signal(number, handler)
