"""What a check of a repair found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found, for the student, and what is still wrong; nothing missed means that it passed."""

    lines: tuple[str, ...]
    missed: tuple[str, ...] = ()
