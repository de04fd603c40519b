"""A lab as a notebook has it, in this process; and real kernels of notebooks, each with a lab of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager, start_new_kernel

import kplab
from kplab.jupyter.lab import Lab
from kplab.session.sandbox.check import can_run
from tests.kernel.jupyter.cells import Notebook


@pytest.fixture(scope="session", autouse=True)
def possible() -> None:
    """Skip where no lab can be started, and say what is lacking."""
    lacking = can_run()
    if lacking:
        pytest.skip(f"no lab can be started here: {lacking.reason}; {lacking.mend}")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One lab for the tests of a module that leave it as it was."""
    with kplab.Lab() as made:
        yield made


@pytest.fixture
def notebook(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Notebook]]:
    """Return what starts a notebook's kernel; all end with the test."""
    monkeypatch.setenv("IPYTHONDIR", str(own_state / "ipython"))
    started: list[tuple[KernelManager, Notebook]] = []

    def start() -> Notebook:
        manager, client = start_new_kernel(kernel_name="python3")
        made = Notebook(manager, client)
        started.append((manager, made))
        return made

    yield start
    for manager, made in started:
        made.hang_up()
        manager.shutdown_kernel(now=True)
