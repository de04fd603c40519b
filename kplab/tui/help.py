"""What a panel says of itself when a student asks "what am I looking at?"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Help:
    """Context help of one panel: `body` is Markdown."""

    title: str
    body: str
