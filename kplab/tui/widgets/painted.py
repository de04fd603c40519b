"""Widgets that show lines made by a painter, and paint again only the lines that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, StyleName
from kplab.tui.palette import style_of

_KEPT_STRIPS = 512

if TYPE_CHECKING:
    _Base = Widget
else:
    _Base = object


class Inked(_Base):
    """Turns painted lines into strips, in the theme's colours."""

    def strip_of(self, painted: Line, width: int) -> Strip:
        """Return a line as a strip of exactly `width` cells."""
        strips: dict[Line, Strip] = self.__dict__.setdefault("_ink_strips", {})
        strip = strips.get(painted)
        if strip is None or strip.cell_length != width:
            segments = [Segment(span.text, self._ink(span.style, span.action)) for span in painted]
            strip = Strip(segments).adjust_cell_length(width, self._ink("plain", ""))
            if len(strips) > _KEPT_STRIPS:
                strips.clear()
            strips[painted] = strip
        return strip

    def _ink(self, name: StyleName, action: str) -> Style:
        styles: dict[StyleName, Style] = self.__dict__.setdefault("_ink_styles", {})
        style = styles.get(name)
        if style is None:
            style = self.rich_style + style_of(name, self.app.theme_variables)
            styles[name] = style
        return style + Style(meta={"@click": action}) if action else style

    def forget_ink(self) -> None:
        """Forget colours, when the theme or a class changes."""
        self.__dict__.pop("_ink_styles", None)
        self.__dict__.pop("_ink_strips", None)

    def notify_style_update(self) -> None:
        """Follow the theme."""
        self.forget_ink()
        super().notify_style_update()


class Painted(Inked, Widget):
    """A panel of lines: a subclass says in `lines` what is to be seen, and calls `repaint` when it may have changed."""

    help: ClassVar[Help]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, classes=classes)
        self._painted: list[Line] = []
        self._painted_size = Size(-1, -1)

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Return what is to be seen in `width` cells; `height` is 0 where the number of lines is asked for."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Paint the lines that differ from those on the screen."""
        if self._painted_size != self.size or not self.is_attached:
            self._painted_size = Size(-1, -1)
            self.refresh()
            return
        fresh = list(self.lines(*self.size))
        width, height = self.size
        rows = [Region(0, y, width, 1) for y in range(height) if _row(fresh, y) != _row(self._painted, y)]
        self._painted = fresh
        if rows:
            self.refresh(*rows)

    def relayout(self) -> None:
        """Paint again when the number of lines may have changed too."""
        self._painted_size = Size(-1, -1)
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return as many rows as there are lines, for `height: auto`."""
        return len(self.lines(width, 0))

    def render_line(self, y: int) -> Strip:
        """Return one row of the panel."""
        if self._painted_size != self.size:
            self._painted = list(self.lines(*self.size))
            self._painted_size = self.size
        return self.strip_of(_row(self._painted, y), self.size.width)


class PaintedScroll(Inked, ScrollView):
    """A scrolling list of painted rows, of which only those in sight are ever made."""

    help: ClassVar[Help]

    def row(self, index: int, width: int) -> Line:
        """Return row `index` (0-based) of the list."""
        raise NotImplementedError

    def set_count(self, count: int) -> None:
        """Say how many rows there are, and paint them again."""
        self.virtual_size = Size(0, count)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one row of the screen."""
        index = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        return self.strip_of(self.row(index, width) if 0 <= index < self.virtual_size.height else (), width)


def _row(lines: Sequence[Line], y: int) -> Line:
    return lines[y] if 0 <= y < len(lines) else ()
