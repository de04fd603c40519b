"""The one place that turns an error into words on standard error and an exit status."""

from __future__ import annotations

import sys
from enum import IntEnum

from kplab import errors


class ExitCode(IntEnum):
    """What a shell script can tell apart."""

    OK = 0
    FAILED = 1
    """A lesson's check failed, a walk and the kernel disagree: kplab worked, and the answer is no."""
    USAGE = 2
    """What was typed or written cannot be used."""
    SANDBOX = 3
    """No lab can be started on this machine."""
    LAB = 4
    """The lab stood, and something in it failed."""
    CAPTURE = 5
    """The kernel could not be watched."""
    PROTOCOL = 6
    """The lab's agent has gone, or speaks another version."""
    LESSON = 7
    """A lesson's own files are wrong."""
    INTERNAL = 70
    """A defect of kplab's (sysexits' EX_SOFTWARE)."""
    INTERRUPTED = 130


_CODES: dict[type[errors.KplabError], ExitCode] = {
    errors.UsageError: ExitCode.USAGE,
    errors.SandboxError: ExitCode.SANDBOX,
    errors.LabError: ExitCode.LAB,
    errors.CaptureError: ExitCode.CAPTURE,
    errors.ProtocolError: ExitCode.PROTOCOL,
    errors.LessonError: ExitCode.LESSON,
}


def exit_code(error: errors.KplabError) -> ExitCode:
    """Return the exit status of an error: that of its nearest class in the table."""
    for kind in type(error).__mro__:
        if kind in _CODES:
            return _CODES[kind]
    return ExitCode.INTERNAL


def report(error: errors.KplabError, text: str | None = None) -> ExitCode:
    """Print an error for a person; for an expression, with the mark under the part that is wrong."""
    if isinstance(error, errors.ExpressionError) and text is not None:
        line = "".join(" " if c in "\r\n\t" else c for c in text)
        print(f"  {line}", file=sys.stderr)  # noqa: T201
        print("  " + " " * error.position + "^" * max(1, error.length), file=sys.stderr)  # noqa: T201
    print(f"kplab: {error}", file=sys.stderr)  # noqa: T201
    return exit_code(error)
