"""One visit of a base chain -> its hops: a hop for each rule that matched, and one for each chain that ended."""

from __future__ import annotations

from kplab.errors import UsageError
from kplab.model.journey import Hop
from kplab.model.packet import Headers
from kplab.model.ruleset import AddressMatch, Ruleset
from kplab.trace.events import LegacyTrace, NftTrace
from kplab.trace.explain_rules import Tried, chain_sentence, rule_sentence, service_of
from kplab.trace.lives import Visit, messages_of
from kplab.trace.match_set import set_lookup
from kplab.trace.matching import Probe
from kplab.trace.place import Place, Told
from kplab.trace.recording import Backend
from kplab.trace.segment_hop import segment_hop
from kplab.trace.story import ct_at, flow_of
from kplab.trace.tell_nft import nft_table_of, tell_nft_visit
from kplab.trace.walk import Segment, Walk, walk
from kplab.trace.walk_hits import hit_of


def tell_visit(place: Place, visit: Visit, mark: int, after: Headers | None = None) -> Told:
    """Tell one visit; `mark` is the packet's on entry, `after` are its headers as they were seen next."""
    table = nft_table_of(place, visit)
    if table is not None:
        return tell_nft_visit(place, visit, mark, table, after)
    ruleset = _ruleset(place, visit)
    if ruleset is None or ruleset.chain(visit.table, visit.chain) is None:
        return _told_without_rules(place, visit, mark)
    said = ct_at(place.life, visit, place.assumed)
    first = messages_of(visit)[0]
    probe = Probe(
        headers=visit.headers,
        mark=mark,
        iif=first.iif,
        oif=first.oif,
        ct_state=said.state,
        ct_status=said.status,
        bridged=False,
        node=place.story.view(place.life.node),
    )
    told = walk(ruleset, visit.table, visit.chain, probe, [hit_of(what, ruleset) for what in messages_of(visit)])
    return _told(place, visit, told)


def _ruleset(place: Place, visit: Visit) -> Ruleset | None:
    """Return the chains that the packet entered or was sent to, as iptables-save showed them."""
    backend: Backend = "legacy" if visit.legacy else "nft"
    rules = place.story.rules(place.life.node, visit.headers.family, backend) if visit.family in ("ip", "ip6") else None
    if rules is None:
        return None
    messages = messages_of(visit)
    sent = [what.verdict.partition(" ")[2] for what in messages if isinstance(what, NftTrace)]
    names = frozenset(name for name in (visit.chain, *(what.chain for what in messages), *sent) if name)
    try:
        return rules.ruleset(visit.table, names)
    except UsageError:
        return None


def _told(place: Place, visit: Visit, walked: Walk) -> Told:
    hops: list[Hop] = []
    path: list[str] = []
    for segment in walked.segments:
        path = [*path[: segment.depth], segment.chain]
        caller = path[segment.depth - 1] if segment.depth else None
        hops.append(_hop(place, visit, segment, caller))
    unfinished = None
    if walked.unfinished:
        unfinished = f"in {place.life.node}, table {visit.table}, {walked.unfinished}"
    return Told(hops, walked.verdict, walked.mark_after, unfinished)


def _hop(place: Place, visit: Visit, segment: Segment, caller: str | None) -> Hop:
    rule = segment.matched
    over = len(segment.skipped)
    lookup = set_lookup(rule, visit.headers, place.story.view(place.life.node)) if rule is not None else None
    if rule is not None:
        text = rule_sentence(
            Tried(
                rule=rule,
                table=visit.table,
                passed_over=over,
                verdict=segment.verdict,
                headers=visit.headers,
                mark_before=segment.mark_before,
                mark_after=segment.mark_after,
                hook=visit.hook,
                lookup=lookup,
            )
        )
    else:
        nearest = _nearest(segment, visit.headers)
        text = chain_sentence(segment.chain, segment.verdict, segment.tried, over, caller, nearest)
    service = service_of(rule) if rule else None
    return segment_hop(place, visit, segment, text, matched=rule is not None, service=service, lookup=lookup)


def _nearest(segment: Segment, headers: Headers) -> str | None:
    """Return why a rule for this one destination address was passed over, if one was."""
    whole = 32 if headers.family == 4 else 128
    for skipped in segment.skipped:
        for match in skipped.rule.matches:
            if not isinstance(match, AddressMatch) or match.side != "destination" or match.inverted:
                continue
            if match.network.prefixlen == whole and str(match.network.network_address) == headers.dst:
                return skipped.reason
    return None


def _told_without_rules(place: Place, visit: Visit, mark: int) -> Told:
    """Tell what the trace alone says of a chain whose rules were not read; the story is then not complete."""
    hops = []
    verdict: str | None = None
    for event, what in zip(visit.events, messages_of(visit), strict=True):
        word = what.verdict if isinstance(what, NftTrace) else ""
        before, mark = mark, what.mark
        if isinstance(what, NftTrace) and what.kind == "rule" and what.handle is not None:
            label = f"the rule with handle {what.handle} matched ({word})"
        elif isinstance(what, LegacyTrace) and what.kind == "rule":
            label = f"rule {what.number} matched"
        elif what.kind == "policy":
            label, word = f"its policy decides: {word.upper() or 'unknown'}", f"policy {word}"
        else:
            continue
        final = word.split()[-1] if word else ""
        verdict = word if final in ("accept", "drop") else verdict
        hops.append(
            Hop(
                n=0,
                node=place.life.node,
                kind="chain" if what.kind == "policy" else "rule",
                direction=place.direction,
                packet=place.number,
                hook=visit.hook,
                table=visit.table,
                chain=what.chain,
                rule_number=what.number if isinstance(what, LegacyTrace) and what.kind == "rule" else None,
                verdict=word or None,
                before=flow_of(visit.headers, before),
                after=flow_of(visit.headers, mark),
                evidence="seen",
                text=f"{what.chain} of table {visit.table}: {label}; the rules of this chain were not read.",
                stamp=event.stamp,
                events=(event.n,),
            )
        )
    unread = f"in {place.life.node}, the rules of {visit.chain} (table {visit.table}) were not read" if hops else None
    return Told(hops, verdict, mark, unread)
