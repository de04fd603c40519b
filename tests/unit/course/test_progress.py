"""The progress file: whole or not at all, and nobody's progress is lost without a word."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from kplab.course.progress import ProgressStore, StepProgress, state_folder

pytestmark = pytest.mark.unit

PASSED = StepProgress(passed=True, prediction="linear", hints_shown=1, attempts=2, changed_at=1000.0)


def _record_many(folder: str, name: str) -> None:
    store = ProgressStore(Path(folder))
    for n in range(15):
        store.record("lesson-3", f"{name}-{n}", PASSED)


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    """Another store on the same folder finds the step and the place."""
    store = ProgressStore(tmp_path / "kplab")
    store.record("lesson-3", "walk", PASSED)
    store.place("lesson-3", "one-in-three")

    kept = ProgressStore(tmp_path / "kplab").read("lesson-3")

    assert kept.step == "one-in-three"
    assert kept.steps == {"walk": PASSED}
    assert store.notice is None


def test_two_processes_do_not_undo_each_others(tmp_path: Path) -> None:
    """Each change is made on the newest contents, so both processes' steps are all there."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_record_many, [str(tmp_path)] * 2, ["one", "two"]))

    kept = ProgressStore(tmp_path).read("lesson-3").steps

    assert set(kept) == {f"{name}-{n}" for name in ("one", "two") for n in range(15)}


@pytest.mark.parametrize("contents", [b"", b"{", b'{"version": 1, "lessons": {"lesson-3": 7}}', b"\xff\xfe"])
def test_a_corrupt_file_is_kept_aside_and_said(tmp_path: Path, contents: bytes) -> None:
    """The student starts anew, is told so, and the old bytes are still there."""
    (tmp_path / "progress.json").write_bytes(contents)
    store = ProgressStore(tmp_path)

    assert store.read("lesson-3").steps == {}
    assert "progress.corrupt-1.json" in (store.notice or "")
    assert (tmp_path / "progress.corrupt-1.json").read_bytes() == contents
    store.record("lesson-3", "walk", PASSED)
    assert store.read("lesson-3").steps == {"walk": PASSED}


def test_a_second_corrupt_file_does_not_replace_the_first(tmp_path: Path) -> None:
    """Every file that was put aside keeps its own name."""
    for contents in (b"first", b"second"):
        (tmp_path / "progress.json").write_bytes(contents)
        ProgressStore(tmp_path).read("lesson-3")
    assert (tmp_path / "progress.corrupt-1.json").read_bytes() == b"first"
    assert (tmp_path / "progress.corrupt-2.json").read_bytes() == b"second"


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    """A file of a later format is not understood, so it is not touched."""
    newer = b'{"version": 2, "lessons": {}}'
    (tmp_path / "progress.json").write_bytes(newer)
    store = ProgressStore(tmp_path)
    store.record("lesson-3", "walk", PASSED)
    assert (tmp_path / "progress.json").read_bytes() == newer
    assert "newer kplab" in (store.notice or "")


def test_a_folder_that_cannot_be_made_stops_nothing(tmp_path: Path) -> None:
    """Without a place to write, the lesson goes on and the student is told."""
    (tmp_path / "file").write_text("in the way")
    store = ProgressStore(tmp_path / "file" / "kplab")
    store.record("lesson-3", "walk", PASSED)
    assert "progress" in (store.notice or "")


def test_reset_forgets_one_lesson(tmp_path: Path) -> None:
    """Other lessons keep theirs."""
    store = ProgressStore(tmp_path)
    store.record("lesson-3", "walk", PASSED)
    store.record("lesson-7", "hash", PASSED)
    store.reset("lesson-3")
    assert store.read("lesson-3").steps == {}
    assert store.read("lesson-7").steps == {"hash": PASSED}


def test_nothing_but_the_file_and_its_lock_is_left(tmp_path: Path) -> None:
    """The file written aside has taken the old one's place."""
    ProgressStore(tmp_path).record("lesson-3", "walk", PASSED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["progress.json", "progress.json.lock"]


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/ana"}, "/state/kplab"),
        ({"HOME": "/home/ana"}, "/home/ana/.local/state/kplab"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/ana"}, "/home/ana/.local/state/kplab"),
    ],
)
def test_the_state_folder(environment: dict[str, str], folder: str) -> None:
    """As the XDG base directory specification says: a relative path is not one."""
    assert state_folder(environment) == Path(folder)
