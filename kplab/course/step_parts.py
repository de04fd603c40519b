"""The parts of a step, from lesson.toml's tables to values. Each raises ValueError saying what was expected."""

from __future__ import annotations

from pathlib import Path

from kplab.course.expect import Expectation, aliases_of, expectation
from kplab.course.lesson import (
    About,
    Check,
    Choice,
    Claim,
    Connections,
    Gather,
    Grade,
    IpvsRules,
    IpvsService,
    MapService,
    Preset,
    Question,
    Repair,
    Script,
    ServiceLookup,
    ServiceRules,
)
from kplab.course.lesson_file import CheckFile, HopTable, PresetFile, StepFile
from kplab.rules.ipvsadm import split_address


def build_preset(preset: PresetFile) -> Preset:
    """Build a preset; whether its expression parses is `kplab lesson check`'s to say."""
    return Preset(preset.label, preset.expression, preset.sender, preset.client)


def build_question(step: StepFile) -> Question | None:
    """Build a predict step's question; other kinds must have none."""
    if step.kind != "predict":
        if step.prompt is not None or step.choice:
            raise ValueError(f"prompt and choice belong to a predict step; this one is {step.kind}")
        return None
    if step.prompt is None or len(step.choice) < 2:
        raise ValueError("a predict step needs prompt, and at least two [[step.choice]]")
    ids = [choice.id for choice in step.choice]
    if len(set(ids)) != len(ids):
        raise ValueError(f"the choices' ids must differ; they are {', '.join(ids)}")
    return Question(step.prompt, tuple(Choice(choice.id, choice.label) for choice in step.choice))


def build_grade(step: StepFile) -> Grade:
    """Build how a step is graded: claims for a predict step, one expectation for a send step."""
    about = About(tuple(step.about.senders), step.about.destination, step.about.packets)
    if step.kind == "predict":
        _refuse(step, "hops and never belong to each [[step.choice]] of a predict step", step.hops or step.never)
        return Grade(
            about, claims=tuple(_claim(choice.id, choice.hops, choice.never, choice.why) for choice in step.choice)
        )
    if step.kind == "send":
        if not step.hops:
            raise ValueError("a send step needs hops: what the kernel must do")
        expected = _expectation("hops", step.hops, step.never)
        gather = Gather(step.gather.alias, step.gather.count) if step.gather else None
        if gather and gather.alias not in aliases_of(expected):
            raise ValueError(f"gather: no hop stores {gather.alias!r} (write &{gather.alias} in one of hops)")
        return Grade(about, expected=expected, gather=gather)
    _refuse(step, "hops, never and gather belong to a send step", step.hops or step.never or step.gather)
    return Grade(about)


def build_repair(step: StepFile, folder: Path) -> Repair | None:
    """Build a repair step's breakage, solution, wrong answers and checks; other kinds must have none."""
    if step.kind != "repair":
        _refuse(step, "[step.repair] belongs to a repair step", step.repair)
        return None
    if step.repair is None or not step.repair.check:
        raise ValueError("a repair step needs [step.repair] with at least one check")
    repair = step.repair
    return Repair(
        node=repair.node,
        start=_script(folder, repair.start),
        solution=_script(folder, repair.solution),
        wrong=tuple(_script(folder, wrong.script, wrong.because) for wrong in repair.wrong),
        checks=tuple(_check(check) for check in repair.check),
    )


def _claim(choice_id: str, hops: list[HopTable], never: list[HopTable], why: str) -> Claim:
    if not hops and not never:
        raise ValueError(f"choice {choice_id!r} claims nothing: expected hops or never")
    return Claim(choice_id, _expectation(f"choice {choice_id!r}", hops, never), why)


def _expectation(name: str, hops: list[HopTable], never: list[HopTable]) -> Expectation:
    try:
        return expectation(hops, never)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _script(folder: Path, name: str, about: str = "") -> Script:
    try:
        text = (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the script {name} cannot be read: {error}") from error
    return Script(name, text, about)


def _check(check: CheckFile) -> Check:
    endpoints = tuple(check.endpoints)
    match check.kind:
        case "service-rules":
            _need(check.kind, node=check.node, service=check.service, endpoints=endpoints)
            return ServiceRules(check.node, check.service, endpoints)
        case "service-lookup":
            _need(check.kind, node=check.node, key=check.key, endpoints=endpoints)
            return ServiceLookup(check.node, check.key, endpoints)
        case "ipvs-service":
            _need(check.kind, node=check.node, server=check.server, endpoints=endpoints)
            return IpvsService(check.node, _frontend(check.server), endpoints)
        case "ipvs-rules":
            _need(check.kind, node=check.node)
            return IpvsRules(check.node)
        case "map-service":
            _need(check.kind, node=check.node, frontend=check.frontend, endpoints=endpoints)
            return MapService(check.node, _frontend(check.frontend), endpoints)
        case "connections":
            _need(check.kind, sender=check.sender, url=check.url, times=check.times, answers=check.answers)
            return Connections(check.sender, check.url, check.times, tuple(check.answers), check.seconds)


def _frontend(text: str) -> str:
    protocol, _, place = text.partition(" ")
    try:
        split_address(place)
    except ValueError:
        protocol = ""
    if protocol not in {"TCP", "UDP"}:
        raise ValueError(f'{text!r} is no frontend: expected one like "TCP 10.96.0.42:80"')
    return text


def _need(kind: str, **fields: object) -> None:
    missing = [name for name, value in fields.items() if not value]
    if missing:
        raise ValueError(f"a check of kind {kind} needs {', '.join(missing)}")


def _refuse(step: StepFile, message: str, given: object) -> None:
    if given:
        raise ValueError(f"{message}; this step is {step.kind}")
