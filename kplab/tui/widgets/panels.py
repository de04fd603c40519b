"""The panels that show one part of a frame each: map, headers, story, conntrack, banners, timeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kplab.scene.frame import Frame
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span, line, spread, wrap
from kplab.tui.paint.map import paint_map
from kplab.tui.paint.story import paint_banners, paint_entries, paint_headers, paint_telling, paint_where
from kplab.tui.paint.timeline import paint_timeline
from kplab.tui.widgets.painted import Painted


class FramePanel(Painted):
    """A panel that shows a part of the frame; `watched` says which, so that other changes cost nothing."""

    def __init__(self, frame: Frame, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._frame = frame

    def watched(self, frame: Frame) -> object:
        """Return the part of a frame that this panel shows."""
        raise NotImplementedError

    def show(self, frame: Frame) -> None:
        """Show another frame."""
        before, self._frame = self._frame, frame
        old, new = self.watched(before), self.watched(frame)
        if old is not new and old != new:
            self.changed(before)

    def changed(self, before: Frame) -> None:
        """Paint again; a panel whose height depends on the frame lays itself out again."""
        self.repaint()


class MapPanel(FramePanel):
    """The cluster, and the packet on it."""

    help: ClassVar[Help] = Help(
        "Map",
        "Boxes are network namespaces, from left to right in the order in which the packet meets them. The upper way "
        "is travelled to the right, the lower one to the left. `●` is the request, `◆` the reply. Rows in a node's "
        "box are "
        "netfilter's hooks; the one that holds the packet is lit, `→` was passed by the request, `←` by the reply, "
        "`↔` by "
        "both.\n\n`m`, or a click on a box: its addresses, routes and tables.",
    )

    def watched(self, frame: Frame) -> object:
        """The board and the packet's place."""
        return frame.board, frame.map

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the map; its caption goes where there is no room for it."""
        rows = paint_map(self._frame.board, self._frame.map, width)
        return rows[:-1] if self.screen.has_class("short") else rows

    def changed(self, before: Frame) -> None:
        """Another journey may have more hooks, and so another height."""
        if before.board is not self._frame.board:
            self.relayout()
        else:
            self.repaint()


class HeadersPanel(FramePanel):
    """Where the packet is, and its headers before and after this hop."""

    help: ClassVar[Help] = Help(
        "Where, and which headers",
        "The first line says where the packet is and how we know: `● seen`, the kernel reported it; `◐ rebuilt`, "
        "worked out "
        "from the kernel's own state and the events around it; `○ modelled`, our model of the kernel says so.\n\n"
        "The second shows the headers. A field that this hop rewrote shows its old value struck through, `⇒`, and "
        "the new one.",
    )

    def watched(self, frame: Frame) -> object:
        """The place in words, and the headers."""
        return frame.where, frame.evidence, frame.headers

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint two lines; the height stays, so that nothing beneath jumps."""
        return [paint_where(self._frame, width), *paint_headers(self._frame.headers, width)][:2]


