"""A page with one journey's widget and nothing else: what a front-end does, without the front-end."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import BrowserContext, Page

from kplab.jupyter.fold import FoldPages
from kplab.jupyter.state import StatePacker
from kplab.jupyter.widget import looks, script
from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.timeline import Timeline
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"

_PAGE = """<!doctype html><html><head><meta charset="utf-8"><style>{looks}</style></head>
<body data-jp-theme-light="{light}" style="margin:12px;background:{behind}"><div id="host"></div></body></html>"""
_START = """async ([source, story]) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  window.kplab = await import(url);
  const handlers = [];
  const answer = (message) => handlers.forEach((handler) => handler(message));
  const model = {
    get: () => story, on: (_, handler) => handlers.push(handler), off: () => {},
    send: (message) => window.ask(message).then((told) => told && answer(told)),
  };
  const begun = performance.now();
  window.kplab.default.render({ model, el: document.getElementById("host") });
  document.getElementById("host").getBoundingClientRect();
  window.drawnIn = performance.now() - begun;
}"""


def recorded(name: str) -> tuple[Journey, Topology]:
    """Return a recording's journey and its lab."""
    recording = read_trace(RECORDINGS / f"{name}.kptrace")
    return tell(recording), recording.topology


def open_widget(context: BrowserContext, timeline: Timeline, *, kernel: bool = True, dark: bool = False) -> Page:
    """Show a journey's widget; without `kernel` nobody answers its questions. `drawnIn` (ms) says how long it took."""
    packed = StatePacker(timeline)
    pages = FoldPages(packed.folds)
    page = context.new_page()
    page.expose_function("ask", lambda message: pages.answer(message) if kernel else None)
    light, behind = ("false", "#111111") if dark else ("true", "#ffffff")
    page.set_content(_PAGE.format(looks=looks(), light=light, behind=behind))
    page.evaluate(_START, [script(), packed.encode()])
    page.locator(".kplab-journey").focus()
    return page
