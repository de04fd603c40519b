"""A small grid of cells to draw on, for what is not made of lines."""

from __future__ import annotations

from kplab.tui.paint.lines import Line, StyleName, joined


class Canvas:
    """`width` x `height` cells, each a character of one cell and a style's name."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._chars = [[" "] * width for _ in range(height)]
        self._styles: list[list[StyleName]] = [["plain"] * width for _ in range(height)]
        self._actions = [[""] * width for _ in range(height)]

    def put(self, x: int, y: int, text: str, style: StyleName = "plain") -> None:
        """Write a text; what lies outside the grid is left out."""
        if not 0 <= y < self.height:
            return
        for offset, char in enumerate(text):
            if 0 <= x + offset < self.width:
                self._chars[y][x + offset] = char
                self._styles[y][x + offset] = style

    def act(self, x: int, y: int, width: int, height: int, action: str) -> None:
        """Make an area run a Textual action when it is clicked."""
        for row in self._actions[max(y, 0) : y + height]:
            row[max(x, 0) : x + width] = [action] * len(row[max(x, 0) : x + width])

    def lines(self) -> list[Line]:
        """Return the grid as lines of spans, neighbours of one style joined."""
        rows = zip(self._chars, self._styles, self._actions, strict=True)
        return [joined(zip(*row, strict=True)) for row in rows]
