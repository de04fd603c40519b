"""The shape of `lesson.toml`, and messages that name its file, line and field."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from kplab.course.lesson import StepKind
from kplab.errors import LessonError
from kplab.model.packet import Client

FORMAT_VERSION = 1
"""Of lesson.toml. Rises when a field changes its meaning."""

HopTable = dict[str, str | int | list[str | int]]
"""A hop pattern; see `kplab.course.expect`."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base: a table of lesson.toml; a field that it does not know is an error."""


class PresetFile(_Table, frozen=True, kw_only=True):
    """`[step.preset]` and `[[preset]]`."""

    label: str
    expression: str
    sender: str
    client: Client = "scapy"


class AboutFile(_Table, frozen=True, kw_only=True):
    """`[step.about]`."""

    senders: list[str] = []
    destination: str | None = None
    packets: int = 1


class ChoiceFile(_Table, frozen=True, kw_only=True):
    """`[[step.choice]]`: an answer, and the hops that must be (`hops`) and must not be (`never`) if it is right."""

    id: str
    label: str
    hops: list[HopTable] = []
    never: list[HopTable] = []
    why: str = ""


class GatherFile(_Table, frozen=True, kw_only=True):
    """`[step.gather]`."""

    alias: str
    count: int


CheckKind = Literal["service-rules", "service-lookup", "ipvs-service", "ipvs-rules", "map-service", "connections"]


class CheckFile(_Table, frozen=True, kw_only=True):
    """`[[step.repair.check]]`: the fields of all kinds together; `step_parts` tells which belong to which."""

    kind: CheckKind
    node: str = ""
    service: str = ""
    key: str = ""
    server: str = ""
    frontend: str = ""
    endpoints: list[str] = []
    sender: str = ""
    url: str = ""
    times: int = 0
    answers: list[str] = []
    seconds: int = 2


class WrongFile(_Table, frozen=True, kw_only=True):
    """`[[step.repair.wrong]]`: a common wrong answer."""

    script: str
    because: str


class RepairFile(_Table, frozen=True, kw_only=True):
    """`[step.repair]`."""

    node: str
    start: str
    solution: str
    wrong: list[WrongFile] = []
    check: list[CheckFile]


class StepFile(_Table, frozen=True, kw_only=True):
    """`[[step]]`."""

    id: str
    kind: StepKind
    task: str
    prompt: str | None = None
    choice: list[ChoiceFile] = []
    hints: list[str] = []
    preset: PresetFile | None = None
    about: AboutFile = AboutFile()
    hops: list[HopTable] = []
    never: list[HopTable] = []
    gather: GatherFile | None = None
    repair: RepairFile | None = None


class LessonFile(_Table, frozen=True, kw_only=True):
    """The whole of lesson.toml."""

    format_version: int
    title: str
    summary: str
    minutes: int
    mode: str = "iptables"
    backend: Literal["nft", "legacy"] = "nft"
    manifest: str = "cluster.yaml"
    preset: list[PresetFile] = []
    step: list[StepFile]


def read_lesson_file(path: Path) -> LessonFile:
    """Read a lesson.toml; LessonError with file, line or field, and what was expected."""
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LessonError(f"{path} is not TOML", str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LessonError(f"{path} cannot be read", str(error)) from error
    version = table.get("format_version")
    if version != FORMAT_VERSION:
        raise LessonError(f"{path}: format_version", f"is {version!r}; this kplab reads {FORMAT_VERSION}")
    try:
        return msgspec.convert(table, LessonFile)
    except msgspec.ValidationError as error:
        raise LessonError(_place(path, text, table, str(error)), _what(str(error))) from error


@contextlib.contextmanager
def located(path: Path, step_id: str) -> Iterator[None]:
    """Turn a ValueError inside into a LessonError that names the file, the step's line and the step."""
    try:
        yield
    except ValueError as error:
        line = _line_of_step(path.read_text(encoding="utf-8"), step_id)
        raise LessonError(f"{path}, line {line}: step {step_id!r}", str(error)) from error


def _place(path: Path, text: str, table: dict[str, object], message: str) -> str:
    """Turn msgspec's path ("at `$.step[3].choice[0].label`") into file, line of the step, and field."""
    found = re.search(r"at `\$\.?(?P<path>[^`]*)`", message)
    field = found["path"] if found else ""
    inside = re.match(r"step\[(?P<index>\d+)\]\.?", field)
    steps = table.get("step")
    if inside is None or not isinstance(steps, list):
        return f"{path}: {field}" if field else str(path)
    step = steps[int(inside["index"])]
    step_id = step.get("id", "") if isinstance(step, dict) else ""
    name = repr(step_id) if step_id else f"number {int(inside['index']) + 1}"
    line = f", line {_line_of_step(text, step_id)}" if step_id else ""
    return f"{path}{line}: step {name}, {field[inside.end() :] or 'itself'}"


def _what(message: str) -> str:
    return message.partition(" - at `")[0]


def _line_of_step(text: str, step_id: str) -> int:
    wanted = re.compile(rf"""\s*id\s*=\s*["']{re.escape(step_id)}["']""")
    return next((n for n, line in enumerate(text.splitlines(), 1) if wanted.match(line)), 1)
