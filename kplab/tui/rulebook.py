"""An iptables-save dump as a book to leaf through: lines, chains, search. Quick with tens of thousands of rules."""

from __future__ import annotations

import re
from functools import cached_property

from kplab.trace.recording import NodeState, Save

_TARGET = re.compile(r" -[jg] (\S+)")


class Rulebook:
    """One dump of one node."""

    def __init__(self, node: str, save: Save) -> None:
        self.node = node
        self.family = save.family
        self.backend = save.backend
        self.lines = [text for text in save.text.splitlines() if text and not text.startswith("#")]

    @cached_property
    def lowered(self) -> list[str]:
        """The lines in small letters, for searching."""
        return [text.lower() for text in self.lines]

    @cached_property
    def chains(self) -> dict[tuple[str, str], int]:
        """(table, chain) -> the line of its first rule, or of its declaration when it has none."""
        found: dict[tuple[str, str], int] = {}
        with_rules: set[tuple[str, str]] = set()
        table = ""
        for number, text in enumerate(self.lines):
            if text.startswith("*"):
                table = text[1:].strip()
            elif text.startswith(":"):
                found.setdefault((table, text[1:].split(" ", 1)[0]), number)
            elif text.startswith("-A "):
                key = (table, text[3:].split(" ", 1)[0])
                if key not in with_rules:
                    with_rules.add(key)
                    found[key] = number
        return found

    @cached_property
    def rules(self) -> int:
        """How many rules there are."""
        return sum(1 for text in self.lines if text.startswith("-A "))

    @property
    def title(self) -> str:
        """Which node, family and back-end, and how much of it."""
        family = "iptables" if self.family == 4 else "ip6tables"
        return f"{self.node} · {family}-{self.backend} · {self.rules:,} rules · {len(self.chains):,} chains"

    def chain_line(self, chain: str, table: str | None = None) -> int | None:
        """Return the line of a chain; without a table, of the first table that has it."""
        if table is not None:
            return self.chains.get((table, chain))
        return next((number for (_, name), number in self.chains.items() if name == chain), None)

    def rule_line(self, table: str, chain: str, number: int) -> int | None:
        """Return the line of a chain's `number`-th rule (1-based)."""
        first = self.chains.get((table, chain))
        if first is None or first + number - 1 >= len(self.lines):
            return None
        line = first + number - 1
        return line if self.lines[line].startswith(f"-A {chain} ") else None

    def find(self, text: str, after: int) -> int | None:
        """Return the next line after `after` that holds `text` (in any case of letters), round the end."""
        wanted = text.lower()
        if not wanted:
            return None
        count = len(self.lines)
        for step in range(1, count + 1):
            at = (after + step) % count
            if wanted in self.lowered[at]:
                return at
        return None

    def target_of(self, line: int) -> int | None:
        """Return the line of the chain that a rule jumps to, None when its target is no chain of this table."""
        found = _TARGET.search(self.lines[line])
        return self.chain_line(found[1], self.table_of(line)) if found else None

    def table_of(self, line: int) -> str:
        """Return the table that a line belongs to."""
        return next((text[1:].strip() for text in reversed(self.lines[: line + 1]) if text.startswith("*")), "")


def rulebooks(states: tuple[NodeState, ...]) -> tuple[Rulebook, ...]:
    """Return a book for each dump of each node."""
    return tuple(Rulebook(state.node, save) for state in states for save in state.saves)
