"""A listing as a book to leaf through: sections, search, folded elements. Quick with tens of thousands of lines."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from kplab.scene.listings import Listing, listings
from kplab.trace.recording import NodeState

_TARGET = re.compile(r"(?: -[jg]| jump| goto|--match-set) (\S+)|@([^\s,]+)")


class Row(NamedTuple):
    """One row of the book: a line, or a fold in place of `hidden` lines from `line` on."""

    line: int
    hidden: int = 0


class Rulebook:
    """One command's output on one node, and which of its folds are open."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.node = listing.node
        self._open: set[int] = set()

    @property
    def lines(self) -> Sequence[str]:
        """What the command printed."""
        return self.listing.page.lines

    @cached_property
    def lowered(self) -> list[str]:
        """The lines in small letters, for searching."""
        return [text.lower() for text in self.lines]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the sections, for completion."""
        return tuple(sorted({name for _, name in self.listing.page.sections}))

    def section_line(self, name: str) -> int | None:
        """Return the line of a section, of the first table that has it."""
        return next((at for (_, each), at in self.listing.page.sections.items() if each == name), None)

    def find(self, text: str, first: int, last: int | None = None) -> int | None:
        """Return the first line from `first` up to, but without `last` that holds `text`, in any case of letters."""
        wanted = text.lower()
        lines = self.lowered
        if not wanted:
            return None
        return next((at for at in range(first, len(lines) if last is None else last) if wanted in lines[at]), None)

    def target_of(self, line: int) -> str | None:
        """Return the name of what a line leads to: a chain, or the set or map that it asks."""
        found = _TARGET.search(self.lines[line])
        return (found[1] or found[2]) if found else None

    def line_of(self, name: str, beside: int) -> int | None:
        """Return the line of a section, of the table that line `beside` stands in if that has one."""
        tables = [table for table, each in self.listing.page.sections if each == name]
        if len(tables) < 2:
            return self.section_line(name)
        here = next((t[1:].strip() for t in reversed(self.lines[: beside + 1]) if t.startswith("*")), "")
        return self.listing.page.sections.get((here, name), self.section_line(name))

    def unfold(self, line: int) -> bool:
        """Open the fold that a line is in; False when it is in none, or in one that is open."""
        for number, fold in enumerate(self.listing.page.folds):
            if line in fold and number not in self._open:
                self._open.add(number)
                return True
        return False

    def rows(self, lit: Collection[int] = ()) -> Sequence[Row]:
        """Return the rows: each line, or a fold; what is `lit` is never folded away."""
        folds = [fold for number, fold in enumerate(self.listing.page.folds) if number not in self._open]
        if not folds:
            return _Plain(len(self.lines))
        found: list[Row] = []
        at = 0
        for fold in folds:
            found += [Row(line) for line in range(at, fold.start)]
            begin = fold.start
            for line in sorted(each for each in lit if each in fold):
                found += [*_fold(begin, line), Row(line)]
                begin = line + 1
            found += _fold(begin, fold.stop)
            at = fold.stop
        return [*found, *(Row(line) for line in range(at, len(self.lines)))]


class _Plain(Sequence[Row]):
    """The rows of a book without folds, of which none is made before it is asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Row:  # type: ignore[override]  # nobody slices rows
        if not 0 <= index < self._count:
            raise IndexError(index)
        return Row(index)


def row_of(rows: Sequence[Row], line: int) -> int:
    """Return the index of the row that a line is in."""
    return max(bisect_right(rows, line, key=lambda row: row.line) - 1, 0)


def _fold(first: int, stop: int) -> list[Row]:
    return [Row(first, stop - first)] if stop > first else []


def rulebooks(states: Iterable[NodeState]) -> tuple[Rulebook, ...]:
    """Return a book for each listing of each node."""
    return tuple(Rulebook(each) for each in listings(states))
