"""Large transactions for nft where the kernel takes small messages only.

nft sends a transaction as one netlink message, and makes room for it by SO_SNDBUFFORCE, which the kernel grants to
CAP_NET_ADMIN of its first user namespace only. Elsewhere a message has net.core.wmem_default (212,992 bytes), and
nft 1.0.6 says `Message too long` from some 150 Services on. There a text is written in several transactions.

They come in an order in which a packet never meets half a Service: whatever refers to a thing comes after it, a
Service's chains are emptied and filled in one piece where they fit, and base chains, which let packets in, come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

_OF_A_LINE = 100
_OF_A_RULE = 300
"""Besides twice the text: an expression's attributes, an anonymous map's own message."""


def message_bytes(lines: Iterable[str]) -> int:
    """Return about how many bytes lines of `nft -f` have in netlink messages: rather too many."""
    return sum(_bytes(line) for line in lines)


def in_pieces(text: str, capacity: int) -> list[str]:
    """Return texts that fit, each to be one transaction, in the order in which to write them."""
    lines = text.splitlines()
    if message_bytes(lines) <= capacity:
        return [text]
    first, last = _base_chains_last(lines)
    return ["\n".join([*piece, ""]) for piece in (*_cut(first, capacity), *_cut(last, capacity))]


def halves(text: str) -> tuple[str, str] | None:
    """Return a text as two, cut after a Service if there is such a place; None for a single line."""
    lines = text.splitlines()
    if len(lines) < 2:
        return None
    middle = len(lines) // 2
    ends = [number for number in range(1, len(lines)) if _may_cut(lines[number - 1], lines[number])]
    at = min(ends, key=lambda number: abs(number - middle)) if ends else middle
    return "\n".join([*lines[:at], ""]), "\n".join([*lines[at:], ""])


def _base_chains_last(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part what concerns chains with a hook from all else; neither part refers to the other's later lines."""
    hooked = {line.split(" ", 5)[4] for line in lines if line.startswith("add chain ") and " hook " in line}
    first: list[str] = []
    last: list[str] = []
    for line in lines:
        words = line.split(" ", 5)
        base = words[1] in ("chain", "rule") and words[4] in hooked
        (last if base else first).append(line)
    return first, last


def _cut(lines: Sequence[str], capacity: int) -> Iterator[list[str]]:
    waiting: list[str] = []
    size = 0
    for group in _groups(lines):
        wanted = message_bytes(group)
        if waiting and size + wanted > capacity:
            yield waiting
            waiting, size = [], 0
        if wanted <= capacity:
            waiting += group
            size += wanted
            continue
        for line in group:
            if waiting and size + _bytes(line) > capacity:
                yield waiting
                waiting, size = [], 0
            waiting.append(line)
            size += _bytes(line)
    if waiting:
        yield waiting


def _groups(lines: Sequence[str]) -> Iterator[list[str]]:
    """Lines that should stay together: a Service's begin after the rules of the one before."""
    group: list[str] = []
    for line in lines:
        if group and _may_cut(group[-1], line):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def _may_cut(before: str, after: str) -> bool:
    """Between one Service's rules and what comes next, and between deletions."""
    rules_end = before.startswith("add rule ") and not after.startswith("add rule ")
    return rules_end or after.startswith("delete ")


def _bytes(line: str) -> int:
    return _OF_A_LINE + 2 * len(line) + (_OF_A_RULE if line.startswith("add rule ") else 0)
