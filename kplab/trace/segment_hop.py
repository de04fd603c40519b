"""A segment of a walk -> its hop: the same fields, whether the rules are iptables' or nf_tables' own."""

from __future__ import annotations

from kplab.model.journey import Hop, Lookup, Skip
from kplab.trace.lives import Visit
from kplab.trace.nft_types import NftSegment
from kplab.trace.place import Place
from kplab.trace.story import flow_of
from kplab.trace.walk_types import Segment


def segment_hop(
    place: Place,
    visit: Visit,
    segment: Segment | NftSegment,
    text: str,
    *,
    matched: bool,
    service: str | None,
    lookup: Lookup | None,
    differences: tuple[str, ...] = (),
) -> Hop:
    """Return the hop of a segment; `matched` tells a rule's from a chain's end.

    `differences` are said besides those of the walk.
    """
    event = visit.events[segment.hit] if segment.hit is not None else None
    rule = segment.matched
    return Hop(
        n=0,
        node=place.life.node,
        kind="rule" if matched else "chain",
        direction=place.direction,
        packet=place.number,
        hook=visit.hook,
        table=visit.table,
        chain=segment.chain,
        rule=rule.text if rule else None,
        rule_number=rule.number if rule else None,
        tried=segment.tried,
        skipped=tuple(Skip(skipped.rule.text, skipped.reason) for skipped in segment.skipped),
        depth=segment.depth,
        verdict=segment.verdict,
        before=flow_of(visit.headers, segment.mark_before),
        after=flow_of(visit.headers, segment.mark_after),
        evidence=segment.evidence,
        text=text,
        disagreement=" ".join((*(each.text for each in segment.disagreements), *differences)) or None,
        stamp=event.stamp if event else None,
        events=(event.n,) if event else (),
        service=service,
        lookup=lookup,
    )
