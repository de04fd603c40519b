"""Reading a lesson: what is right is read, and what is wrong is said with its file, line and field."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kplab.course.author import check_lesson
from kplab.course.load import lessons_folder, list_lessons, load_lesson
from kplab.errors import LessonError, UnknownNameError

pytestmark = pytest.mark.unit

Edit = Callable[[str, str], Path]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of lesson 3 with its cluster, free to be spoilt."""
    shutil.copy(lessons_folder() / "cluster.yaml", tmp_path / "cluster.yaml")
    return Path(shutil.copytree(lessons_folder() / "03-packet-path", tmp_path / "03-packet-path"))


@pytest.fixture
def edit(copy: Path) -> Edit:
    """Replace the first occurrence of a text in lesson.toml."""

    def replace(old: str, new: str) -> Path:
        file = copy / "lesson.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        return copy

    return replace


@pytest.mark.parametrize("name", ["lesson-3", "3", "packet-path", "03-packet-path"])
def test_a_lesson_has_several_names(name: str) -> None:
    """Whatever a student types for it."""
    assert load_lesson(name).id == "lesson-3"


def test_a_lesson_may_lie_in_any_folder(copy: Path) -> None:
    """A community's lesson is started by its path."""
    assert load_lesson(str(copy)).folder == copy


def test_an_unknown_name_lists_those_that_are() -> None:
    """The student sees what there is."""
    with pytest.raises(UnknownNameError, match=r"lesson-3 \(packet-path\)"):
        load_lesson("lesson-99")


def test_lessons_are_listed() -> None:
    """Number, title and length, without reading the prose."""
    info = next(info for info in list_lessons() if info.number == 3)
    assert (info.slug, info.title) == ("packet-path", "The packet path under iptables")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'kind = "predict"',
            'kind = "guess"',
            r"lesson.toml, line \d+: step 'address', kind: Invalid enum value 'guess'",
        ),
        ('task = "Answer', 'tusk = "Answer', r"step 'address', itself: .*`task|unknown field `tusk`"),
        ("minutes = 35", 'minutes = "long"', r"minutes: Expected `int`, got `str`"),
        ("format_version = 1", "format_version = 9", r"format_version: is 9; this kplab reads 1"),
        ("[[preset]]", "[[preset", r"is not TOML"),
        ('node = "node-b"', 'knot = "node-b"', r"line \d+: step 'address': choice 'other-node': knot is not a field"),
        ('"*pod"', '"*pud"', r"step 'address': choice 'prerouting': 'pud' is compared with, but no hop"),
        ('id = "prerouting"', 'id = "proxy"', r"step 'address': the choices' ids must differ"),
        ('alias = "endpoint"', 'alias = "pod"', r"step 'all-three': gather: no hop stores 'pod'"),
        (
            'start = "start/repair.sh"',
            'start = "start/none.sh"',
            r"step 'repair': the script start/none.sh cannot be read",
        ),
        ("times = 30", "", r"step 'repair': a check of kind connections needs times"),
        ('manifest = "../cluster.yaml"', 'manifest = "none.yaml"', r"manifest: none.yaml cannot be read"),
        ('id = "walk"', 'id = "work"', r"step 'work': steps/02-work.md cannot be read"),
        ("[step.gather]", "[step.gatherer]", r"step 'all-three', .*unknown field `gatherer`"),
    ],
)
def test_an_authors_mistake_is_said_with_its_place(edit: Edit, old: str, new: str, said: str) -> None:
    """File, line of the step where there is one, field, and what was expected."""
    folder = edit(old, new)
    with pytest.raises(LessonError, match=said):
        load_lesson(str(folder))


def test_prose_needs_its_title(copy: Path) -> None:
    """A step's file begins with # TITLE."""
    (copy / "steps" / "01-address.md").write_text("no title\n")
    with pytest.raises(LessonError, match="expected the step's title"):
        load_lesson(str(copy))


def test_the_lesson_that_is_shipped_keeps_every_rule() -> None:
    """What can be proved without a lab: prose, hints, presets, answers, scripts, no stray files."""
    report = check_lesson("lesson-3")
    assert report.passed, "\n".join(report.lines)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('sender = "outside"', 'sender = "inside"', "the sender 'inside' is not in the lab"),
        ("/UDP(dport=53)", "/UPD(dport=53)", "preset 'DNS over UDP to kube-dns': "),
        ('senders = ["client"]', 'senders = ["nobody"]', "[step.about] sender 'nobody' is not in the lab"),
    ],
)
def test_the_authors_check_finds_what_loading_cannot(edit: Edit, old: str, new: str, said: str) -> None:
    """Senders that do not exist, expressions that do not parse."""
    report = check_lesson(str(edit(old, new)))
    assert any(said in str(finding) and not finding.passed for finding in report.findings), report.lines


def test_a_stray_file_and_a_missing_answer_are_found(copy: Path) -> None:
    """What is left over from an edit does not stay unseen."""
    (copy / "start" / "old.sh").write_text("true\n")
    answers = copy / "solution" / "answers.toml"
    answers.write_text(answers.read_text().replace('walk = "linear"', 'walk = "magic"').replace('dnat = "routed"', ""))
    report = check_lesson(str(copy))
    failed = [str(finding) for finding in report.findings if not finding.passed]
    assert failed == [
        "FAILED every file is used: start/old.sh is used by nothing",
        "FAILED each question has the author's answer: no answer for dnat in solution/answers.toml; "
        "'magic' is no choice of walk",
    ]
    assert not report.passed
