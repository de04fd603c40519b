"""The application: one window on one lab."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.screen import Screen

from kplab.course.engine import LessonRun
from kplab.errors import KplabError
from kplab.model.journey import Journey
from kplab.session.base import Session
from kplab.trace.recording import Recording
from kplab.tui.desk import Desk
from kplab.tui.feed import Feed, Starter, Teller
from kplab.tui.messages import Failed, LabReady, LabStep
from kplab.tui.palette import DARK, LIGHT, MEANINGS_DARK
from kplab.tui.screens.building import BuildingScreen
from kplab.tui.screens.keys import KEYS
from kplab.tui.screens.lesson import LessonScreen
from kplab.tui.terminal import TerminalDriver, restore

Clock = Callable[[], float]
GRACE = 2.0
"""Seconds that an orderly end may take after a signal."""


class KplabApp(App[int]):
    """Builds a lab and shows a lesson on it; or replays a recording."""

    CSS_PATH = "kplab.tcss"
    TITLE = "kplab"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "ctrl+c,ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit", tooltip="End the lab and leave"
        ),
    ]

    def __init__(
        self,
        tell: Teller,
        *,
        start: Starter | None = None,
        session: Session | None = None,
        story: tuple[Journey, Recording] | None = None,
        run: LessonRun | None = None,
        manifest: str = "",
        heading: str = "kplab",
        clock: Clock = time.monotonic,
        ticking: bool = True,
        inline: bool = False,
    ) -> None:
        """Give `start` to build a lab, or a `session` that exists; a `story` is shown at once.

        `ticking` False leaves it to the caller to call the screen's `tick`, `inline` runs the feed's jobs at
        once: both for tests, whose time is their own.
        """
        super().__init__()
        self.feed = Feed(self._deliver, tell, inline=inline)
        self.failure: KplabError | None = None
        """Why there is no lab, when it could not be built."""
        self._start = start
        self._session = session
        self._story = story
        self._lesson = run
        self._manifest = manifest
        self._heading = heading
        self._clock = clock
        self._ticking = ticking

    def get_driver_class(self) -> type[Driver]:
        """Draw on standard output; but not where the environment names a driver, and not on Windows."""
        found = super().get_driver_class()
        return TerminalDriver if found is LinuxDriver else found

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give our meanings a colour in every theme."""
        return MEANINGS_DARK

    def on_mount(self) -> None:
        """Show the lab being built, or what there is already."""
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        self._watch_signals()
        if self._session is not None:
            self._open(self._session)
        elif self._start is not None:
            self.push_screen(BuildingScreen(self._heading))
            self.call_after_refresh(self.feed.build, self._start)

    def _watch_signals(self) -> None:
        """End in order when the terminal goes or somebody asks us to."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread: in tests
                loop.add_signal_handler(number, self._leave, 128 + number)

    def _leave(self, status: int) -> None:
        threading.Thread(target=self._leave_anyway, args=(status,), daemon=True).start()
        self.exit(return_code=status)

    def _leave_anyway(self, status: int) -> None:
        """End the lab, and the process too if it stays: Textual waits for ever to write to a terminal that is gone."""
        self.feed.close()
        time.sleep(GRACE)
        restore()
        os._exit(status)

    def _deliver(self, message: Message) -> None:
        """Give the lesson, or this app while the lab is being built, a message of the feed's, from any thread."""
        lesson = next((screen for screen in self.screen_stack if isinstance(screen, LessonScreen)), None)
        (lesson or self).post_message(message)

    def on_lab_step(self, message: LabStep) -> None:
        """Show a step of the building."""
        if isinstance(self.screen, BuildingScreen):
            self.screen.steps.step(message.step)

    def on_lab_ready(self, message: LabReady) -> None:
        """Open the lesson."""
        self._open(message.session)

    def on_failed(self, message: Failed) -> None:
        """Say why the lab could not be built; whoever ran the app is told too."""
        self.failure = message.error
        if isinstance(self.screen, BuildingScreen):
            self.screen.steps.fail(message.error)

    def _open(self, session: Session) -> None:
        self.feed.take(session)
        desk = Desk(session, self._lesson, still=self.animation_level == "none")
        if self._story is not None:
            desk.told(*self._story, self._clock())
        screen = LessonScreen(desk, self.feed, self._clock, ticking=self._ticking)
        if isinstance(self.screen, BuildingScreen):
            self.switch_screen(screen)
        else:
            self.push_screen(screen)
        if self._manifest:
            self.feed.learn_names(self._manifest, session)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer every key's action in the command palette, and Textual's own themes."""
        yield from (
            command for command in super().get_system_commands(screen) if command.title in {"Theme", "Screenshot"}
        )
        if not isinstance(screen, LessonScreen):
            return
        for binding in KEYS:
            if binding.show:
                action = binding.action
                title = binding.description.capitalize()
                yield SystemCommand(title, f"{binding.tooltip}  [{binding.key}]", lambda a=action: self._run(screen, a))

    async def _run(self, screen: LessonScreen, action: str) -> None:
        await screen.run_action(action)
