"""The walk: which lines each hop adds, grouped by the table and hook in which they were tried."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from kplab.model.journey import Hop
from kplab.scene.frame import Walk, WalkLine
from kplab.scene.lookups import answer_of, counted, lookup_line
from kplab.scene.schedule import SHOWN_SKIPS, ends_with_line, is_folded
from kplab.scene.short import fold_words, shorten

ANY = "any packet"
"""What a rule without a condition asks for."""


@dataclass(frozen=True, slots=True)
class Section:
    """All lines of one table at one hook for one packet, and where each hop's lines begin."""

    node: str
    hook: str | None
    table: str | None
    lines: tuple[WalkLine, ...]
    paths: tuple[tuple[str, ...], ...]
    """For each line, the chains on the way to it."""


@dataclass(frozen=True, slots=True)
class WalkSpan:
    """A hop's lines: `first` to `first + count` of section `section`. A hop without rules has `count` 0."""

    section: int
    first: int
    count: int
    inside: bool
    """Whether the packet is in that section's table at this hop."""


def repeated_rules(hops: tuple[Hop, ...]) -> frozenset[int]:
    """Return the hops (0-based) that tell of the very rule that the hop before told of: a DNAT after its rule."""
    return frozenset(
        i
        for i, (before, hop) in enumerate(pairwise(hops), start=1)
        if hop.rule is not None and hop.kind != "lookup" and not hop.skipped and _rule_key(before) == _rule_key(hop)
    )


def _rule_key(hop: Hop) -> tuple[object, ...]:
    return (hop.packet, hop.direction, hop.node, hop.table, hop.chain, hop.rule_number, hop.rule)


def fold_sections(hops: tuple[Hop, ...], repeated: frozenset[int]) -> tuple[tuple[Section, ...], tuple[WalkSpan, ...]]:
    """Return the journey's walks and each hop's part in them."""
    sections: list[tuple[tuple[object, ...], list[WalkLine], list[tuple[str, ...]], Hop]] = []
    spans: list[WalkSpan] = []
    path: list[str] = []
    for index, hop in enumerate(hops):
        lines = hop_lines(hop, repeats=index in repeated)
        if not lines:
            inside = bool(sections) and index in repeated
            spans.append(WalkSpan(len(sections) - 1, len(sections[-1][1]) if sections else 0, 0, inside))
            continue
        key = (hop.packet, hop.direction, hop.node, hop.hook, hop.table)
        if not sections or sections[-1][0] != key or (hop.depth == 0 and path and path[0] != hop.chain):
            sections.append((key, [], [], hop))
            path = []
        path = [*path[: hop.depth], hop.chain or "?"]
        spans.append(WalkSpan(len(sections) - 1, len(sections[-1][1]), len(lines), inside=True))
        sections[-1][1].extend(lines)
        sections[-1][2].extend([tuple(path)] * len(lines))
    finished = tuple(Section(h.node, h.hook, h.table, tuple(ls), tuple(ps)) for _, ls, ps, h in sections)
    return finished, tuple(spans)


def hop_lines(hop: Hop, *, repeats: bool = False) -> tuple[WalkLine, ...]:
    """Return the lines that a hop adds: skipped rules (folded after the third), then its own rule or end."""
    own = ends_with_line(hop) and not repeats
    before = max(hop.tried - len(hop.skipped) - (1 if hop.rule is not None else 0), 0)
    lines = skip_lines(hop, before)
    if own:
        lines.append(_own_line(hop))
    return tuple(lines)


def skip_lines(hop: Hop, before: int) -> list[WalkLine]:
    """Return a hop's skipped rules as lines; `before` rules of the chain had been tried earlier."""
    shown = hop.skipped[:SHOWN_SKIPS] if is_folded(len(hop.skipped)) else hop.skipped
    chain = hop.chain or "?"
    lines = [
        WalkLine(
            "skip", chain, hop.depth, before + i, shorten(skip.rule).condition or ANY, skip.reason,
            before + i, "rebuilt", full=skip.rule,
        )
        for i, skip in enumerate(shown, start=1)
    ]  # fmt: skip
    hidden = hop.skipped[len(shown) :]
    if hidden:
        first = before + len(shown) + 1
        tried = before + len(hop.skipped)
        lines.append(
            WalkLine(
                "fold", chain, hop.depth, first, f"{len(hidden):,} more", fold_words(hidden), tried, "rebuilt",
                count=len(hidden), hidden=hidden,
            )
        )  # fmt: skip
    return lines


def unfold(line: WalkLine) -> tuple[WalkLine, ...]:
    """Return a fold's rules, one line each."""
    first = line.number or 1
    return tuple(
        WalkLine(
            "skip", line.chain, line.depth, first + i, shorten(skip.rule).condition or ANY, skip.reason,
            first + i, "rebuilt", full=skip.rule,
        )
        for i, skip in enumerate(line.hidden)
    )  # fmt: skip


def _own_line(hop: Hop) -> WalkLine:
    chain = hop.chain or "?"
    if hop.kind == "lookup" and hop.lookup is not None:
        return lookup_line(hop, hop.lookup)
    if hop.rule is None:
        verdict = hop.verdict or "end"
        if hop.lookup is not None:
            verdict = f"{verdict}; {hop.lookup.map} has no such element" if hop.lookup.element is None else verdict
        return WalkLine(
            "end", chain, hop.depth, None, f"end of {chain}", verdict, hop.tried, hop.evidence,
            disagreement=hop.disagreement,
        )  # fmt: skip
    short = shorten(hop.rule)
    action = short.action
    if hop.lookup is not None:
        led = answer_of(hop.lookup) if " : " in (hop.lookup.element or "") else action
        action = f"{led} ({counted(hop.lookup)})"
    number = hop.rule_number if hop.rule_number is not None else hop.tried or None
    return WalkLine(
        "match", chain, hop.depth, number, short.condition or ANY, action, hop.tried,
        hop.evidence, full=hop.rule, disagreement=hop.disagreement,
    )  # fmt: skip


def walk_at(section: Section, shown: int, *, running: bool, fold_done: float = 1.0) -> Walk:
    """Return a section's first `shown` lines as a walk; `fold_done` (0 to 1) is how far a last fold has counted."""
    lines = section.lines[:shown]
    if lines and lines[-1].mark == "fold" and fold_done < 1.0:
        lines = (*lines[:-1], _partial(lines[-1], fold_done))
    tried = sum(1 if line.mark in {"skip", "match"} else line.count for line in lines)
    path = section.paths[shown - 1] if shown else ()
    return Walk(section.node, section.hook, section.table, path, lines, tried, running)


def _partial(line: WalkLine, done: float) -> WalkLine:
    count = max(1, int(line.count * done))
    return replace(
        line, rule=f"{count:,} more", count=count, tried=line.tried - line.count + count, hidden=line.hidden[:count]
    )
