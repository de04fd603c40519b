"""Colours: two themes of our own, and the meanings that every theme has.

Request and reply, match and skip are told apart by hues that colour-blind eyes tell apart too (Okabe and Ito's
blue and orange), and always by a mark or a word besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from kplab.tui.paint.lines import StyleName


class Ink(NamedTuple):
    """A theme's variable for the text, one for what is behind it, and how the letters look."""

    color: str = ""
    looks: str = ""
    """As rich writes it: "bold", "bold reverse"."""
    behind: str = ""


INKS: dict[StyleName, Ink] = {
    "plain": Ink("foreground"),
    "muted": Ink("kp-muted"),
    "strong": Ink("foreground", "bold"),
    "title": Ink("primary", "bold"),
    "rule": Ink("kp-rule"),
    "request": Ink("kp-request"),
    "reply": Ink("kp-reply"),
    "match": Ink("kp-match", "bold"),
    "good": Ink("kp-match"),
    "skip": Ink("kp-muted"),
    "fold": Ink("kp-muted", "italic"),
    "end": Ink("kp-muted"),
    "changed": Ink("kp-changed", "bold"),
    "old": Ink("kp-muted", "strike"),
    "lit": Ink("foreground", "bold", "kp-lit"),
    "lit-reply": Ink("foreground", "bold", "kp-lit-reply"),
    "now": Ink("primary", "bold"),
    "wrong": Ink("kp-wrong", "bold"),
    "notice": Ink("kp-changed"),
    "seen": Ink("kp-match"),
    "rebuilt": Ink("kp-request"),
    "modelled": Ink("kp-reply"),
    "key": Ink("primary"),
    "link": Ink("primary", "underline"),
    "cursor": Ink("", "bold reverse"),
}
"""Every style of the painters. Not Textual's component classes: matching those for each panel is what an app's
start, and each change of a class, would then spend most of its time on."""


def style_of(name: StyleName, variables: Mapping[str, str]) -> Style:
    """Return a painter's style in a theme's colours."""
    ink = INKS[name]
    looks = Style.parse(ink.looks) if ink.looks else Style()
    color = Color.parse(variables[ink.color]).rich_color if ink.color else None
    behind = Color.parse(variables[ink.behind]).rich_color if ink.behind else None
    return looks + Style(color=color, bgcolor=behind)


MEANINGS_DARK = {
    "kp-request": "#56b4e9",
    "kp-reply": "#f0a030",
    "kp-match": "#5fd7a7",
    "kp-changed": "#f5e663",
    "kp-wrong": "#ff7a6b",
    "kp-muted": "#8592a3",
    "kp-rule": "#3c4858",
    "kp-lit": "#1d4e70",
    "kp-lit-reply": "#6b4308",
}
"""What a style means, in a dark theme; any other theme of Textual's gets these too."""

_MEANINGS_LIGHT = {
    "kp-request": "#005f9e",
    "kp-reply": "#8a4b00",
    "kp-match": "#00694b",
    "kp-changed": "#6b5a00",
    "kp-wrong": "#b3261e",
    "kp-muted": "#5c6670",
    "kp-rule": "#b9c2cc",
    "kp-lit": "#cfe6f7",
    "kp-lit-reply": "#fbe3bf",
}

DARK = Theme(
    name="kplab",
    primary="#56b4e9",
    secondary="#5fd7a7",
    accent="#f0a030",
    foreground="#d6dde6",
    background="#0f141b",
    surface="#141b24",
    panel="#1a232e",
    success="#5fd7a7",
    warning="#f5e663",
    error="#ff7a6b",
    dark=True,
    variables={
        **MEANINGS_DARK,
        "block-cursor-text-style": "bold",
        "input-selection-background": "#56b4e9 35%",
        "footer-key-foreground": "#56b4e9",
    },
)

LIGHT = Theme(
    name="kplab-light",
    primary="#005f9e",
    secondary="#00694b",
    accent="#8a4b00",
    foreground="#1c232b",
    background="#fbfaf6",
    surface="#f3f2ec",
    panel="#e9e8e1",
    success="#00694b",
    warning="#6b5a00",
    error="#b3261e",
    dark=False,
    variables=_MEANINGS_LIGHT,
)
