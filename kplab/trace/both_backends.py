"""Rules left in both of iptables' back-ends at once: found in what a node holds, and named.

iptables-nft and iptables-legacy know nothing of each other; the kernel runs the rules of both, so a packet may be
translated by what a switched-over kube-proxy left behind in the other one.
"""

from __future__ import annotations

from collections.abc import Iterable

from kplab.trace.recording import NodeState


def both_backends(states: Iterable[NodeState]) -> tuple[str, ...]:
    """Return a sentence for each node and family whose rules stand in both back-ends; none where all is well."""
    found = []
    for state in states:
        for family in (4, 6):
            rules = {save.backend: save.text.splitlines() for save in state.saves if save.family == family}
            counts = {backend: _own(lines) for backend, lines in rules.items()}
            if all(counts.get(backend) for backend in ("nft", "legacy")):
                found.append(
                    f"{state.node}: IPv{family} rules stand in both back-ends at once, {counts['nft']} in iptables-nft "
                    f"and {counts['legacy']} in iptables-legacy (chains: {_chains(rules['legacy'])}); every packet "
                    "goes through both. `iptables-legacy-save` and `iptables-nft-save` show them; the proxy that "
                    "wrote the ones that are not wanted takes them away: kube-proxy --cleanup."
                )
    return tuple(found)


def _own(lines: list[str]) -> int:
    return sum(line.startswith("-A ") for line in lines)


def _chains(lines: list[str]) -> str:
    names = list(dict.fromkeys(line.split()[1] for line in lines if line.startswith("-A ")))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
