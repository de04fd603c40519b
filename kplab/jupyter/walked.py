"""One chain's rules as a packet tried them: what `j.walk("KUBE-SERVICES")` returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from kplab.errors import UnknownNameError
from kplab.model.journey import Hop

SHOWN = 3
"""Rules that did not match and are shown before the rest is counted."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A rule that was tried."""

    number: int | None
    """1-based, in its chain; None where the kernel does not number them."""
    rule: str
    matched: bool
    because: str
    """Why it did not match; for one that did, what it then said: "jump KUBE-SVC-…"."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One visit of a chain. Shows itself folded; `rules` has every rule."""

    chain: str
    table: str
    node: str
    hook: str
    packet: int
    rules: tuple[Tried, ...]

    def __len__(self) -> int:
        return len(self.rules)

    def __iter__(self) -> Iterator[Tried]:
        return iter(self.rules)

    @property
    def title(self) -> str:
        """Where it was, and how many rules were tried."""
        count = f"{len(self.rules)} rule{'' if len(self.rules) == 1 else 's'} tried"
        return f"{self.node}, {self.hook}, {self.table} {self.chain}: {count}"

    def __repr__(self) -> str:
        lines = [self.title]
        for tried, hidden in _folded(self.rules):
            if tried is None:
                lines.append(f"       … {hidden} more rules that did not match")
                continue
            number = "" if tried.number is None else str(tried.number)
            lines.append(f"{number:>4} {'✓' if tried.matched else '✗'} {tried.rule}")
            lines.append(f"       {tried.because}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for tried, hidden in _folded(self.rules):
            if tried is None:
                rows.append(f'<tr><td colspan="4" style="text-align:left">… {hidden} more did not match</td></tr>')
                continue
            cells = (str(tried.number or ""), "✓" if tried.matched else "✗", tried.rule, tried.because)
            weight = ' style="font-weight:bold"' if tried.matched else ""
            inner = "".join(f'<td style="text-align:left"><code>{escape(cell)}</code></td>' for cell in cells)
            rows.append(f"<tr{weight}>{inner}</tr>")
        head = "".join(f'<th style="text-align:left">{name}</th>' for name in ("#", "", "rule", "because"))
        return f"<div><b>{escape(self.title)}</b><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def walk_of(hops: Iterable[Hop], chain: str, node: str | None, packet: int | None) -> Walk:
    """Return the first visit of a chain, on `node` and by packet number `packet` if they are given.

    Raises:
        UnknownNameError: no packet came there; the hint lists the chains that were walked.
    """
    told = [hop for hop in hops if hop.chain and hop.kind in ("rule", "chain", "lookup")]
    mine = [
        hop
        for hop in told
        if hop.chain == chain and (node is None or hop.node == node) and (packet is None or hop.packet == packet)
    ]
    if not mine:
        known = ", ".join(dict.fromkeys(str(hop.chain) for hop in told)) or "none"
        where = f" on {node}" if node else ""
        by = f"packet {packet}" if packet else "no packet"
        happened = f"{by} walked it{where}" if not packet else f"{by} did not walk it{where}"
        raise UnknownNameError(f"show the walk through {chain!r}", happened, f"Chains that were walked: {known}")
    first = mine[0]
    visit = [hop for hop in mine if _visit(hop) == _visit(first)]
    return Walk(
        chain, first.table or "", first.node, first.hook or "", first.packet, tuple(t for h in visit for t in _tried(h))
    )


def _visit(hop: Hop) -> tuple[object, ...]:
    return (hop.packet, hop.direction, hop.node, hop.hook, hop.table)


def _tried(hop: Hop) -> Iterator[Tried]:
    before = max(hop.tried - len(hop.skipped) - (hop.rule is not None), 0)
    for number, skip in enumerate(hop.skipped, before + 1):
        yield Tried(number, skip.rule, False, skip.reason)
    if hop.rule is not None:
        yield Tried(hop.rule_number, hop.rule, True, hop.verdict or hop.text)


def _folded(rules: tuple[Tried, ...]) -> Iterator[tuple[Tried | None, int]]:
    """Yield rules to show; None with a count stands for those that did not match, behind the third in a row."""
    run = 0
    hidden = 0
    for index, tried in enumerate(rules):
        run = 0 if tried.matched else run + 1
        last = index + 1 == len(rules) or rules[index + 1].matched
        if run <= SHOWN or (run == SHOWN + 1 and last):
            yield tried, 0
            continue
        hidden += 1
        if last:
            yield None, hidden
            hidden = 0
