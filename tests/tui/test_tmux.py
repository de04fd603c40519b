"""Lesson 3 in a real terminal, tmux: a scripted student answers, sends, sees the verdict, and leaves."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kplab.course.load import load_lesson, solution_answers

pytestmark = [pytest.mark.tui, pytest.mark.timeout(120)]

LIMIT = 40.0
KPLAB = Path(sys.executable).with_name("kplab")
ENDED = "ended with status"


class Tmux:
    """A server of its own, on a private socket."""

    def __init__(self, socket: Path) -> None:
        self._argv = ["tmux", "-f", "/dev/null", "-S", str(socket)]

    def run(self, *arguments: str) -> str:
        """Run a tmux command and return what it prints."""
        done = subprocess.run([*self._argv, *arguments], capture_output=True, text=True, timeout=LIMIT, check=False)
        return done.stdout

    def screen(self) -> str:
        """Return what the terminal shows."""
        return self.run("capture-pane", "-p", "-t", "kplab")

    def press(self, *keys: str) -> None:
        """Press keys."""
        self.run("send-keys", "-t", "kplab", *keys)

    def until(self, holds: Callable[[str], bool], what: str) -> str:
        """Look until the screen is as it should be, and return it."""
        end = time.monotonic() + LIMIT
        while True:
            shown = self.screen()
            if holds(shown):
                return shown
            assert time.monotonic() < end, f"waited {LIMIT:g} s for {what}:\n{shown}"


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    """Open lesson 3 in tmux, 120x36, its state in a folder of the test's."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed (Debian: apt-get install tmux)")
    server = Tmux(tmp_path / "socket")
    command = f"env -u COLUMNS -u LINES XDG_STATE_HOME={tmp_path} {KPLAB} start lesson-3; echo {ENDED} $?; cat"
    server.run("new-session", "-d", "-s", "kplab", "-x", "120", "-y", "36", command)
    try:
        yield server
    finally:
        server.run("kill-server")


def below(root: int) -> set[int]:
    """Return the processes below one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended meanwhile
                continue
    found, fresh = set[int](), {root}
    while fresh:
        found |= fresh
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
    return found - {root}


def test_a_student_answers_sends_and_leaves_in_tmux(tmux: Tmux) -> None:
    """By the keys that the screen itself names; the terminal is given back, and the lab is gone."""
    step = load_lesson("lesson-3").steps[0]
    assert step.question is not None
    ids = [choice.id for choice in step.question.choices]
    answer = ids.index(solution_answers(load_lesson("lesson-3"))[step.id]) + 1
    shown = tmux.until(lambda text: "packet>" in text or ENDED in text or "leaves" in text, "the screen")
    if "packet>" not in shown:
        pytest.skip(f"no lab can be started here: {shown.strip()}")
    tmux.until(lambda text: "chooses your answer" in text and "predict first" in text, "the question")

    tmux.press(str(answer))
    tmux.until(lambda text: f"{answer} (•)" in text and "Enter: send" in text, "what to do next")
    tmux.press("Enter")
    tmux.until(lambda text: "playing" in text and "End goes to the verdict" in text, "the packet")
    tmux.press("End")
    shown = tmux.until(lambda text: "✓ passed" in text, "the verdict")
    assert "n goes on to the next step" in shown
    lab = below(int(tmux.run("display-message", "-p", "-t", "kplab", "#{pane_pid}")))
    assert len(lab) > 5

    tmux.press("q")

    shown = tmux.until(lambda text: ENDED in text, "the end")
    assert f"{ENDED} 0" in shown
    assert "packet>" not in shown
    tmux.until(lambda text: not any(Path(f"/proc/{pid}").exists() for pid in lab), "the lab's processes to go")
