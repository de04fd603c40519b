"""What a proxy mode compiles to: exactly what kube-proxy would write, as a value that can be printed and compared.

For iptables mode that is, for each family, a list of jump rules (each ensured by a command of its own) and
one text for `iptables-restore`. The text is made by `IptablesProgram.text`, for a full or a partial sync.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from kplab.model.cluster import Family
from kplab.modes.iptables_settings import Settings
from kplab.modes.units import Unit, Units


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump that kube-proxy ensures with `iptables -C` and `-I`; `arguments` come before `-j TARGET`."""

    table: str
    source: str
    target: str
    arguments: tuple[str, ...]


class ChainLine(NamedTuple):
    """`:NAME - [0:0]`. `owner` is the service port (`ns/name:port`) whose chain it is, None for a fixed chain."""

    name: str
    owner: str | None = None


class RuleLine(NamedTuple):
    """One `-A` line as kube-proxy writes it.

    `owner` is set on those that a partial sync leaves out while neither that service port nor its endpoints
    changed. A tuple, like `ChainLine`: a large cluster has a hundred thousand of them.
    """

    chain: str
    text: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceBlock:
    """One service port's share of a program, with what it was compiled from."""

    owner: str
    unit: Unit
    """The service port and its endpoints: equal ones (and equal settings) give equal rules."""
    filter_rules: tuple[RuleLine, ...]
    nat_chains: tuple[ChainLine, ...]
    nat_rules: tuple[RuleLine, ...]


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
    blocks: tuple[ServiceBlock, ...] = field(default=(), compare=False, repr=False)
    """The same rules by service port: what a later compilation starts from."""
    settings: Settings | None = field(default=None, compare=False, repr=False)
    """What the rules depend on besides Services and endpoints."""
    units: Units | None = field(default=None, compare=False, repr=False)
    """The service ports with their endpoints, as they were worked out."""

    def text(self, *, changed: Collection[str] | None = None, stale: Collection[str] = ()) -> str:
        """Return the text for `iptables-restore --noflush --counters`.

        `changed` None means a full sync; else the service ports (`ns/name:port`) whose chains are written,
        or whole Services (`ns/name`, which is how kube-proxy counts; see `changes.changed_services`), all
        others being left out. `stale` are nat chains in the kernel that no rule uses any more: flushed and
        deleted (`-X`).
        """
        owners = None if changed is None else self._owners(frozenset(changed))
        blocks = []
        for table in self.tables:
            gone = sorted(stale) if table.name == "nat" else []
            chains: list[ChainLine] | tuple[ChainLine, ...] = table.chains
            rules: list[RuleLine] | tuple[RuleLine, ...] = table.rules
            if owners is not None:
                chains = [chain for chain in chains if chain.owner in owners]
                rules = [rule for rule in rules if rule.owner in owners]
            lines = [f"*{table.name}"]
            lines += [f":{chain.name} - [0:0]" for chain in chains]
            lines += [f":{name} - [0:0]" for name in gone]
            lines += [rule.text for rule in rules]
            lines += [f"-X {name}" for name in gone]
            lines += [rule.text for rule in table.last_rules]
            lines.append("COMMIT\n")
            blocks.append("\n".join(lines))
        return "".join(blocks)

    def _owners(self, changed: frozenset[str]) -> set[str | None]:
        """The owners that a partial sync writes; None stands for the lines that every sync writes."""
        owners: set[str | None] = {None}
        seen = {chain.owner for table in self.tables for chain in table.chains if chain.owner}
        owners.update(owner for owner in seen if owner in changed or owner.partition(":")[0] in changed)
        return owners
