"""A journey as lines of text: what `kplab trace` prints, and what a screen reader reads.

One line a hop: number, namespace, what, evidence, sentence. Rules that were passed over are folded to a
count with the first three, unless `unfold`.
"""

from __future__ import annotations

from collections.abc import Iterator

from kplab.model.journey import Hop, Journey

SHOWN_SKIPS = 3


def journey_lines(journey: Journey, *, unfold: bool = False) -> Iterator[str]:
    """Yield the journey line by line; `unfold` shows every rule that was tried and passed over."""
    tables = f" (iptables-{journey.backend})" if journey.mode in ("iptables", "ipvs", "userspace") else ""
    yield f"{journey.packet}   from {journey.sender}, mode {journey.mode}{tables}"
    packet = 0
    direction = ""
    for hop in journey.hops:
        if (hop.packet, hop.direction) != (packet, direction):
            packet, direction = hop.packet, hop.direction
            yield ""
            yield f"packet {packet}, {direction}"
        yield from hop_lines(hop, unfold=unfold)
    yield ""
    yield f"outcome: {journey.outcome}"
    for finding in journey.findings:
        yield f"FOUND: {finding}"
    if not journey.complete:
        yield f"INCOMPLETE: {journey.incomplete_because or 'the story ends where it should not'}"
    if journey.lost:
        count = "an unknown number of" if journey.lost < 0 else str(journey.lost)
        yield f"LOST: {count} events"
    for disagreement in journey.disagreements:
        yield f"MODEL AND KERNEL DISAGREE: {disagreement}"


def hop_lines(hop: Hop, *, unfold: bool = False) -> Iterator[str]:
    """Yield one hop: a line, then the rules that were passed over, then what changed."""
    shown = hop.skipped if unfold else hop.skipped[:SHOWN_SKIPS]
    indent = " " * 6 + "  " * hop.depth
    for skip in shown:
        yield f"{indent}not: {skip.rule}"
        yield f"{indent}     because {skip.reason}"
    if len(hop.skipped) > len(shown):
        yield f"{indent}… and {len(hop.skipped) - len(shown)} more rules that did not match"
    where = " ".join(part for part in (hop.table, hop.chain) if part) or (hop.hook or "")
    yield f"{hop.n:>4}  {hop.node:<14} {hop.kind:<11} {where:<34} [{hop.evidence}]"
    yield f"      {hop.text}"
    if hop.rule:
        yield f"{indent}rule {hop.rule_number}, after {max(hop.tried - 1, 0)} that did not match: {hop.rule}"
    if hop.before != hop.after:
        yield f"      {hop.before.src} → {hop.before.dst}   becomes   {hop.after.src} → {hop.after.dst}{_mark(hop)}"
    if hop.conntrack:
        yield f"      conntrack {hop.conntrack.change}: {hop.conntrack.line}"
    if hop.disagreement:
        yield f"      MODEL AND KERNEL DISAGREE: {hop.disagreement}"


def _mark(hop: Hop) -> str:
    if hop.before.mark == hop.after.mark:
        return ""
    return f", mark {hop.before.mark:#x} → {hop.after.mark:#x}"
