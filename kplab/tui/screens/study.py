"""The lesson: answers, hints, steps, the shell and the check."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from textual import on, work

from kplab.course.engine import LessonRun
from kplab.course.lesson import Preset
from kplab.session.base import Session
from kplab.session.terminal import relay_shell
from kplab.tui.screens.base import DeskScreen
from kplab.tui.screens.overlays import ChooseScreen
from kplab.tui.widgets.lesson_panel import Choices, LessonPanel


@contextmanager
def ended_by_signals(session: Session) -> Iterator[None]:
    """End the lab, and with it a shell that holds the terminal, when a signal asks us to leave.

    The event loop, which otherwise sees to signals, stands still meanwhile; it hears of the signal afterwards. The
    lab is closed in a thread, because the main one may be in the middle of a call of the session's.
    """

    def close(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=session.close, daemon=True).start()

    before = {number: signal.signal(number, close) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except OSError:  # the terminal has gone: SIGHUP says so to the event loop
        session.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StudyActions(DeskScreen):
    """Actions of the keys in `keys.LESSON`."""

    def offer_preset(self, preset: Preset | None) -> None:
        """Put a step's packet into the prompt."""
        raise NotImplementedError

    def action_answer(self, index: int) -> None:
        """Choose an answer."""
        for choices in self.query(Choices):
            choices.action_choose(index)

    @on(Choices.Chosen)
    async def _chosen(self, event: Choices.Chosen) -> None:
        run = self.desk.run
        if run is not None and run.step.question is not None:
            run.predict(run.step.question.choices[event.index].id)
            self.set_focus(None)  # so that Enter sends
            await self.show_lesson()

    def action_page(self, by: int) -> None:
        """Scroll the lesson's text."""
        for panel in self.query(LessonPanel):
            panel.scroll_text(by)

    async def action_hint(self) -> None:
        """Show the next hint."""
        if self.desk.run is not None and self.desk.run.hint() is not None:
            await self.show_lesson()
            self.query_one(LessonPanel).to_end()

    def action_reset(self) -> None:
        """Begin the step anew."""
        if self.desk.run is not None:
            self.start("resetting the step")
            self.feed.reset(self.desk.run, self.desk.session)

    async def action_advance(self) -> None:
        """Go to the next step; says what is missing when this one is not done with."""
        run = self.desk.run
        if run is None:
            return
        if self.desk.grade(early=True):
            await self.show_lesson()
        if run.advance():
            await self._entered()
        elif not run.can_advance:
            self.notify(f"Not yet: {run.step.task}", markup=False)
        else:
            await self.show_lesson()

    async def action_back(self) -> None:
        """Go to the step before."""
        if self.desk.run is not None and self.desk.run.back():
            await self._entered()

    async def _entered(self) -> None:
        self.desk.remark = ()
        if self.desk.run is not None:
            await self.begin_step(self.desk.run)

    async def begin_step(self, run: LessonRun) -> None:
        """Show the step that was come to, put its packet into the prompt, and have the lab prepared for it."""
        if self.has_class("narrow"):
            self.add_class("lesson-side")
        await self.show_lesson()
        self.offer_preset(run.step.preset)
        if self.desk.session.live:
            self.start("preparing the step")
            self.feed.enter(run, self.desk.session)

    def action_check(self) -> None:
        """Check a repair."""
        run = self.desk.run
        if run is not None and run.step.repair is not None and self.desk.session.live:
            self.start("checking")
            self.feed.check(run, self.desk.session)

    @work
    async def action_shell(self) -> None:
        """Open a shell in the lab; when it ends, a repair is checked."""
        desk = self.desk
        if not desk.session.live:
            return
        repair = desk.run.step.repair if desk.run else None
        names = tuple(ns.name for ns in desk.session.topology.namespaces)
        chosen = await self.app.push_screen_wait(
            ChooseScreen(
                "A shell in", [(name, name) for name in names], repair.node if repair else self.node_in_sight()
            )
        )
        if chosen is None:
            return
        with self.app.suspend(), ended_by_signals(desk.session):
            print(f"A shell in {chosen}, in the lab: nothing outside it can be changed. `exit` leads back.")  # noqa: T201
            relay_shell(desk.session, chosen)
        self.refresh(layout=True)
        self.action_check()

    def action_side(self) -> None:
        """Lesson or picture, on a narrow screen."""
        self.toggle_class("lesson-side")
        self.show_frame()
