"""`kplab lesson check`: proves to an author that a lesson holds together, and live, that it teaches the truth."""

from __future__ import annotations

from kplab.course.author_live import live_findings
from kplab.course.author_static import static_findings
from kplab.course.findings import Finding, Report
from kplab.course.live_parts import StartLab, Tell, start_lab_live, tell_live
from kplab.course.load import load_lesson
from kplab.errors import LessonError


def check_lesson(name: str, *, live: bool = False, start: StartLab | None = None, tell: Tell | None = None) -> Report:
    """Check one lesson; with `live`, on a real lab too, unless the files are wrong already.

    Raises UnknownNameError for a name that is no lesson's, SandboxError when a lab cannot be started here.
    `start` and `tell` are the live lab's and the tracer's unless a test gives others.
    """
    try:
        lesson = load_lesson(name)
    except LessonError as error:
        return Report(name, (Finding("", False, str(error)),))
    findings = tuple(static_findings(lesson))
    if live and all(finding.passed for finding in findings):
        findings += live_findings(lesson, start or start_lab_live(), tell or tell_live())
    return Report(lesson.id, findings)
