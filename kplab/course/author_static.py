"""What can be said of a lesson without a lab: names, prose, hints, presets, answers, stray files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kplab.course.findings import Finding
from kplab.course.lesson import Connections, Lesson, LessonStep, Preset
from kplab.course.load import solution_answers
from kplab.course.presets import send_spec
from kplab.errors import ExpressionError, LessonError, ManifestError
from kplab.model.loader import parse_cluster

_ID = re.compile(r"[a-z][a-z0-9-]*")
_LEAST_HINTS = {"read": 0, "predict": 2, "send": 2, "repair": 3}
_LEAST_WRONG_ANSWERS = 2
_ALWAYS_THERE = ("outside", "control-plane")
"""Namespaces that every lab has beside the manifest's nodes and pods."""


def static_findings(lesson: Lesson) -> Iterator[Finding]:
    """Yield a finding for each rule that a lesson must keep."""
    yield from _manifest(lesson)
    yield _finding("", "ids are unique and legal", _wrong_ids(lesson))
    yield _finding("", "every file is used", _stray_files(lesson))
    try:
        yield _finding("", "each question has the author's answer", _wrong_answers(lesson, solution_answers(lesson)))
    except LessonError as error:
        yield Finding("", False, str(error))
    for preset in lesson.presets:
        yield _finding("", f"preset {preset.label!r}", _wrong_preset(preset, _places(lesson)))
    for step in lesson.steps:
        yield _finding(step.id, f"{step.kind}: prose, hints, question, checks", list(_wrong_step(step, lesson)))


def _finding(step: str, text: str, wrong: list[str]) -> Finding:
    return Finding(step, not wrong, f"{text}: {'; '.join(wrong)}" if wrong else text)


def _manifest(lesson: Lesson) -> Iterator[Finding]:
    try:
        cluster = parse_cluster(lesson.manifest, str(lesson.folder))
    except ManifestError as error:
        yield Finding("", False, str(error))
    else:
        yield Finding("", True, f"the manifest has {len(cluster.services)} Services and {len(cluster.pods)} Pods")


def _places(lesson: Lesson) -> set[str]:
    try:
        cluster = parse_cluster(lesson.manifest, str(lesson.folder))
    except ManifestError:
        return set()
    return {*(pod.name for pod in cluster.pods), *(node.name for node in cluster.nodes), *_ALWAYS_THERE}


def _wrong_ids(lesson: Lesson) -> list[str]:
    ids = [step.id for step in lesson.steps]
    repeated = sorted({each for each in ids if ids.count(each) > 1})
    illegal = [each for each in ids if not _ID.fullmatch(each)]
    return [f"{each!r} stands twice" for each in repeated] + [
        f"{each!r}: expected small letters, digits and hyphens" for each in illegal
    ]


def _stray_files(lesson: Lesson) -> list[str]:
    used = {"lesson.toml", "cluster.yaml", "solution/answers.toml"}
    used |= {f"steps/{n:02}-{step.id}.md" for n, step in enumerate(lesson.steps, 1)}
    for step in lesson.steps:
        if step.repair:
            scripts = (step.repair.start, step.repair.solution, *step.repair.wrong)
            used |= {script.name for script in scripts}
    there = {path.relative_to(lesson.folder).as_posix() for path in lesson.folder.rglob("*") if path.is_file()}
    return [f"{name} is used by nothing" for name in sorted(there - used)]


def _wrong_answers(lesson: Lesson, answers: dict[str, str]) -> list[str]:
    asked = {step.id: step.question for step in lesson.steps if step.question}
    wrong = [f"no answer for {each} in solution/answers.toml" for each in asked if each not in answers]
    wrong += [f"{each} in solution/answers.toml is no step that asks" for each in answers if each not in asked]
    for step_id, question in asked.items():
        if step_id in answers and question.choice(answers[step_id]) is None:
            wrong.append(f"{answers[step_id]!r} is no choice of {step_id}")
    return wrong


def _wrong_preset(preset: Preset, places: set[str]) -> list[str]:
    wrong = [] if preset.sender in places else [f"the sender {preset.sender!r} is not in the lab"]
    try:
        send_spec(preset)
    except ExpressionError as error:
        wrong.append(str(error))
    return wrong


def _wrong_step(step: LessonStep, lesson: Lesson) -> Iterator[str]:
    places = _places(lesson)
    if not step.text:
        yield "the text is empty"
    if not step.task:
        yield "the task is empty"
    if step.kind != "read" and not step.explanation:
        yield "there is no ## Explanation"
    if len(step.hints) < _LEAST_HINTS[step.kind] or not all(hint.strip() for hint in step.hints):
        yield f"needs at least {_LEAST_HINTS[step.kind]} hints, none empty; has {len(step.hints)}"
    if step.kind in {"predict", "send"} and step.preset is None:
        yield "needs a [step.preset]: the packet that is sent"
    if step.preset:
        yield from _wrong_preset(step.preset, places)
    yield from (f"[step.about] sender {each!r} is not in the lab" for each in step.grade.about.senders
                if each not in places)  # fmt: skip
    yield from (f"choice {claim.choice_id!r} has no why" for claim in step.grade.claims if not claim.why)
    yield from _wrong_repair(step, places)


def _wrong_repair(step: LessonStep, places: set[str]) -> Iterator[str]:
    repair = step.repair
    if repair is None:
        return
    if repair.node not in places:
        yield f"the node {repair.node!r} is not in the lab"
    if len(repair.wrong) < _LEAST_WRONG_ANSWERS:
        yield f"needs at least {_LEAST_WRONG_ANSWERS} wrong answers as scripts; has {len(repair.wrong)}"
    real = [isinstance(check, Connections) for check in repair.checks]
    if all(real) or not any(real):
        yield "needs a check of the kernel's rules and one of real connections"