class StoryPanel(FramePanel):
    """Why, and what comes next."""

    help: ClassVar[Help] = Help(
        "Why, and what comes next",
        "`why` is what the kernel does in this hop and the reason for it, made from the kernel's own trace, never "
        "from a script. "
        "`next` is the hop that follows.",
    )

    def watched(self, frame: Frame) -> object:
        """The two sentences."""
        return frame.sentence, frame.next

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the sentence and what follows."""
        return paint_telling(self._frame, width, height or 3)


class ConntrackPanel(FramePanel):
    """The conntrack entries of this journey, or the live table."""

    can_focus = True
    help: ClassVar[Help] = Help(
        "Conntrack",
        "The connections that each node's kernel remembers. While a journey is shown, these are the entries that it "
        "made or used, as "
        "of this hop: `+` new, `~` changed, `=` used, `-` destroyed. *sent* is the first packet's addresses, "
        "*answer* what a reply must "
        "carry; the answer's tuple is what undoes the DNAT.\n\nBefore the first packet, and with `v`, the live table "
        "of the node is read "
        "once a second.",
    )

    def __init__(self, frame: Frame, *, has_live: bool, id: str | None = None) -> None:  # noqa: A002
        super().__init__(frame, id=id)
        self._has_live = has_live
        self._live: tuple[str, tuple[str, ...]] | None = None
        self._fresh: frozenset[str] = frozenset()

    def watched(self, frame: Frame) -> object:
        """The entries."""
        return frame.conntrack

    def show_live(self, heading: str, table: tuple[str, ...]) -> None:
        """Show a node's table as the kernel holds it now; entries that were not there before are marked."""
        same = self._live is not None and self._live[0] == heading
        known = frozenset(self._live[1]) if self._live is not None and same else frozenset(table)
        self._fresh = frozenset(table) - known
        self._live = (heading, table)
        self.repaint()

    def show_journey(self) -> None:
        """Go back to the entries of the journey."""
        if self._live is not None:
            self._live = None
            self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the live table, or the journey's entries."""
        if self._live is None:
            return paint_entries(self._frame.conntrack, width, live=self._has_live)
        heading, table = self._live
        if not table:
            return [line(Span(heading, "title")), line(Span("The table is empty.", "muted"))]
        rows: list[Line] = [line(Span(heading, "title"))]
        for text in table:
            for i, part in enumerate(wrap(" ".join(text.split()), width - 2)):
                rows.append(line(Span("+ " if i == 0 and text in self._fresh else "  ", "changed"), Span(part)))
        return rows


class TimelinePanel(FramePanel):
    """One mark for each hop."""

    help: ClassVar[Help] = Help(
        "Timeline",
        "One mark for each hop; its shape tells how we know of it: `●` seen, `◐` rebuilt, `○` modelled, `!` where "
        "model and kernel "
        "disagree. `▶` points at the hop that is shown. `┊` parts the request from the reply, `╎` one packet of a "
        "connection from "
        "the next, and a red `╳` says that events were lost. Click on a mark to go there.",
    )

    def watched(self, frame: Frame) -> object:
        """The marks and the hop."""
        return frame.hop, frame.marks

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the names and the marks."""
        return paint_timeline(self._frame.marks, self._frame.hop, self._frame.banners, width)


class BannerPanel(FramePanel):
    """What must be said whatever is shown; no height when there is nothing."""

    help: ClassVar[Help] = Help(
        "What you must know",
        "Where our model and the kernel do not agree, where events were lost, and whether this is live or a "
        "recording. The kernel is "
        "right; never take a hop on trust that a line here speaks of.",
    )

    def __init__(self, frame: Frame, notices: tuple[str, ...] = (), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(frame, id=id)
        self._notices = notices

    def watched(self, frame: Frame) -> object:
        """The banners."""
        return frame.banners

    def notice(self, notices: tuple[str, ...]) -> None:
        """Set what is said besides the journey's own banners."""
        if notices != self._notices:
            self._notices = notices
            self.relayout()

    def changed(self, before: Frame) -> None:
        """The height follows the text."""
        self.relayout()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint every banner."""
        return paint_banners(self._frame.banners, self._notices, width)


class TitleBar(Painted):
    """Which lesson, which step, on what; and that it is a recording when it is."""

    help: ClassVar[Help] = Help(
        "Title", "The lesson and its step; the proxy mode, the sandbox, and whose rules these are."
    )

    def __init__(self, left: str, middle: str = "", right: str = "", *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._texts = (left, middle, right)

    def show(self, left: str, middle: str, right: str) -> None:
        """Set the three texts."""
        if self._texts != (left, middle, right):
            self._texts = (left, middle, right)
            self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint one line; the right part goes first when there is no room."""
        left, middle, right = self._texts
        head = line(Span(f" {left}", "title"), Span(f"   {middle}" if middle else "", "strong"))
        tail = line(Span(f"{right} ", "muted"))
        room = width - sum(len(span.text) for span in head)
        return [spread(head, tail if room > len(right) + 2 else (), width)]
