"""A question in a real JupyterLab: a click answers it, and the next packet says who was right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import BrowserContext, expect

from tests.browser.jupyter_server import end_kernels, jupyter_lab, wait_for_kernel

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ASK = """
lab.predict("Where?", {
    "after routing": [{"kind": "DNAT", "hook": "POSTROUTING"}],
    "before routing": [{"kind": "DNAT", "hook": "PREROUTING"}],
})
"""
CELLS = ["import kplab; lab = kplab.Lab()", ASK, "j = lab.send('IP(dst=\"10.96.0.42\")/TCP(dport=80)')", "lab.close()"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """JupyterLab on a folder with one notebook, that asks one question."""
    folder, state = tmp_path / "notebooks", tmp_path / "state"
    for made in (folder, *(state / name for name in ("config", "data", "runtime"))):
        made.mkdir(parents=True)
    cells = [new_code_cell(source) for source in CELLS]  # type: ignore[no-untyped-call]
    book = new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (folder / "ask.ipynb").write_text(json.dumps(book), encoding="utf-8")
    nbformat.validate(book)
    with jupyter_lab(folder, state) as address:
        yield address


def test_a_click_is_the_answer(context: BrowserContext, server: str) -> None:
    """The letters are buttons; the one that was clicked is graded by the kernel in the next cell.

    The click made the question's cell the current one, so it is run again before the next: it keeps its answer.
    """
    page = context.new_page()
    page.goto(f"{server}lab/tree/ask.ipynb")
    page.locator(".jp-Notebook .jp-Cell").first.click()
    wait_for_kernel(server, lambda: page.wait_for_timeout(100))
    for _ in range(2):
        page.keyboard.press("Shift+Enter")
    page.get_by_role("button", name="b", exact=True).click()
    for _ in range(3):
        page.keyboard.press("Shift+Enter")

    expect(page.get_by_text("✓ You said: before routing")).to_be_visible()
    end_kernels(server)
