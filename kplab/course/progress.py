"""How far a student has come, in one file of the user's state folder.

The file is replaced whole (written aside, fsync, rename), and each change is made on its newest contents under
a lock, so that two kplabs at once do not undo each other's. A file that cannot be read is kept under another
name, and `notice` says so; progress is a convenience, and never stops a lesson.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

if sys.platform != "win32":
    import fcntl

VERSION = 1
"""Of the file's format."""

_FILE = "progress.json"


class StepProgress(msgspec.Struct, frozen=True):
    """What is kept of one step."""

    passed: bool = False
    prediction: str | None = None
    hints_shown: int = 0
    attempts: int = 0
    """Graded packets and checks."""
    changed_at: float = 0.0
    """Seconds since 1970."""


class LessonProgress(msgspec.Struct, frozen=True):
    """What is kept of one lesson; steps by their id, so that a lesson may gain steps."""

    step: str = ""
    """The id of the step where the student is."""
    steps: dict[str, StepProgress] = {}


class _Contents(msgspec.Struct, frozen=True):
    version: int = VERSION
    lessons: dict[str, LessonProgress] = {}


class ProgressStore:
    """Reads and changes the progress file of one folder. No method raises for a file or folder that is unusable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _FILE
        self.notice: str | None = None
        """What the student should be told about the file, once; None when all is well."""

    def read(self, lesson_id: str) -> LessonProgress:
        """Return what is kept of a lesson; empty when nothing is."""
        return self._load().lessons.get(lesson_id, LessonProgress())

    def place(self, lesson_id: str, step_id: str) -> None:
        """Keep where the student is."""
        self._change(lesson_id, lambda lesson: msgspec.structs.replace(lesson, step=step_id))

    def record(self, lesson_id: str, step_id: str, progress: StepProgress) -> None:
        """Keep one step's progress; the other steps stay as they are in the file now."""
        self._change(
            lesson_id,
            lambda lesson: msgspec.structs.replace(lesson, steps={**lesson.steps, step_id: progress}),
        )

    def reset(self, lesson_id: str) -> None:
        """Forget a lesson."""
        self._change(lesson_id, lambda lesson: LessonProgress())

    def _change(self, lesson_id: str, change: Callable[[LessonProgress], LessonProgress]) -> None:
        try:
            with self._locked():
                contents = self._load()
                if contents.version > VERSION:
                    return
                lesson = change(contents.lessons.get(lesson_id, LessonProgress()))
                self._replace(_Contents(lessons={**contents.lessons, lesson_id: lesson}))
        except OSError as error:
            self.notice = f"progress is not kept: {error}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{_FILE}.lock").open("w") as lock:
            if sys.platform != "win32":
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self) -> _Contents:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return _Contents()
        except OSError as error:
            self.notice = f"progress cannot be read: {error}"
            return _Contents()
        try:
            contents = msgspec.json.decode(data, type=_Contents)
        except msgspec.DecodeError as error:
            self._keep_aside(str(error))
            return _Contents()
        if contents.version > VERSION:
            self.notice = f"{self.path} was written by a newer kplab (format {contents.version}); progress is not kept"
        return contents

    def _keep_aside(self, why: str) -> None:
        """Rename a file that cannot be read to the first free name, so that nothing is lost without a word."""
        aside = next(
            path
            for n in range(1, 1_000_000)
            if not (path := self.path.with_name(f"progress.corrupt-{n}.json")).exists()
        )
        try:
            self.path.rename(aside)
        except OSError as error:
            self.notice = f"{self.path} cannot be read ({why}), nor put aside: {error}"
        else:
            self.notice = f"{self.path} could not be read ({why}); it was kept as {aside.name}, and a new one begun"

    def _replace(self, contents: _Contents) -> None:
        handle, name = tempfile.mkstemp(prefix=f"{_FILE}.", dir=self.folder)
        written = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(contents), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            written.replace(self.path)
        except OSError:
            written.unlink(missing_ok=True)
            raise


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return kplab's folder for state: $XDG_STATE_HOME/kplab, else ~/.local/state/kplab (XDG base directories)."""
    given = environment.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path(environment.get("HOME") or "~").expanduser() / ".local/state"
    return base / "kplab"
