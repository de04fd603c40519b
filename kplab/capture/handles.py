"""Handles of nf_tables' rules, straight from netlink: `nft -a -j list ruleset` takes seconds for 28,000 rules.

A trace names a rule by its handle; iptables-save prints none. The n-th handle of a chain is its n-th -A line's.
"""

from __future__ import annotations

import errno
import select
import socket
import struct

from kplab.capture.netlink import (
    NFNL_SUBSYS_NFTABLES,
    NFPROTO_NAMES,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    attributes,
    error_of,
    messages,
    number,
    open_socket,
    request,
    text,
)  # fmt: skip
from kplab.errors import CaptureError
from kplab.trace.recording import ChainHandles

NFT_MSG_GETRULE = 7
NFT_MSG_GETGEN = 16
_GEN_ID = 1
_LIMIT = 5.0
_ATTEMPTS = 10
_HEADER = struct.Struct("=IHH")
_LENGTHS = struct.Struct("=H")
_HANDLE = struct.Struct("!Q")


def read_handles() -> tuple[ChainHandles, ...]:
    """Return the handles of every rule in the current network namespace, all families, chains in the kernel's order.

    Chains without rules are left out. A dump that a change of the ruleset interrupted is taken again.

    Raises:
        CaptureError: the kernel refuses, or the ruleset does not stand still.
    """
    for _ in range(_ATTEMPTS):
        found = _dump()
        if found is not None:
            return tuple(
                ChainHandles(NFPROTO_NAMES.get(family, str(family)), text(table), text(chain), tuple(handles))
                for (family, table, chain), handles in found.items()
            )
    raise CaptureError("read the handles of the rules", f"the ruleset changed during each of {_ATTEMPTS} dumps")


def read_generation() -> int:
    """Return the generation of the current network namespace's nf_tables ruleset. Raises CaptureError."""
    with open_socket() as sock:
        return ask_generation(sock)


def ask_generation(sock: socket.socket) -> int:
    """Return the generation in the namespace that a netfilter socket was opened in. Raises CaptureError."""
    sock.send(request(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, socket.AF_UNSPEC))
    for message in messages(_receive(sock)):
        if message.subsystem == NFNL_SUBSYS_NFTABLES:
            return number(attributes(message.body).get(_GEN_ID)) or 0
    raise CaptureError("read nf_tables' generation", "the kernel's answer holds none")


_Found = dict[tuple[int, bytes, bytes], list[int]]


def _dump() -> _Found | None:
    """Return (family, table, chain) -> handles, or None when a change interrupted the dump."""
    found: _Found = {}
    with open_socket() as sock:
        sock.send(request(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, NLM_F_DUMP, socket.AF_UNSPEC))
        while True:
            try:
                done = _take(_receive(sock), found)
            except struct.error as error:
                raise CaptureError("read the handles of the rules", f"a message is cut short: {error}") from error
            if done is not None:
                return found if done else None


def _take(data: bytes, found: _Found) -> bool | None:
    """Add one datagram's rules. None: there is more; True: that was all; False: interrupted.

    Only the first three attributes of a rule are looked at (nf_tables_fill_rule_info writes table, chain and handle in
    this order), since a rule's expressions are most of its bytes.
    """
    offset, end = 0, len(data)
    while offset + 16 <= end:
        length, kind, flags = _HEADER.unpack_from(data, offset)
        if length < 16:
            raise CaptureError("a netlink message has an impossible length", str(length))
        if flags & NLM_F_DUMP_INTR:
            return False
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            refused = error_of(data[offset + 16 : offset + length])
            if refused is not None and refused.errno != errno.EINTR:
                raise CaptureError("read the handles of the rules", str(refused))
            return refused is None
        at = offset + 20
        table_length = _LENGTHS.unpack_from(data, at)[0]
        table = data[at + 4 : at + table_length - 1]
        at += (table_length + 3) & ~3
        chain_length = _LENGTHS.unpack_from(data, at)[0]
        chain = data[at + 4 : at + chain_length - 1]
        at += (chain_length + 3) & ~3
        found.setdefault((data[offset + 16], table, chain), []).append(_HANDLE.unpack_from(data, at + 4)[0])
        offset += (length + 3) & ~3
    return None


def _receive(sock: socket.socket) -> bytes:
    ready, _, _ = select.select([sock], [], [], _LIMIT)
    if not ready:
        raise CaptureError("read nf_tables over netlink", f"the kernel did not answer within {_LIMIT:g} s")
    return sock.recv(1 << 18)
