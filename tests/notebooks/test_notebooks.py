"""The notebooks, on real labs: as they are stored, and as a student who knows the answers works through them.

A cell's metadata hold what the author would do there: `kplab.answer` behind a question, `kplab.solution` in place of an
exercise's dots.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient.client import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from kplab.session.sandbox.check import can_run
from kplab.session.sandbox.guest_kernel import cache_folder

pytestmark = [pytest.mark.notebooks, pytest.mark.timeout(900)]

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.ipynb"))]
CELL_LIMIT = 600
"""Seconds that one cell may take: a comparison boots a guest, perhaps without KVM."""
UNPACKED = cache_folder(os.environ)
"""Where `scripts/setup dev` unpacks a guest's kernel."""


def read(name: str) -> NotebookNode:
    """A notebook as it is stored."""
    book: NotebookNode = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    return book


def code_of(book: NotebookNode) -> list[NotebookNode]:
    """Its cells of code."""
    return [cell for cell in book.cells if cell.cell_type == "code"]


def said(book: NotebookNode) -> Iterator[str]:
    """Every output's text, in order."""
    for cell in code_of(book):
        for output in cell.outputs:
            yield str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))


@pytest.fixture
def possible(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where no lab can be started; keep the developer's own IPython out, and let a guest find its kernel."""
    lacking = can_run()
    if lacking:
        pytest.skip(f"no lab can be started here: {lacking.reason}; {lacking.mend}")
    monkeypatch.setenv("IPYTHONDIR", str(own_state / "ipython"))
    if (UNPACKED / "boot").exists():
        monkeypatch.setenv("KPLAB_GUEST", str(UNPACKED))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_without_output(name: str) -> None:
    """No output, no count of runs, nothing of the author's machine; valid by nbformat's own schema."""
    book = read(name)

    nbformat.validate(book)
    assert not [cell for cell in code_of(book) if cell.outputs or cell.execution_count is not None]
    assert book.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("name", NAMES)
def test_every_question_has_its_answer_and_every_exercise_its_solution(name: str) -> None:
    """Both stay out of the reader's sight, in the cells' metadata."""
    for cell in code_of(read(name)):
        told = cell.metadata.get("kplab", {})
        assert ("answer" in told) == cell.source.startswith("lab.predict("), cell.source
        assert ("solution" in told) == (" = ...  #" in cell.source or cell.source.endswith(" = ...")), cell.source


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("possible")
def test_a_notebook_runs_from_top_to_bottom_as_it_is(name: str, tmp_path: Path) -> None:
    """By nbmake: no cell fails though no question is answered, and no verdict is given that was not asked for.

    The comparison has every mode, IPVS from the guest, each complete.
    """
    copy = Path(shutil.copy(FOLDER / f"{name}.ipynb", tmp_path))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    nbmake = ("--nbmake", "--overwrite", f"--nbmake-timeout={CELL_LIMIT}")
    argv = [sys.executable, "-m", "pytest", "-q", "-c", str(tmp_path / "pytest.ini"), *nbmake, str(copy)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]

    printed = list(said(nbformat.read(copy, as_version=4)))  # type: ignore[no-untyped-call]
    assert not [text for text in printed if text.startswith("✓")]
    if name == "04-five-modes":
        assert "compared: iptables-nft, nftables, ipvs, userspace, ebpf" in printed
        assert not [text for text in printed if "left out" in text]


GRADE_ALL = """
from kplab.course.grading import grade_prediction

asked = lab.prediction
print("right:", *[c.id for c in asked.choices if grade_prediction(asked._step, c.id, j.journey).passed])
"""
"""Grades every choice of the last question by the journey that answered it."""


def worked_through(book: NotebookNode) -> tuple[list[NotebookNode], list[str]]:
    """Return a notebook's cells with every exercise solved and every question answered, and the answers in order."""
    cells: list[NotebookNode] = []
    answers: list[str] = []
    waiting = False
    for cell in book.cells:
        told = cell.metadata.get("kplab", {})
        # The guest is in the other test; here it would only take its time again.
        cell.source = told.get("solution", cell.source).replace('"nftables", "ipvs", ', '"nftables", ')
        cells.append(cell)
        if "answer" in told:
            answers.append(told["answer"])
            cells.append(new_code_cell(f"lab.answer({told['answer']!r})"))  # type: ignore[no-untyped-call]
            waiting = True
        elif waiting and cell.cell_type == "code":
            cells.append(new_code_cell(GRADE_ALL))  # type: ignore[no-untyped-call]
            waiting = False
    return cells, answers


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("possible")
def test_who_knows_the_answers_is_told_so_by_the_kernel(name: str) -> None:
    """Of each question's choices the author's is right and no other; every exercise's solution passes."""
    book = read(name)
    checks = sum(cell.source.count("lab.check(") for cell in code_of(book))
    book.cells, answers = worked_through(book)
    NotebookClient(book, timeout=CELL_LIMIT).execute()

    printed = list(said(book))
    assert not [text for text in printed if text.startswith("✗")]
    assert len([text for text in printed if text.startswith("✓")]) == checks + len(answers)
    assert [text.strip() for text in printed if text.startswith("right:")] == [f"right: {each}" for each in answers]
