"""Reads a lesson from its folder, and tells an author exactly what is wrong with it.

A lesson is a folder such as `lessons/03-packet-path`:

* `lesson.toml`: everything but the prose (`format_version` 1);
* `steps/NN-ID.md`: a step's text, and after the heading `## Explanation` what is shown once it is passed;
* `cluster.yaml`, or the manifest that `lesson.toml` names;
* `start/`, `solution/`, `wrong/`: scripts of repair steps; `solution/answers.toml` for `kplab lesson check`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kplab.course.lesson import Lesson, LessonInfo, LessonStep
from kplab.course.lesson_file import FORMAT_VERSION, LessonFile, StepFile, located, read_lesson_file
from kplab.course.step_parts import build_grade, build_preset, build_question, build_repair
from kplab.errors import LessonError, UnknownNameError

_FOLDER = re.compile(r"(?P<number>\d\d)-(?P<slug>[a-z0-9-]+)")
_EXPLANATION = re.compile(r"^## Explanation[ \t]*$", re.MULTILINE)
_TITLE = re.compile(r"\A# (?P<title>.+)\n")


def lessons_folder() -> Path:
    """Return the folder of the lessons: in the installed package, else in the checkout that we run from."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "lessons"
    return installed if installed.is_dir() else package.parent / "lessons"


def list_lessons(folder: Path | None = None) -> tuple[LessonInfo, ...]:
    """Return what `kplab lessons` lists, by number. Raises LessonError for a lesson.toml that cannot be read."""
    found = []
    for path in _lesson_folders(folder or lessons_folder()):
        file = read_lesson_file(path / "lesson.toml")
        number, slug = _number_and_slug(path)
        found.append(
            LessonInfo(f"lesson-{number}", number, slug, file.title, file.summary, file.minutes, len(file.step))
        )
    return tuple(found)


def load_lesson(name: str, folder: Path | None = None) -> Lesson:
    """Load a lesson by "lesson-3", "3", "packet-path", its folder's name, or a path to a folder.

    Raises UnknownNameError when there is none by that name, LessonError when its files are wrong.
    """
    path = _find(name, folder or lessons_folder())
    file = read_lesson_file(path / "lesson.toml")
    number, slug = _number_and_slug(path)
    steps = tuple(_build_step(path, file, step, index) for index, step in enumerate(file.step))
    return Lesson(
        id=f"lesson-{number}",
        number=number,
        slug=slug,
        title=file.title,
        summary=file.summary,
        minutes=file.minutes,
        mode=file.mode,
        backend=file.backend,
        manifest=read_text(path, file.manifest, path / "lesson.toml", "manifest"),
        steps=steps,
        presets=tuple(build_preset(preset) for preset in file.preset),
        folder=path,
    )


def solution_answers(lesson: Lesson) -> dict[str, str]:
    """Return the author's own answers, step id to choice id; for `kplab lesson check`, never for grading."""
    where = lesson.folder / "solution" / "answers.toml"
    try:
        answers = tomllib.loads(read_text(lesson.folder, "solution/answers.toml", where, "solution/answers.toml"))
    except tomllib.TOMLDecodeError as error:
        raise LessonError(f"{where} is not TOML", str(error)) from error
    wrong = [key for key, value in answers.items() if not isinstance(value, str)]
    if wrong:
        raise LessonError(f"{where}: {wrong[0]}", "expected the id of a choice, as text")
    return dict(answers)


def read_text(folder: Path, name: str, where: Path, field: str) -> str:
    """Read a file of the lesson's; LessonError names the file and field that asked for it."""
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LessonError(
            f"{where}: {field}", f"{name} cannot be read: {error}", "Name a file of UTF-8 text."
        ) from error
    if not text.strip():
        raise LessonError(f"{where}: {field}", f"{name} is empty", "Write it, or take the field away.")
    return text


def _lesson_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if _FOLDER.fullmatch(p.name) and (p / "lesson.toml").is_file())


def _find(name: str, folder: Path) -> Path:
    for path in _lesson_folders(folder):
        number, slug = _number_and_slug(path)
        if name in {f"lesson-{number}", str(number), slug, path.name}:
            return path
    given = Path(name)
    if (given / "lesson.toml").is_file():
        return given.resolve()
    known = ", ".join(f"lesson-{_number_and_slug(p)[0]} ({_number_and_slug(p)[1]})" for p in _lesson_folders(folder))
    raise UnknownNameError(f"there is no lesson {name!r}", "", f"Lessons: {known or 'none are installed'}")


def _number_and_slug(path: Path) -> tuple[int, str]:
    found = _FOLDER.fullmatch(path.name)
    if found is None:
        raise LessonError(
            f"the lesson's folder {path.name!r} has a name that cannot be used",
            "expected two digits, a hyphen, and small letters, like 03-packet-path",
        )
    return int(found["number"]), found["slug"]


def _build_step(folder: Path, file: LessonFile, step: StepFile, index: int) -> LessonStep:
    where = folder / "lesson.toml"
    prose = read_text(folder, f"steps/{index + 1:02}-{step.id}.md", where, f"step {step.id!r}")
    title = _TITLE.match(prose)
    if title is None:
        raise LessonError(f"{folder}/steps/{index + 1:02}-{step.id}.md, line 1", "expected the step's title: # TITLE")
    parts = _EXPLANATION.split(prose[title.end() :])
    if len(parts) > 2:
        raise LessonError(f"{folder}/steps/{index + 1:02}-{step.id}.md", "## Explanation stands twice; expected once")
    with located(where, step.id):
        return LessonStep(
            id=step.id,
            title=title["title"].strip(),
            kind=step.kind,
            text=parts[0].strip(),
            task=step.task,
            question=build_question(step),
            preset=build_preset(step.preset) if step.preset else None,
            hints=tuple(step.hints),
            explanation=parts[1].strip() if len(parts) == 2 else "",
            grade=build_grade(step),
            repair=build_repair(step, folder),
        )


__all__ = ["FORMAT_VERSION", "lessons_folder", "list_lessons", "load_lesson", "solution_answers"]
