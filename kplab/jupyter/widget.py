"""The journey's widget: an anywidget that holds the whole story, so that playing it asks the kernel nothing.

Its script and its looks are files of this package, put into the widget's state; a front-end fetches nothing.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import anywidget
import traitlets
from IPython.display import display

from kplab.jupyter.fold import FoldPages
from kplab.jupyter.state import StatePacker
from kplab.jupyter.still import still_svg
from kplab.jupyter.still_output import still_output
from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.timeline import Timeline

SCRIPTS = ("frames.js", "map.js", "panels.js", "widget.js")
"""Put together in this order they are one module: a widget's script cannot import a file beside it."""

VIEW = "application/vnd.jupyter.widget-view+json"


@cache
def script() -> str:
    """Return the widget's module."""
    folder = files("kplab.jupyter") / "static"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)


@cache
def looks() -> str:
    """Return the widget's style sheet."""
    return (files("kplab.jupyter") / "static" / "widget.css").read_text(encoding="utf-8")


class JourneyWidget(anywidget.AnyWidget):
    """A journey to play, and to step through forward and back."""

    _esm = traitlets.Unicode("").tag(sync=True)
    _css = traitlets.Unicode("").tag(sync=True)
    story = traitlets.Unicode("").tag(sync=True)
    """The document of `kplab.jupyter.state`, as JSON."""

    def __init__(self, packed: StatePacker, still: str) -> None:
        """Show a journey's packed frames; `still` is its picture, for where no widget runs."""
        super().__init__(_esm=script(), _css=looks(), story=packed.encode())
        self._still = still
        self._pages = FoldPages(packed.folds)
        self.on_msg(self._asked)

    def _asked(self, widget: object, content: object, buffers: object) -> None:
        answer = self._pages.answer(content)
        if answer is not None:
            self.send(answer)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the widget's view with the still picture beside it, for a front-end that has no widgets."""
        found = super()._repr_mimebundle_(**kwargs)
        return ({**found[0], "image/svg+xml": self._still}, found[1]) if found is not None else None


def journey_widget(journey: Journey, topology: Topology, still: str) -> anywidget.AnyWidget:
    """Return a journey's widget; `still` is its picture (`still_svg`), shown where no widget runs."""
    return JourneyWidget(StatePacker(Timeline(journey, topology)), still)


def show_journey(journey: Journey, topology: Topology, text: str) -> None:
    """Show a journey in the cell that runs: its still picture, and the widget in its place where widgets run.

    `text` is the story as lines, for a front-end that shows neither.
    """
    still = still_svg(journey, topology)
    told = f"The journey of {journey.packet} from {journey.sender}: {journey.outcome}"
    display(still_output(still, told, text), raw=True)  # type: ignore[no-untyped-call]
    view = journey_widget(journey, topology, still)._repr_mimebundle_()
    if view is not None:
        # Without text of its own: where there are no widgets, this output is to leave no trace.
        display({VIEW: view[0][VIEW], "text/plain": ""}, raw=True, metadata=view[1])  # type: ignore[no-untyped-call]
