"""What a sync reads back from the kernel: which chains are there, and which jumps into them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kplab.modes.names import OWN_PREFIXES
from kplab.modes.program import Jump

CANARY = "KUBE-PROXY-CANARY"
"""An empty chain whose disappearance tells that someone flushed the tables."""

CANARY_TABLES = ("mangle", "nat", "filter")
"""In kube-proxy's order; only the first is polled."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one family's tables hold: chains of each table, and the rules of the base chains."""

    chains: dict[str, frozenset[str]]
    base_rules: frozenset[tuple[str, str]]
    """(table, "-A INPUT …") as iptables-save prints them, of the chains that jumps start from."""
    rules: int
    """How many rules there are in all."""

    def has(self, table: str, chain: str) -> bool:
        """Tell whether a table has a chain."""
        return chain in self.chains.get(table, ())


def read_dump(text: str) -> Held:
    """Read the output of `iptables-save`."""
    chains: dict[str, set[str]] = {}
    base: set[tuple[str, str]] = set()
    policies: set[tuple[str, str]] = set()
    table, rules = "", 0
    for line in text.splitlines():
        match line[:1]:
            case "*":
                table = line[1:]
                chains[table] = set()
            case ":":
                name, policy = line[1:].split(" ", 2)[:2]
                chains[table].add(name)
                if policy != "-":
                    policies.add((table, name))
            case "-":
                rules += 1
                if (table, line.split(" ", 2)[1]) in policies:
                    base.add((table, line))
            case _:
                pass
    return Held({name: frozenset(found) for name, found in chains.items()}, frozenset(base), rules)


def printed(jump: Jump) -> tuple[str, str]:
    """Return a jump as iptables-save prints it: (table, "-A INPUT … -j KUBE-SERVICES")."""
    arguments = " ".join(quoted(argument) for argument in jump.arguments)
    return jump.table, f"-A {jump.source} {arguments + ' ' if arguments else ''}-j {jump.target}"


def quoted(argument: str) -> str:
    """Return one argument of a rule as iptables-save and iptables-restore spell it."""
    return f'"{argument}"' if " " in argument else argument


def stale_chains(present: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the nat chains that are kube-proxy's by their prefix, and that no rule uses any more."""
    return tuple(sorted({name for name in present if name.startswith(OWN_PREFIXES)} - set(wanted)))


def chains_listed(text: str) -> frozenset[str]:
    """Return the chains of table nat in the output of `nft list chains ip`."""
    found: set[str] = set()
    inside = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            inside = words[2:3] == ["nat"]
        elif inside and words[:1] == ["chain"]:
            found.add(words[1])
    return frozenset(found)
