"""An executed notebook as a page of HTML: every journey is a still picture there, without a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from kplab.jupyter.still_output import still_output
from tests.browser.conftest import Outgoing
from tests.browser.widget_page import RECORDINGS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

NAMES = ("lab-nft-other-node", "lab-nft-curl", "lab-ipvs-syn")
CELL = """from pathlib import Path
from kplab.jupyter.shown import JourneyView
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
recording = read_trace(Path({path!r}))
JourneyView(tell(recording), recording)"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook of three journeys, executed, and converted with nbconvert's own template."""
    folder = tmp_path_factory.mktemp("converted")
    sources = [CELL.format(path=str(RECORDINGS / f"{name}.kptrace")) for name in NAMES]
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": name, "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        for name, source in zip(NAMES, sources, strict=True)
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "told.ipynb").write_text(json.dumps(notebook))
    environment = {**os.environ, "HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}
    argv = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "told.ipynb"]
    subprocess.run(argv, cwd=folder, env=environment, check=True, capture_output=True)
    return folder / "told.html"


def test_every_journey_is_a_picture_without_javascript(chromium: Browser, converted: Path, outgoing: Outgoing) -> None:
    """Each is seen, at its full size, and nothing is asked of another machine."""
    context = chromium.new_context(java_script_enabled=False)
    outgoing.watch(context)
    page = context.new_page()
    page.set_content(converted.read_text(), wait_until="load")

    pictures = page.locator("img.kplab-still")

    expect(pictures).to_have_count(len(NAMES))
    for picture in pictures.all():
        expect(picture).to_be_visible()
        box = picture.bounding_box()
        assert box is not None
        assert box["width"] > 600
        assert box["height"] > 400
    assert outgoing.urls == []
    context.close()


@pytest.mark.parametrize(
    ("output", "model"), [("jp-OutputArea-child", True), ("jp-OutputArea-child", False), ("output_container", True)]
)
def test_one_of_picture_and_widget_is_shown(context: BrowserContext, output: str, model: bool) -> None:
    """The widget where it lives, else the picture and no word of a missing model: JupyterLab's page, and VS Code's."""
    page = context.new_page()
    bundle = still_output('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "told", "text")
    view = '<div class="kplab-journey">played</div>' if model else "Error displaying widget: model not found"
    page.set_content(
        f'<div class="{output}">{bundle["text/html"]}</div>'
        f'<div class="{output}"><div class="jupyter-widgets">{view}</div></div><div class="{output}">after</div>'
    )

    expect(page.locator(".kplab-still")).to_be_visible(visible=not model)
    expect(page.get_by_text("played" if model else "model not found")).to_be_visible(visible=model)
    expect(page.get_by_text("after")).to_be_visible()
