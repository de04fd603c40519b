"""`kplab start LESSON --plain`: the lesson line by line, for pipes, logs and screen readers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from kplab.course.dialogue import Dialogue
from kplab.course.engine import LessonRun
from kplab.course.live_parts import StartLab, Tell, lab_plan, start_lab_live, tell_live, terminal_shell
from kplab.course.load import load_lesson
from kplab.course.progress import ProgressStore, state_folder
from kplab.session.base import Step
from kplab.trace.recording import Backend


def run_plain(
    name: str,
    backend: Backend | None,
    source: TextIO,
    sink: TextIO,
    *,
    sandbox: str = "auto",
    start: StartLab | None = None,
    tell: Tell | None = None,
    environment: Mapping[str, str] = os.environ,
    clock: Callable[[], float] = time.time,
) -> int:
    """Load a lesson, start its lab, and converse until quit or the end of input; returns the exit status 0.

    `start` and `tell` are the live lab's and the tracer's unless a test gives others. Raises UnknownNameError,
    LessonError, and SandboxError when no lab can be started here.
    """
    lesson = load_lesson(name)
    store = ProgressStore(state_folder(environment))
    run = LessonRun(lesson, store, clock)
    _print(sink, f"{lesson.id}: {lesson.title}", lesson.summary, f"About {lesson.minutes} minutes.", "")
    session = (start or start_lab_live())(lab_plan(lesson, backend, sandbox), lambda step: _report(sink, step))
    try:
        facts = session.facts
        _print(sink, f"The lab stands: Linux {facts.kernel}, {facts.written_through}, rules of {facts.rules_of}.")
        if store.notice:
            _print(sink, f"Note: {store.notice}")
        shell = terminal_shell() if source is sys.stdin and source.isatty() else None
        Dialogue(run, session, (source, sink), tell or tell_live(), shell).talk()
        if not run.finished:
            _print(sink, f"Go on with: kplab start {lesson.id} --plain")
    finally:
        session.close()
    return 0


def _report(sink: TextIO, step: Step) -> None:
    if step.done:
        _print(sink, f"  {step.seconds:5.2f} s  {step.name}")


def _print(sink: TextIO, *lines: str) -> None:
    for line in lines:
        sink.write(f"{line}\n")
    sink.flush()
