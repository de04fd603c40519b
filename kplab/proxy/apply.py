"""Brings a program into the kernel: the default way, which runs two programs where kube-proxy runs thirty.

The kernel ends up holding what kube-proxy's own commands (`upstream.py`) leave there. What differs is the cost:

* Missing jumps and canaries are found in one `iptables-save`, and made by blocks in front of the rules' own, in
  the same `iptables-restore`; kube-proxy runs `-N`, `-C` and `-I` for each.
* With iptables-nft 1.8.9, `--noflush` keeps a sorted list of the chains it was told about, and walks it for
  every line: quadratic (80 s for 28,000 chains). A listing of the whole table (`-S`) as the first line makes it
  read all chains once instead (`all_chains` in iptables/nft-cache.c), and the same text takes 1.7 s. The listing is
  not free in a table that is full already, so it is used only where it wins.
* In a user namespace a large transaction is refused; it goes in pieces (`pieces.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kplab.errors import ApplyError, LabError, ProgramError
from kplab.modes.program import IptablesProgram
from kplab.proxy.dump import CANARY, CANARY_TABLES, Held, chains_listed, printed, quoted, read_dump, stale_chains
from kplab.proxy.pieces import in_pieces, jumps_last, message_bytes, send_capacity
from kplab.proxy.tools import LIMIT, Tools

TOO_LONG = "Message too long"
TOO_LONG_HINT = (
    "in a user namespace iptables-nft can send only some 250 rules at once, and kube-proxy sends all; "
    "leave out --like-upstream, or use --backend legacy"
)


@dataclass(frozen=True, slots=True)
class Order:
    """One sync of one family: what is to be written."""

    program: IptablesProgram
    changed: frozenset[str] | None
    """Service ports or Services whose chains are written; None: a full sync."""
    clean_stale: bool
    """Look for stale chains; in a large cluster kube-proxy does so at most once a syncPeriod."""

    @property
    def full(self) -> bool:
        """All chains are written, and jumps are ensured."""
        return self.changed is None

    def nat_chains(self) -> set[str]:
        """Every nat chain that the program uses, changed or not."""
        return {chain.name for table in self.program.tables if table.name == "nat" for chain in table.chains}


class Applier(Protocol):
    """A way of bringing an `Order` into the kernel."""

    def apply(self, order: Order) -> None:
        """Write the rules; all or nothing for each table.

        Raises:
            ApplyError: the kernel, or iptables, refused them.
            ProgramError: iptables is missing.

        """
        ...


class DirectApplier:
    """The default way."""

    def __init__(self, tools: Tools, *, canaries: bool = True) -> None:
        """IPVS mode has no `canaries`."""
        self._tools = tools
        self._canaries = canaries
        self._rules_held = 0
        self._capacity = send_capacity() if tools.backend == "nft" else None

    def apply(self, order: Order) -> None:
        """Read what is there, then write everything in one `iptables-restore`."""
        before, present = "", frozenset[str]()
        if order.full:
            held = read_dump(self._tools.save())
            before = preparations(order.program, held, canaries=self._canaries)
            present = held.chains.get("nat", frozenset())
            self._rules_held = held.rules
        elif order.clean_stale:
            present = self._nat_chains()
        stale = stale_chains(present, order.nat_chains()) if order.clean_stale else ()
        text = order.program.text(changed=order.changed, stale=stale)
        self._restore(before, text)
        self._rules_held = max(self._rules_held, text.count("\n-A "))

    def _nat_chains(self) -> frozenset[str]:
        """The chains of nat, without reading every rule where the back-end can tell."""
        if self._tools.backend == "legacy" or not self._rules_held:
            return read_dump(self._tools.save("nat")).chains.get("nat", frozenset())
        family = "ip" if self._tools.family == 4 else "ip6"
        try:
            listed = self._tools.runner.run(["nft", "list", "chains", family], limit=LIMIT).stdout
        except ProgramError:
            return read_dump(self._tools.save("nat")).chains.get("nat", frozenset())
        return chains_listed(listed)

    def _restore(self, before: str, text: str) -> None:
        if self._capacity is not None and message_bytes(text) > self._capacity:
            self._restore_in_pieces(before, text, self._capacity)
            return
        if self._tools.backend == "nft" and listing_pays(text.count("\n:"), self._rules_held):
            try:
                self._tools.restore(before + text.replace("*nat\n", "*nat\n-S\n", 1))
            except ProgramError:
                # Another iptables may not know a listing here; whatever is wrong, the plain text tells.
                pass
            else:
                return
        restore_plainly(self._tools, before + text)

    def _restore_in_pieces(self, before: str, text: str, capacity: int) -> None:
        last = jumps_last(before, text)
        pieces = in_pieces(text, capacity) + last
        try:
            self._tools.restore(pieces)
        except ProgramError as error:
            if TOO_LONG not in error.happened:
                raise refused(self._tools, pieces, error) from error
            # A rule may take more room than we count on.
            self._capacity = capacity // 2
            restore_plainly(self._tools, in_pieces(text, capacity // 2) + last)


def restore_plainly(tools: Tools, text: str) -> None:
    """Run `iptables-restore` on a text.

    Raises:
        ApplyError: it refused the text; the line that it names is quoted.
        ProgramError: it is missing.

    """
    try:
        tools.restore(text)
    except ProgramError as error:
        raise refused(tools, text, error) from error


def refused(tools: Tools, text: str, error: ProgramError) -> LabError:
    """Return the error for a text that `iptables-restore` did not take; the line that it names is quoted."""
    if error.status == 127:
        return error
    hint = TOO_LONG_HINT
    if TOO_LONG not in error.happened:
        lines = text.splitlines()
        number = next((int(word) for word in error.happened.split() if word.isdecimal()), 0)
        hint = f"line {number} reads: {lines[number - 1]}" if 0 < number <= len(lines) else ""
    return ApplyError(f"write rules with {tools.program}-restore", error.happened, hint)


def preparations(program: IptablesProgram, held: Held, *, canaries: bool = True) -> str:
    """Return the blocks that make what is missing: canaries, chains that jumps lead to, and the jumps.

    Jumps are inserted one before the other in the order in which kube-proxy ensures them, so they end up in
    the places that its own commands give them, before whatever else stands in the base chains.
    """
    blocks = []
    for table in CANARY_TABLES:
        jumps = [jump for jump in program.jumps if jump.table == table]
        wanted = dict.fromkeys([*([CANARY] if canaries else []), *(jump.target for jump in jumps)])
        lines = [f":{chain} - [0:0]" for chain in wanted if not held.has(table, chain)]
        for jump in jumps:
            if printed(jump) not in held.base_rules:
                arguments = " ".join(quoted(argument) for argument in (*jump.arguments, "-j", jump.target))
                lines.append(f"-I {jump.source} {arguments}")
        if lines:
            blocks.append("\n".join([f"*{table}", *lines, "COMMIT\n"]))
    return "".join(blocks)


def listing_pays(chain_lines: int, rules_held: int) -> bool:
    """Tell whether listing a table first is cheaper than the quadratic walk over chains.

    Measured with iptables 1.8.9: the walk costs 16 ns for each pair of chains, the listing 5 us for each rule
    that the table already holds.
    """
    return chain_lines * chain_lines * 16e-9 > rules_held * 5e-6
