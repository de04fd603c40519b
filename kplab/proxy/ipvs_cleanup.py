"""Removes what ipvs mode leaves behind, as kube-proxy does at the start of nftables mode and for --cleanup.

Follows CleanupLeftovers of pkg/proxy/ipvs, v1.36: all virtual servers, the device kube-ipvs0 with its addresses, jumps
and chains, and at last the ipsets, which no rule names any more. nat KUBE-MARK-MASQ, which its chains lead to, is left
to the clean-up of iptables mode, after this one.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from kplab.errors import ProgramError
from kplab.lab.run import Runner
from kplab.proxy.apply import restore_plainly
from kplab.proxy.dump import Held, read_dump
from kplab.proxy.tools import Tools

DEVICE = "kube-ipvs0"
CHAINS = {
    "nat": ("KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER"),
    "filter": (
        "KUBE-FORWARD", "KUBE-NODE-PORT", "KUBE-PROXY-FIREWALL", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER",
        "KUBE-IPVS-OUT-FILTER",
    ),
}  # fmt: skip
"""The chains of each table that a clean-up removes, with every jump to them from a base chain."""

SET_PREFIX = "KUBE-"


def clean_up_ipvs(runner: Runner, families: Sequence[Tools], servers: Path = Path("/proc/net/ip_vs")) -> None:
    """Remove ipvs mode's state; do nothing where there is none. `servers` exists where the kernel has IPVS.

    Raises:
        ApplyError: a rule of somebody else still leads to one of the chains.
        ProgramError: a program that is needed failed.

    """
    if servers.exists():
        runner.run(["ipvsadm", "-C"])
    if DEVICE in (name for _, name in socket.if_nameindex()):
        runner.run(["ip", "link", "delete", DEVICE])
    for tools in families:
        text = removal(read_dump(tools.save()))
        if text:
            restore_plainly(tools, text)
    clean_up_sets(runner)


def clean_up_sets(runner: Runner) -> None:
    """Destroy kube-proxy's ipsets; one that a rule of somebody else names stays, as with kube-proxy."""
    try:
        names = runner.run(["ipset", "list", "-n"]).stdout.split()
    except ProgramError:
        # No ipset, or a kernel without sets.
        return
    for name in names:
        if name.startswith(SET_PREFIX):
            runner.run(["ipset", "destroy", name], check=False)


def removal(held: Held) -> str:
    """Return the text for `iptables-restore --noflush` that removes what is there of ipvs mode."""
    return "".join(_table(table, held) for table in CHAINS)


def _table(table: str, held: Held) -> str:
    chains = [chain for chain in CHAINS[table] if held.has(table, chain)]
    if not chains:
        return ""
    jumps = sorted(line for where, line in held.base_rules if where == table and line.rpartition(" -j ")[2] in chains)
    lines = [f"*{table}", *(f":{chain} - [0:0]" for chain in chains)]
    lines += [f"-D{jump.removeprefix('-A')}" for jump in jumps]
    lines += [f"-X {chain}" for chain in chains]
    return "\n".join([*lines, "COMMIT\n"])
