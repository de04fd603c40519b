"""One visit of a base chain of nf_tables' own -> its hops: a hop for each rule that matched, one for each chain's end.

A rule that asks a map or a set is a "rule" hop with its `lookup` filled, and so is the "chain" hop of a chain whose
last rule found no element; there is no hop of kind "lookup" beside them.
"""

from __future__ import annotations

from msgspec.structs import replace

from kplab.model.journey import Hop
from kplab.model.nft import Nat, NftTable
from kplab.model.packet import Headers
from kplab.trace.events import LegacyTrace, NftTrace
from kplab.trace.explain_nft import NftTried, nft_chain_sentence, nft_rule_sentence, nft_service_of
from kplab.trace.lives import Visit, messages_of
from kplab.trace.matching import Probe
from kplab.trace.nft_types import NftSegment
from kplab.trace.nft_walk import walk_nft
from kplab.trace.place import Place, Told
from kplab.trace.segment_hop import segment_hop
from kplab.trace.story import ct_at, flow_of
from kplab.trace.walk_types import Hit


def nft_table_of(place: Place, visit: Visit) -> NftTable | None:
    """Return the visit's table as nft listed it, if it holds the visit's chain."""
    ruleset = place.story.nft(place.life.node)
    table = ruleset.table(visit.family, visit.table) if ruleset else None
    return table if table is not None and visit.chain in table.chains else None


def tell_nft_visit(place: Place, visit: Visit, mark: int, table: NftTable, after: Headers | None) -> Told:
    """Tell one visit; `after` are the packet's headers as they were seen next, which show what DNAT chose."""
    said = ct_at(place.life, visit, place.assumed)
    messages = messages_of(visit)
    probe = Probe(
        headers=visit.headers,
        mark=mark,
        iif=messages[0].iif,
        oif=messages[0].oif,
        ct_state=said.state,
        ct_status=said.status,
        bridged=False,
        node=place.story.view(place.life.node),
    )
    walked = walk_nft(table, visit.chain, probe, [_hit_of(message, table) for message in messages])
    hops: list[Hop] = []
    path: list[str] = []
    for segment in walked.segments:
        path = [*path[: segment.depth], segment.chain]
        caller = path[segment.depth - 1] if segment.depth else None
        hop = _hop(place, visit, segment, caller, after)
        if hop.service is None and segment.chain == "reject-chain" and hops:
            hop = replace(hop, service=hops[-1].service)
        hops.append(hop)
    unfinished = f"in {place.life.node}, table {visit.table}, {walked.unfinished}" if walked.unfinished else None
    return Told(hops, walked.verdict, walked.mark_after, unfinished)


def _hit_of(message: NftTrace | LegacyTrace, table: NftTable) -> Hit:
    """Resolve a handle to its rule's number; one that the table does not hold stays without."""
    if isinstance(message, LegacyTrace):
        return Hit(message.chain, message.number, message.kind, "", message.mark)
    chain = table.chains.get(message.chain)
    rule = chain.by_handle(message.handle) if chain and message.handle is not None else None
    kind = message.kind
    if message.handle is None and kind == "rule" and message.verdict in ("continue", "return"):
        kind = "return"
    return Hit(message.chain, rule.number if rule else None, kind, message.verdict, message.mark, message.handle)


def _hop(place: Place, visit: Visit, segment: NftSegment, caller: str | None, after: Headers | None) -> Hop:
    rule = segment.matched
    return segment_hop(
        place,
        visit,
        segment,
        _text(visit, segment, caller, after),
        matched=segment.kind == "rule",
        service=nft_service_of(rule, segment.verdict, segment.lookup) if rule else None,
        lookup=segment.lookup,
        differences=_wrong_draw(visit, segment, after),
    )


def _text(visit: Visit, segment: NftSegment, caller: str | None, after: Headers | None) -> str:
    rule, over = segment.matched, len(segment.skipped)
    if rule is None and segment.kind == "rule":
        return f"{segment.chain}: a rule matched ({segment.verdict}) that it did not hold when its rules were read."
    if rule is None:
        last = segment.skipped[-1].reason if segment.skipped else None
        return nft_chain_sentence(segment.chain, segment.verdict, segment.tried, over, caller, last)
    return nft_rule_sentence(
        NftTried(
            rule=rule,
            table=visit.table,
            passed_over=over,
            verdict=segment.verdict,
            headers=visit.headers,
            mark_before=segment.mark_before,
            mark_after=segment.mark_after,
            lookup=segment.lookup,
            choice=segment.choice,
            chosen=_chosen(segment, after),
        )
    )


def _chosen(segment: NftSegment, after: Headers | None) -> str | None:
    """Return where DNAT sent the packet, as it was seen next."""
    if after is None or segment.matched is None:
        return None
    nat = any(isinstance(each, Nat) and each.kind in ("dnat", "redirect") for each in segment.matched.statements)
    return flow_of(after).dst if nat else None


def _wrong_draw(visit: Visit, segment: NftSegment, after: Headers | None) -> tuple[str, ...]:
    """Say so where the packet went on to an address that its rule does not give."""
    chosen = _chosen(segment, after)
    if chosen is None or segment.choice is None or not segment.choice.ways:
        return ()
    if chosen in {way for _, way in segment.choice.ways}:
        return ()
    return (
        f"{segment.chain}: the model says that the draw gives one of its addresses; the kernel sent it to {chosen}.",
    )
