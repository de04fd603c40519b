"""A lab in a notebook's kernel: it ends with that, however that ends, and outlives an interruption."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.jupyter.cells import LIMIT, Notebook
from tests.kernel.lab.conftest import Remains, children, remains

pytestmark = pytest.mark.kernel

BUILD = "import kplab; lab = kplab.Lab(); print(lab._session.agent_process)"
BLACK_HOLE = """
lab.run("node-a", "iptables -t raw -A PREROUTING -d 10.96.0.42 -j DROP")
print("asking", flush=True)
lab.request("http://10.96.0.42")
print("answered")
"""
Start = Callable[[], Notebook]


def built(notebook: Notebook) -> Remains:
    """Build a lab in a notebook; return what must be gone when it has ended."""
    return remains(int(notebook.run(BUILD).split()[-1]))


def wait_for_curl(kernel: int) -> None:
    """Wait until the lab of this kernel has started its client: then the question is being answered."""
    until = time.monotonic() + LIMIT
    while "curl" not in map(name_of, children(kernel)):
        assert time.monotonic() < until, "the lab has not started curl"
        time.sleep(0.01)


def name_of(process: int) -> str:
    """Return a process's program, "" when it has gone."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_killed_kernel_leaves_nothing(notebook: Start) -> None:
    """SIGKILL: no code of ours runs, the channel closes, and the lab goes."""
    book = notebook()
    lab = built(book)
    pid = int(book.run("import os; print(os.getpid())"))
    assert lab.left()
    os.kill(pid, signal.SIGKILL)

    assert lab.gone(), lab.left()


def test_a_kernel_killed_in_mid_trace_leaves_nothing(notebook: Start) -> None:
    """The same while the lab waits for packets."""
    book = notebook()
    lab = built(book)
    pid = int(book.run("import os; print(os.getpid())"))
    book.wait(book.begin(BLACK_HOLE), until="asking")
    os.kill(pid, signal.SIGKILL)

    assert lab.gone(), lab.left()


def test_restarted_and_shut_down_kernels_leave_nothing(notebook: Start) -> None:
    """The menu's Restart and Shut Down."""
    book = notebook()
    lab = built(book)
    book.manager.restart_kernel(now=False)

    assert lab.gone(), lab.left()


def test_a_lab_that_nobody_refers_to_is_ended(notebook: Start) -> None:
    """Running the cell that builds the lab again does not gather labs."""
    book = notebook()
    lab = built(book)
    other = built(book)

    assert lab.gone(), lab.left()
    assert other.left()


def test_an_interrupted_trace_leaves_the_lab_usable(notebook: Start) -> None:
    """A few lines in place of a traceback; the next question is answered as if nothing had been asked."""
    book = notebook()
    built(book)
    kernel = int(book.run("import os; print(os.getpid())"))
    cell = book.begin(BLACK_HOLE)
    wait_for_curl(kernel)
    book.interrupt()
    said = book.wait(cell)

    assert "the lab still stands" in said
    assert "Traceback" not in said
    assert "answered" not in said
    again = 'lab.run("node-a", "iptables -t raw -F"); print(lab.request("http://10.96.0.42").outcome)'
    assert "status 0" in book.run(again)


def test_a_lab_that_is_interrupted_while_it_is_built_is_gone(notebook: Start) -> None:
    """The bar becomes a line that says so, no process is left, and the next lab is built as the first."""
    book = notebook()
    pid = int(book.run("import kplab, os; print(os.getpid())"))
    before = children(pid)
    cell = book.begin("lab = kplab.Lab()")
    book.wait(cell, until="building a lab: ")
    book.interrupt()
    said = book.wait(cell)

    assert "Interrupted: the lab was not built, and nothing of it is left" in said
    assert "lab ready" not in said
    assert children(pid) == before
    assert "status 0" in book.run("print(kplab.Lab().request('http://10.96.0.42').outcome)")


def test_an_error_in_a_notebook_is_a_few_lines(notebook: Start) -> None:
    """What was tried, what happened, what to do; no frames of ours."""
    book = notebook()
    said = book.run('import kplab; kplab.Lab(mode="ipfables")')

    assert "ipfables" in said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 3


def test_two_notebooks_do_not_meet(notebook: Start) -> None:
    """Rules that one changes are not the other's, and one's end is not the other's."""
    one, other = notebook(), notebook()
    first, second = built(one), built(other)
    one.run('lab.run("node-a", "iptables -t nat -F")')
    assert "status 0" not in one.run('print(lab.request("http://10.96.0.42").outcome)')
    assert "status 0" in other.run('print(lab.request("http://10.96.0.42").outcome)')
    one.run("lab.close()")

    assert first.gone(), first.left()
    assert second.left()
    assert "status 0" in other.run('print(lab.request("http://10.96.0.42").outcome)')
