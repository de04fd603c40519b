"""Lookups: what a map, a set or IPVS was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kplab.scene.frame import Frame
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line
from kplab.tui.paint.lookup import paint_asked
from kplab.tui.widgets.panels import FramePanel


class LookupPanel(FramePanel):
    """The latest question, and its answer."""

    help: ClassVar[Help] = Help(
        "Lookup",
        "Where rules are tried one after the other, ten thousand Services are ten thousand tries. A map is asked once: "
        "the *key* is put together out of the packet's fields, and the *element* that has this key is the answer, "
        "however many there are.\n\nFor IPVS: the virtual server that was hit, its scheduler, and the real servers it "
        "could choose among, with their connections before `⇒` and after. `✓` is the one that was chosen.",
    )

    def watched(self, frame: Frame) -> object:
        """The latest question."""
        return frame.asked

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint it."""
        return paint_asked(self._frame.asked, width)
