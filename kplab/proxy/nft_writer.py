"""Nftables mode's way from a cluster to the kernel: one transaction a sync, and only what changed.

Follows syncProxyRules of pkg/proxy/nftables, v1.36. What earlier syncs left in the kernel is known from memory;
a full sync (the first, one after a failure, one an hour) reads it from the kernel instead. There is no canary: a table
that somebody deleted is missed by the next change, which fails and makes the sync after it a full one.
"""

from __future__ import annotations

from collections.abc import Callable

from kplab.errors import ApplyError
from kplab.model.cluster import Cluster, Family
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.nft_program import NftablesProgram, deletion, difference
from kplab.modes.nft_writing import NftTransaction
from kplab.modes.nftables import compile_nftables
from kplab.proxy.nft_held import read_held
from kplab.proxy.nft_pieces import halves, in_pieces
from kplab.proxy.nft_tools import TOO_LONG, NftTools

STALE_SECONDS = 1.0
"""How long a chain has to be empty before it is deleted: kernels before 6.2 notice late that no element leads to it."""


class NftWriter:
    """Holds the program that the kernel holds, and the chains that wait for their deletion."""

    def __init__(
        self, node: str, config: ProxyConfig, tools: NftTools, facts: Callable[[], NodeFacts], capacity: int | None
    ) -> None:
        """`facts` is asked at each sync; `capacity`: bytes that one message may have, None where any number."""
        self._family: Family = tools.family
        self._node = node
        self._config = config
        self._tools = tools
        self._facts = facts
        self._capacity = capacity
        self._program: NftablesProgram | None = None
        self._began = False
        self._stale: dict[str, float] = {}

    def write(self, cluster: Cluster, changed: frozenset[str] | None, now: float) -> NftablesProgram:
        """Write as `Writer.write` says.

        Raises:
            ApplyError: nft or the kernel refused the transaction.
            ProgramError: nft is missing.

        """
        program = compile_nftables(cluster, self._config, self._node, self._family, self._facts(), self._program)
        self._delete_stale(now)
        if changed is None or self._program is None:
            transaction = program.transaction(read_held(self._tools), first=not self._began)
        else:
            transaction = difference(self._program, program, changed=changed)
        self._send(transaction.text())
        self._program, self._began = program, True
        self._remember(transaction, program, now)
        return program

    def _delete_stale(self, now: float) -> None:
        """Delete chains that have been empty for long enough; those that cannot be are tried again by a later sync."""
        due = [name for name, since in self._stale.items() if now - since >= STALE_SECONDS]
        if not due:
            return
        try:
            self._send(deletion(self._family, due).text())
        except ApplyError:
            # As upstream: they are empty, and do no harm. If the table has gone, the sync itself will tell.
            return
        for name in due:
            del self._stale[name]

    def _remember(self, transaction: NftTransaction, program: NftablesProgram, now: float) -> None:
        """Keep since when chains have been stale; one that is used again is not."""
        used = program.chain_names() if self._stale else frozenset[str]()
        self._stale = {name: since for name, since in self._stale.items() if name not in used}
        for name in transaction.stale:
            self._stale.setdefault(name, now)

    def _send(self, text: str) -> None:
        """Write a text: at once, or where the kernel takes small messages only, in pieces."""
        if not text:
            return
        if self._capacity is None:
            self._tools.write(text)
            return
        pieces = in_pieces(text, self._capacity)
        while pieces:
            try:
                self._tools.write(pieces[0])
            except ApplyError as error:
                # More bytes than we count on: the kernel took nothing of this piece.
                cut = halves(pieces[0]) if TOO_LONG in error.happened else None
                if cut is None:
                    raise
                pieces[:1] = cut
            else:
                del pieces[0]
