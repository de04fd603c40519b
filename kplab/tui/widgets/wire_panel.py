"""The wire: every crossing of a link."""

from __future__ import annotations

from typing import ClassVar

from kplab.model.journey import Journey
from kplab.trace.recording import Recording
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span
from kplab.tui.paint.wire import paint_wire, wire_rows
from kplab.tui.widgets.painted import PaintedScroll


class WirePanel(PaintedScroll):
    """What was on each link, in order."""

    help: ClassVar[Help] = Help(
        "Wire",
        "Every crossing of a link in order, as tcpdump would print it: read from the frame's bytes, captured at the "
        "link's end. "
        "Compare the addresses before and after a node: that is all a Service is.\n\n`▶` is the crossing that was "
        "last.",
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._journey: Journey | None = None
        self._rows: tuple[tuple[int, str], ...] = ()
        self._hop = -1

    def show_journey(self, journey: Journey, recording: Recording | None) -> None:
        """Show another journey's crossings."""
        self._journey, self._rows, self._hop = journey, wire_rows(journey, recording), -1
        self.set_count(len(self._rows))

    def show_hop(self, hop: int) -> None:
        """Mark the last crossing up to a hop (0-based)."""
        if hop == self._hop:
            return
        before, self._hop = self._last(), hop
        if self._last() != before:
            self.scroll_to(y=max(self._last() - self.size.height + 2, 0), animate=False)
            self.refresh()

    def _last(self) -> int:
        return max((i for i, (hop, _) in enumerate(self._rows) if hop <= self._hop), default=-1)

    def row(self, index: int, width: int) -> Line:
        """Paint one crossing."""
        if self._journey is None or index >= len(self._rows):
            return (Span(""),)
        hop, text = self._rows[index]
        now = index == self._last()
        return paint_wire(text, self._journey.hops[hop].direction, width, now=now, past=hop <= self._hop)
