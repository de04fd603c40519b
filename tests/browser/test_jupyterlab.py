"""JupyterLab in a real browser: the first notebook on a real lab, its journey played by keys, kept, and opened again.

With KPLAB_PICTURES=docs/pictures in the environment the pictures of the documents are made by the way.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Outgoing
from tests.browser.jupyter_server import end_kernels, jupyter_lab, wait_for_kernel

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01-the-packet-path.ipynb"
DONE_MS = 240_000
"""How long the notebook may take: it builds a lab, and sends some thirty packets."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a copy of the notebook."""
    made = tmp_path / "notebooks"
    made.mkdir()
    shutil.copy(NOTEBOOK, made / "01.ipynb")
    return made


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[str]:
    """JupyterLab's address."""
    state = tmp_path / "state"
    for name in ("config", "data", "runtime"):
        (state / name).mkdir(parents=True)
    with jupyter_lab(folder, state) as address:
        yield address


def open_notebook(context: BrowserContext, server: str, name: str) -> Page:
    """Open a notebook, alone."""
    page = context.new_page()
    page.goto(f"{server}lab/tree/{name}?reset")  # without the tabs of before
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    return page


def run_all(page: Page, server: str) -> None:
    """Run every cell, as the menu does."""
    wait_for_kernel(server, lambda: page.wait_for_timeout(100))
    page.locator(".jp-Notebook").focus()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def saved(path: Path) -> list[dict[str, Any]]:
    """Return the outputs that a notebook file holds."""
    cells = json.loads(path.read_text())["cells"]
    return [output for cell in cells for output in cell.get("outputs", ())]


def test_the_first_notebook_s_journey_is_played_by_keys_and_kept(
    context: BrowserContext, server: str, folder: Path, outgoing: Outgoing
) -> None:
    """Run on a real lab, stepped through to the DNAT; nothing is fetched; without its kernel the picture is shown."""
    page = open_notebook(context, server, "01.ipynb")
    run_all(page, server)
    journey = page.locator(".kplab-journey").first
    journey.wait_for(timeout=DONE_MS)
    expect(page.locator(".kplab-still").first).to_be_hidden()

    expect(page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0, timeout=DONE_MS)
    _step_to_the_dnat(page, journey)
    _keep_picture(page, journey)
    page.keyboard.press("Control+s")
    expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)
    page.close()
    end_kernels(server)

    outputs = saved(folder / "01.ipynb")
    assert not [output for output in outputs if output["output_type"] == "error"]
    stills = [
        output["data"]["image/svg+xml"]
        for output in outputs
        if "text/html" in output.get("data", ()) and "kplab-still" in "".join(output["data"]["text/html"])
    ]
    assert stills
    _keep_still("".join(stills[0]))
    _shows_the_picture(open_notebook(context, server, "01.ipynb"), server)
    _send_to_somebody(folder)
    _shows_the_picture(open_notebook(context, server, "theirs.ipynb"), server)
    assert outgoing.urls == []


def _step_to_the_dnat(page: Page, journey: Any) -> None:
    """Each key changes what is shown: the hop, the sentence, the packet's place, at last its destination."""
    journey.scroll_into_view_if_needed()
    journey.focus()
    hop, why, changed = (journey.locator(name) for name in (".kplab-hop", ".kplab-why", ".kplab-field.kplab-changed"))
    told = []
    for _ in range(20):
        before = (hop.inner_text(), journey.get_attribute("data-t"))
        page.keyboard.press("ArrowRight")
        assert (hop.inner_text(), journey.get_attribute("data-t")) != before
        told.append(why.inner_text())
        if changed.count():
            break
    assert "10.96.0.42:80" in changed.inner_text()
    assert any("KUBE-SERVICES" in text for text in told)
    lit = journey.locator(".kplab-box.kplab-here")
    assert lit.locator(".kplab-name").text_content() == "node-a"
    assert lit.locator(".kplab-hook.kplab-here").text_content() == "●PREROUTING"
    at_dnat = why.inner_text()
    page.keyboard.press("ArrowLeft")
    assert why.inner_text() == told[-2]
    page.keyboard.press("ArrowRight")
    assert why.inner_text() == at_dnat
    assert page.locator(".jp-Cell.jp-mod-active .kplab-journey").count() == 1


def _keep_picture(page: Page, journey: Any) -> None:
    """Keep the documents' picture of the notebook, where they are being made."""
    target = os.environ.get("KPLAB_PICTURES")
    if target:
        page.keyboard.press("Control+b")  # without the list of files
        journey.evaluate("element => element.scrollIntoView({ block: 'end' })")
        page.wait_for_timeout(500)
        page.screenshot(path=Path(target) / "notebook.png")


def _keep_still(svg: str) -> None:
    """Keep the documents' still picture, as it stands in the notebook."""
    target = os.environ.get("KPLAB_PICTURES")
    if target:
        (Path(target) / "notebook-still.svg").write_text(svg)


def _shows_the_picture(page: Page, server: str) -> None:
    """The still picture stands where the widget was, beside a fresh kernel, and no word of a model that is missing."""
    wait_for_kernel(server, lambda: page.wait_for_timeout(100))
    picture = page.locator("img.kplab-still").first
    picture.evaluate("image => image.scrollIntoView()")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 900
    for widget in page.locator(".jp-OutputArea-output.jupyter-widgets").all():
        expect(widget).to_be_hidden()
    page.close()
    end_kernels(server)


def _send_to_somebody(folder: Path) -> None:
    """Make a notebook that this JupyterLab has not run: it trusts no script and no SVG in it."""
    notebook = json.loads((folder / "01.ipynb").read_text())
    notebook["cells"][0]["source"] = "# From somebody else"
    (folder / "theirs.ipynb").write_text(json.dumps(notebook))
