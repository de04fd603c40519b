"""Entry points of the screen, for the command line."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import cast

from kplab.course.engine import LessonRun
from kplab.course.live_parts import lab_plan, start_lab_live, tell_live
from kplab.course.load import load_lesson
from kplab.course.progress import ProgressStore, state_folder
from kplab.errors import UsageError
from kplab.session.base import LabPlan, Report, Session
from kplab.trace.recording import Backend, Recording
from kplab.tui.app import KplabApp
from kplab.tui.feed import Starter
from kplab.tui.terminal import restored

LEAST = (60, 20)
"""Columns and rows that the screen needs."""


def check_terminal(instead: str) -> None:
    """Raise UsageError when standard input and output are no terminal, or one that is too small.

    `instead` names what works without a terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the screen needs a terminal", "standard input or output is a pipe or a file", instead)
    columns, rows = shutil.get_terminal_size()
    if columns < LEAST[0] or rows < LEAST[1]:
        raise UsageError(
            f"the terminal is too small for the screen: {columns}x{rows}",
            f"it needs {LEAST[0]}x{LEAST[1]}, and 80x24 is comfortable",
            f"Make the window larger. {instead}",
        )


def run_lesson(lesson_name: str, backend: str = "", sandbox: str = "auto") -> int:
    """Show a lesson on a lab of its own, and end the lab; returns the exit status.

    `backend` "" is the lesson's own. Raises UnknownNameError, LessonError, UsageError; and what kept the lab from
    being built, once the student has read it on the screen and left.
    """
    check_terminal(f"For pipes and screen readers: kplab start {lesson_name} --plain")
    lesson = load_lesson(lesson_name)
    run = LessonRun(lesson, ProgressStore(state_folder(os.environ)), time.time)
    plan = lab_plan(lesson, cast("Backend", backend) if backend else None, sandbox)
    heading = f"{lesson.id} · {lesson.title}"
    return _run(KplabApp(tell_live(), start=_starter(plan), run=run, manifest=plan.manifest, heading=heading))


def run_play(plan: LabPlan) -> int:
    """Show a lab to play in, without a lesson; returns the exit status."""
    check_terminal("For pipes and screen readers: kplab trace, or kplab start lesson-3 --plain")
    return _run(KplabApp(tell_live(), start=_starter(plan), manifest=plan.manifest, heading="kplab · free play"))


def run_replay(recording: Recording) -> int:
    """Show a recorded journey; no lab, no prompt. Returns the exit status."""
    from kplab.session.replay import ReplaySession

    check_terminal("For pipes and screen readers: kplab replay FILE --plain")
    tell = tell_live()
    return _run(KplabApp(tell, session=ReplaySession(recording), story=(tell(recording), recording)))


def _starter(plan: LabPlan) -> Starter:
    """Return what starts the plan's lab; the session's modules are loaded in the worker, behind the first paint."""

    def start(report: Report) -> Session:
        return start_lab_live()(plan, report)

    return start


def _run(app: KplabApp) -> int:
    try:
        with restored():
            app.run()
    finally:
        app.feed.close()
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
