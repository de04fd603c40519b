"""`iptables-save`, `ip6tables-save` and `iptables-legacy-save` output -> `Ruleset`.

The lines are those of iptables-restore(8): `*table`, `:CHAIN POLICY [packets:bytes]`, `[packets:bytes] -A …`,
`COMMIT`, `#`. Only the frame is read here, line by line; a rule's options are read when somebody asks for
them (`rules.options`), so that 60,000 rules are ready in a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from kplab.errors import UsageError
from kplab.model.ruleset import Chain, HandlesOfChain, Rule, Ruleset, Table
from kplab.rules.options import read_rule

_HINT = "Give the output of iptables-save, ip6tables-save or iptables-legacy-save, unshortened."


def parse_iptables_save(
    text: str,
    family: Literal[4, 6],
    backend: Literal["nft", "legacy"],
    handles: Iterable[HandlesOfChain] = (),
) -> Ruleset:
    """Read all tables of a dump; every rule keeps its own text, without counters.

    `handles` are the nf_tables handles of each chain's rules; where a chain has not as many as it has rules,
    the two were not read at the same moment, and its rules get none. A match that we do not know becomes
    `NotUnderstood`. Raises UsageError with the line's number where a line is not of the format.
    """
    ours = "ip" if family == 4 else "ip6"
    numbers = {(h.table, h.chain): h.handles for h in handles if h.family == ours}
    reader = _Reader(numbers)
    for at, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        reader.line(at, line)
    return Ruleset(family=family, backend=backend, tables=reader.finish())


class _Reader:
    """The table being read, and those already read."""

    def __init__(self, handles: dict[tuple[str, str], tuple[int, ...]]) -> None:
        self.handles = handles
        self.tables: dict[str, Table] = {}
        self.table: str | None = None
        self.policies: dict[str, str | None] = {}
        self.lines: dict[str, list[str]] = {}
        self.at = 0

    def line(self, at: int, line: str) -> None:
        """Read one line; `at` is its 1-based number."""
        self.at = at
        if line.startswith("-A "):
            self._rule(line)
            return
        line = line.strip()
        if not line or line.startswith("#"):
            return
        if line.startswith("["):
            _, found, rest = line.partition("] ")
            if not found:
                raise self._error("counters that are not closed, or no rule after them", line)
            self._rule(rest)
        elif line.startswith("-A"):
            self._rule(line)
        elif line.startswith(":"):
            self._chain(line)
        elif line.startswith("*"):
            self._start(line)
        elif line == "COMMIT":
            self._commit()
        else:
            raise self._error("neither a table, a chain, a rule nor COMMIT", line)

    def finish(self) -> dict[str, Table]:
        """Return the tables; the last must have been committed."""
        if self.table is not None:
            raise UsageError(
                f"line {self.at}: the rules end inside table {self.table}",
                "COMMIT is missing: they are cut short",
                _HINT,
            )
        return self.tables

    def _start(self, line: str) -> None:
        if self.table is not None:
            raise self._error(f"table {self.table} was not ended by COMMIT", line)
        name = line[1:].strip()
        if not name or name in self.tables:
            raise self._error("a table without a name" if not name else f"table {name} a second time", line)
        self.table, self.policies, self.lines = name, {}, {}

    def _chain(self, line: str) -> None:
        parts = line[1:].split()
        if self.table is None or len(parts) < 2:
            raise self._error("a chain outside a table" if self.table is None else "a chain without a policy", line)
        self.policies[parts[0]] = None if parts[1] == "-" else parts[1]
        self.lines[parts[0]] = []

    def _rule(self, line: str) -> None:
        parts = line.split(" ", 2)
        if self.table is None or len(parts) < 2 or parts[0] != "-A":
            raise self._error("a rule outside a table" if self.table is None else "not a rule", line)
        chain = parts[1]
        lines = self.lines.get(chain)
        if lines is None:
            raise self._error(f"a rule of a chain that was not declared: {chain}", line)
        if '"' in line and not _quotes_close(line):
            raise self._error("a quoted text that does not end", line)
        lines.append(line)

    def _commit(self) -> None:
        if self.table is None:
            raise self._error("COMMIT without a table", "COMMIT")
        chains = {}
        for name, lines in self.lines.items():
            handles = self.handles.get((self.table, name), ())
            known: tuple[int | None, ...] = handles if len(handles) == len(lines) else (None,) * len(lines)
            numbered = zip(lines, known, strict=True)
            rules = tuple(Rule(name, n, line, read_rule, handle) for n, (line, handle) in enumerate(numbered, 1))
            chains[name] = Chain(name, self.policies[name], rules)
        self.tables[self.table] = Table(self.table, chains)
        self.table = None

    def _error(self, what: str, line: str) -> UsageError:
        return UsageError(f"line {self.at} of the rules cannot be read: {what}", line[:200], _HINT)


def _quotes_close(line: str) -> bool:
    """Say whether every quoted text of a line ends; a backslash takes the next character's meaning away."""
    if "\\" in line:
        line = line.replace("\\\\", "").replace('\\"', "")
    return line.count('"') % 2 == 0
