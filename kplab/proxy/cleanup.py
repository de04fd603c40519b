"""Removes what iptables mode leaves behind, as `kube-proxy --cleanup` does.

Follows pkg/proxy/iptables/cleanup.go of v1.36: the jumps, then every chain of its own, with the canaries.
KUBE-FIREWALL and its jumps stay, for kubelet makes them too; so do sysctls and nfacct counters.
"""

from __future__ import annotations

from collections.abc import Sequence

from kplab.modes.iptables_fixed import JUMPS
from kplab.modes.names import OWN_PREFIXES
from kplab.modes.program import Jump
from kplab.proxy.apply import restore_plainly
from kplab.proxy.dump import CANARY, Held, printed, quoted, read_dump
from kplab.proxy.tools import Tools

FIXED_CHAINS = {
    "nat": ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", CANARY),
    "filter": (
        "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", CANARY,
    ),
    "mangle": (CANARY,),
}  # fmt: skip
"""The chains of each table that a clean-up removes, besides those of Services and endpoints."""

KEPT = "KUBE-FIREWALL"


def clean_up(families: Sequence[Tools]) -> None:
    """Remove iptables mode's rules from both families; do nothing where there are none.

    Raises:
        ApplyError: a rule of somebody else still leads to one of the chains.
        ProgramError: iptables is missing.

    """
    for tools in families:
        text = removal(read_dump(tools.save()))
        if text:
            restore_plainly(tools, text)


def removal(held: Held) -> str:
    """Return the text for `iptables-restore --noflush` that removes what is there of iptables mode."""
    return "".join(_table(table, held) for table in FIXED_CHAINS)


def _table(table: str, held: Held) -> str:
    present = held.chains.get(table, frozenset())
    chains = [chain for chain in FIXED_CHAINS[table] if chain in present]
    if table == "nat":
        chains += sorted(chain for chain in present if chain.startswith(OWN_PREFIXES))
    if not chains:
        return ""
    lines = [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
    lines += [_deletion(jump) for jump in JUMPS if jump.table == table and _removable(jump, held)]
    lines += [f"-X {chain}" for chain in chains]
    return "\n".join([*lines, "COMMIT\n"])


def _removable(jump: Jump, held: Held) -> bool:
    return jump.target != KEPT and printed(jump) in held.base_rules


def _deletion(jump: Jump) -> str:
    return " ".join(["-D", jump.source, *(quoted(argument) for argument in (*jump.arguments, "-j", jump.target))])
