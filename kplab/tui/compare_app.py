"""The application around two modes side by side: labs are run one by one in a thread, each story shown when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from textual.message import Message

from kplab.course.live_parts import tell_live
from kplab.errors import KplabError
from kplab.tui.app import Clock, KplabApp
from kplab.tui.run import check_terminal
from kplab.tui.screens.compare import ColumnState, CompareScreen, Missing, Waiting
from kplab.tui.terminal import restored

__all__ = ["CompareApp", "Hear", "Missing", "Waiting", "Work", "run_compare"]

Hear = Callable[[ColumnState], None]
Work = Callable[[Hear], None]
"""Runs every mode, and tells what comes of each; called in a thread, and once."""
_PATIENCE = 10.0
"""Seconds to wait at the end for a lab that is going."""


class Heard(Message):
    """What is known of a mode now."""

    def __init__(self, state: ColumnState) -> None:
        super().__init__()
        self.state = state


class CompareApp(KplabApp):
    """Shows the modes that `work` runs."""

    def __init__(
        self, work: Work, names: Sequence[str], heading: str, *, clock: Clock = time.monotonic, ticking: bool = True
    ) -> None:  # fmt: skip
        super().__init__(tell_live(), heading=heading, clock=clock, ticking=ticking)
        self._work = work
        self._names = tuple(names)
        self.worker = threading.Thread(target=self._run_all, name="kplab-compare", daemon=True)

    def on_mount(self) -> None:
        """Show the screen at once, and begin."""
        self.push_screen(CompareScreen(self._names, self._heading, self._clock, ticking=self._ticking))
        self.call_after_refresh(self.worker.start)

    def _run_all(self) -> None:
        try:
            self._work(self._hear)
        except KplabError as error:
            for name in self._names:
                self._hear(Missing(name, str(error)))

    def _hear(self, state: ColumnState) -> None:
        if self.is_running:
            self.post_message(Heard(state))

    def on_heard(self, message: Heard) -> None:
        """Give it to the screen."""
        screen = next((one for one in self.screen_stack if isinstance(one, CompareScreen)), None)
        if screen is not None:
            screen.take(message.state)


def run_compare(app: CompareApp, stop: Callable[[], None]) -> int:
    """Show it until the reader leaves, then `stop` the labs; returns the exit status.

    Raises:
        UsageError: there is no terminal to draw on, or it is too small.
    """
    check_terminal("For pipes and screen readers: kplab compare without --screen")
    try:
        with restored():
            app.run()
    finally:
        stop()
        app.feed.close()
        if app.worker.ident is not None:
            app.worker.join(_PATIENCE)
    return app.return_code or 0
