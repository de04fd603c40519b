"""Brings a program into the kernel with kube-proxy v1.36's very commands, in its order.

Dear on purpose: with iptables-nft the first sync of a large cluster takes minutes. For lessons about what a
reload costs, and for tests that hold the default way to the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

from kplab.errors import ApplyError, ProgramError
from kplab.lab.run import Runner
from kplab.modes.program import Jump
from kplab.proxy.apply import Order, restore_plainly
from kplab.proxy.dump import read_dump, stale_chains
from kplab.proxy.tools import Tools, ensure_chain

PRESENT_CHECKS = 2
"""How often kube-proxy asks at its start whether iptables works: to choose the mode, and to make the proxiers."""


def start_like_upstream(runner: Runner, families: Sequence[Tools]) -> tuple[int, ...]:
    """Run what kube-proxy runs before its first sync in iptables mode; return the version of iptables.

    Tables that nftables mode left behind are deleted, where nft is there to do it; then every family is
    asked for its version and for table nat.

    Raises:
        ProgramError: iptables is missing, or cannot read table nat.

    """
    for tools in families:
        family = "ip" if tools.family == 4 else "ip6"
        try:
            runner.run(["nft", "--version"])
            runner.run(["nft", "--check", "-f", "-"], f'add table {family} kube-proxy {{ comment "test" ; }}\n')
            # Fails where there is no such table, which is as good.
            runner.run(["nft", "-f", "-"], f"delete table {family} kube-proxy\n", check=False)
        except ProgramError:
            continue
    version: tuple[int, ...] = ()
    for _ in range(PRESENT_CHECKS):
        for tools in families:
            version = tools.version()
            tools.command("-S", "POSTROUTING", "-t", "nat", check=True)
    return version


class UpstreamApplier:
    """kube-proxy's own way."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def apply(self, order: Order) -> None:
        """Ensure each jump by commands of its own, look for stale chains, restore."""
        if order.full:
            for jump in order.program.jumps:
                self._ensure_jump(jump)
        stale: tuple[str, ...] = ()
        if order.clean_stale:
            held = read_dump(self._tools.save("nat"))
            stale = stale_chains(held.chains.get("nat", frozenset()), order.nat_chains())
        restore_plainly(self._tools, order.program.text(changed=order.changed, stale=stale))

    def _ensure_jump(self, jump: Jump) -> None:
        ensure_chain(self._tools, jump.table, jump.target)
        rule = (jump.source, "-t", jump.table, *jump.arguments, "-j", jump.target)
        if self._tools.command("-C", *rule).status == 0:
            return
        self._command("-I", *rule)

    def _command(self, *arguments: str) -> None:
        try:
            self._tools.command(*arguments, check=True)
        except ProgramError as error:
            if error.status == 127:
                raise
            raise ApplyError(error.tried, error.happened) from error
