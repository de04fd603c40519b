"""What a proxy mode compiles to: exactly what kube-proxy would write, as a value that can be printed and compared.

For iptables mode that is, for each family, a list of jump rules (each ensured by a command of its own) and
one text for `iptables-restore`. The text is made by `IptablesProgram.text`, for a full or a partial sync.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kplab.model.cluster import Family


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump that kube-proxy ensures with `iptables -C` and `-I`; `arguments` come before `-j TARGET`."""

    table: str
    source: str
    target: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainLine:
    """`:NAME - [0:0]`. `owner` is the service port (`ns/name:port`) whose chain it is, None for a fixed chain."""

    name: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One `-A` line as kube-proxy writes it.

    `owner` is set on those that a partial sync leaves out while neither that service port nor its endpoints
    changed.
    """

    chain: str
    text: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class TableProgram:
    """One table's part of the text, in kube-proxy's order."""

    name: str
    chains: tuple[ChainLine, ...]
    rules: tuple[RuleLine, ...]
    last_rules: tuple[RuleLine, ...] = ()
    """Written after the deletions of stale chains: the jump to KUBE-NODEPORTS."""


@dataclass(frozen=True, slots=True)
class IptablesProgram:
    """All of one family's rules."""

    family: Family
    jumps: tuple[Jump, ...]
    tables: tuple[TableProgram, ...]
    """filter, then nat."""
    endpoints: int = 0
    """How many endpoints there are in all; above 1,000 kube-proxy leaves comments out."""

    def text(self, *, changed: Collection[str] | None = None, stale: Collection[str] = ()) -> str:
        """Return the text for `iptables-restore --noflush --counters`.

        `changed` None means a full sync; else the owners whose chains are written, all others being left
        out. `stale` are nat chains in the kernel that no rule uses any more: flushed and deleted (`-X`).
        """
        blocks = []
        for table in self.tables:
            lines = [f"*{table.name}"]
            lines += [f":{c.name} - [0:0]" for c in table.chains if _written(c.owner, changed)]
            gone = sorted(stale) if table.name == "nat" else []
            lines += [f":{name} - [0:0]" for name in gone]
            lines += [r.text for r in table.rules if _written(r.owner, changed)]
            lines += [f"-X {name}" for name in gone]
            lines += [r.text for r in table.last_rules]
            lines.append("COMMIT")
            blocks.append("\n".join(lines))
        return "\n".join(blocks) + "\n"


def _written(owner: str | None, changed: Collection[str] | None) -> bool:
    return owner is None or changed is None or owner in changed
