"""The live lab and the tracer, fetched when first needed: a face without a lab never loads them."""

from __future__ import annotations

from collections.abc import Callable

from kplab.course.lesson import Lesson
from kplab.model.journey import Journey
from kplab.session.base import LabPlan, Report, Session
from kplab.trace.recording import Backend, Recording

StartLab = Callable[[LabPlan, Report], Session]
"""Starts a lab; called with its plan and what to report each step of building to."""

Tell = Callable[[Recording], Journey]
"""Makes a journey of a recording."""

OpenShell = Callable[[Session, str], object]
"""Gives the user's terminal to a shell in a namespace until it ends."""


def lab_plan(lesson: Lesson, backend: Backend | None = None, sandbox: str = "auto") -> LabPlan:
    """Return the lab that a lesson wants; a back-end that the user asked for goes before the lesson's own."""
    return LabPlan(manifest=lesson.manifest, mode=lesson.mode, backend=backend or lesson.backend, sandbox=sandbox)


def start_lab_live() -> StartLab:
    """Return what starts a real lab."""
    from kplab.session.live import start_lab

    return start_lab


def tell_live() -> Tell:
    """Return what tells a journey."""
    from kplab.trace.journey import tell

    return tell


def terminal_shell() -> OpenShell:
    """Return what opens a shell on the user's own terminal."""
    from kplab.session.terminal import relay_shell

    return relay_shell
