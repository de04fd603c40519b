"""One-line bars: the tabs over the tables, and the playback line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from kplab.tui.help import Help
from kplab.tui.paint.lines import Line, Span, clip_line, line, width_of
from kplab.tui.widgets.painted import Painted

TABS = (("walk", "w"), ("conntrack", "k"), ("rules", "u"), ("lookup", "l"), ("wire", "i"))
"""Each tab and its key."""


class TabBar(Painted):
    """The tabs, and which one is open."""

    help: ClassVar[Help] = Help(
        "Tables",
        "`w` walk, `k` conntrack, `u` rules, `i` wire; or click. The open one stands in brackets. Where a map "
        "or IPVS was asked, there is `l` lookup too.",
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._open = "walk"
        self._note = ""
        self._lookup = False

    def offer_lookup(self, offered: bool) -> None:
        """Show the tab of lookups, or leave it out."""
        self._lookup = offered
        self.repaint()

    def show(self, name: str) -> None:
        """Mark a tab as open."""
        self._open = name
        self.repaint()

    def note(self, text: str) -> None:
        """Write something at the right end, such as how many rules were tried."""
        if text != self._note:
            self._note = text
            self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the tabs into a rule across the panel."""
        spans = [Span("─", "rule")]
        for name, key in TABS:
            if name == "lookup" and not self._lookup:
                continue
            action = f"screen.tab('{name}')"
            if name == self._open:
                spans.append(Span(f"[ {name} ]", "title", action))
            else:
                before, _, after = name.partition(key)
                spans += [
                    Span(f"  {before}", "muted", action), Span(key, "key", action), Span(f"{after}  ", "muted", action)
                ]  # fmt: skip
            spans.append(Span("─", "rule"))
        note = f" {self._note} " if self._note else ""
        spans.append(Span("─" * max(width - width_of(spans) - len(note), 0), "rule"))
        spans.append(Span(note, "strong"))
        return [clip_line(tuple(spans), width)]


@dataclass(frozen=True, slots=True)
class PlayState:
    """What the playback line tells."""

    playing: bool = False
    speed: float = 1.0
    hop: int = -1
    hops: int = 0
    busy: str = ""
    """What is being waited for."""
    side: str = ""
    """The key that turns to the other side of a narrow screen."""


class PlaybackBar(Painted):
    """Play, pause, speed, hop; and the keys."""

    help: ClassVar[Help] = Help(
        "Playback",
        "`space` plays and pauses. `←` `→` go hop by hop, `⇧←` `⇧→` rule by rule, `Home` and `End` to the ends. `+` "
        "and `-` (or `]` and "
        "`[`) change the speed from 0.25x to 8x. Any of them cuts an animation short.\n\nWith "
        "`TEXTUAL_ANIMATIONS=none` nothing moves "
        "in between: the play goes from hop to hop and rule to rule.",
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._state = PlayState()

    def show(self, state: PlayState) -> None:
        """Show how the play stands."""
        if state != self._state:
            self._state = state
            self.repaint()

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint the controls, the place, the legend, and the keys as far as there is room."""
        state = self._state
        controls = (
            Span("│◀ ", "key", "screen.home"), Span("◀ ", "key", "screen.hop(-1)"),
            Span("❚❚" if state.playing else " ▶", "now", "screen.toggle_play"),
            Span(" ▶ ", "key", "screen.hop(1)"), Span("▶│ ", "key", "screen.end"),
        )  # fmt: skip
        word = "playing" if state.playing else "paused" if state.hops else "idle"
        place = f"hop {state.hop + 1}/{state.hops}" if state.hops else "no packet yet"
        left = line(*controls, Span(f" {word:<7}", "strong"), Span(f" {state.speed:g}x  "), Span(place))
        if state.busy:
            left = (*left, Span(f"   … {state.busy}", "now"))
        legend = line(Span("seen ●  rebuilt ◐  modelled ○", "muted"))
        keys = line(Span("space play · ←→ hop · ⇧←→ rule · ? help", "muted"))
        side = line(Span(state.side, "key"))
        dot = line(Span(" · ", "muted"))
        shorter = line(Span("←→ hop · ? help", "muted"))
        for rest in ((*legend, Span("   "), *keys), keys, shorter, line(Span("? help", "muted")), ()):
            right = (*side, *(dot if side and rest else ()), *rest)
            if width_of(left) + width_of(right) + 2 <= width:
                return [(*left, Span(" " * (width - width_of(left) - width_of(right))), *right)]
        return [clip_line(left, width)]
