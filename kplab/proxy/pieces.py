"""Large texts for iptables-nft-restore where the kernel takes no large messages.

A transaction of nf_tables is one netlink message, and iptables makes room for it by SO_SNDBUFFORCE. The kernel grants
that to CAP_NET_ADMIN of its first user namespace only (sk_setsockopt in net/core/sock.c); anywhere else a socket holds
net.core.wmem_default, and iptables-nft-restore 1.8.9 says `Message too long` at some 300 rules. There a text is cut
into several transactions: the rules are the same in the end, but do not all appear at one moment.
"""

from __future__ import annotations

import socket

_SO_SNDBUFFORCE = 32
"""asm-generic/socket.h; Python's socket module does not name it."""
_ROOM = 32 * 1024 * 1024
_BYTES_OF_A_RULE = 700
"""In a netlink message: a comment alone takes 256 bytes (struct xt_comment_info)."""
_BYTES_OF_A_CHAIN = 100


def send_capacity() -> int | None:
    """Return how many bytes a netlink socket of ours can send at once; None where there is no such limit."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        held = probe.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        try:
            probe.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _ROOM)
        except PermissionError:
            return held * 3 // 4
    return None


def message_bytes(text: str) -> int:
    """Return at least how many bytes a text has in netlink messages; all of its tables together."""
    return sum(_bytes(line) for line in text.splitlines())


def in_pieces(text: str, capacity: int) -> str:
    """Return the text with each table's block cut into blocks that fit, in the same order.

    Chains come before rules in a block, so each piece only names chains that a piece before it has made.
    """
    cut: list[str] = []
    table, waiting, size = "", list[str](), 0
    for line in text.splitlines():
        if line.startswith("*"):
            table = line
            continue
        wanted = _bytes(line)
        if line == "COMMIT" or (waiting and size + wanted > capacity):
            if waiting or not cut or not cut[-1].startswith(f"{table}\n"):
                cut.append("\n".join([table, *waiting, "COMMIT\n"]))
            waiting, size = [], 0
        if line != "COMMIT":
            waiting.append(line)
            size += wanted
    return "".join(cut)


def jumps_last(before: str, text: str) -> str:
    """Return the blocks that make jumps, to be run after `text`: without the chains that it has filled by then.

    Once a base chain leads to them, the kernel walks all of a table's rules at each transaction (nft_table_validate in
    net/netfilter/nf_tables_api.c); with hundreds of pieces that would be most of the time.
    """
    filled: set[tuple[str, str]] = set()
    table = ""
    for line in text.splitlines():
        table = line if line.startswith("*") else table
        if line.startswith(":"):
            filled.add((table, line))
    kept = []
    for line in before.splitlines():
        table = line if line.startswith("*") else table
        if (table, line) not in filled:
            kept.append(f"{line}\n")
    return "".join(kept)


def _bytes(line: str) -> int:
    return _BYTES_OF_A_RULE if line.startswith("-") else _BYTES_OF_A_CHAIN
