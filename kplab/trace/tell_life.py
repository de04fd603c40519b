"""One packet's way through one node -> its hops: hooks, chains, NAT, the route, conntrack, its end if it ends there.

NAT is told by headers: what the next chain (or the link) saw differs from what this one saw. Where a nat rule of this
very visit chose it, it is DNAT or SNAT; where no nat chain was entered, conntrack did it by the entry that it holds.
In an answer that is reverse NAT. It happens at the hook where the request's other half happened (nf_nat_packet,
net/netfilter/nf_nat_core.c): an answer's destination is turned back before routing, its source after.
"""

from __future__ import annotations

import re
from typing import Any

from kplab.model.journey import Evidence, Flow, Hop, Kind
from kplab.model.packet import Headers
from kplab.trace import explain
from kplab.trace.entries import ASSURED, is_rewritten
from kplab.trace.events import Hook
from kplab.trace.lives import Visit, messages_of
from kplab.trace.paths import Crossing
from kplab.trace.place import Place, Told
from kplab.trace.routes import choose_route
from kplab.trace.story import ct_at, flow_of
from kplab.trace.tell_chain import tell_visit
from kplab.trace.tell_ipvs import bound, choice_of, nobody_to_choose, request_sentence, seen_choice, turned_back


class LifeTeller:
    """Tells one life; made for each anew."""

    def __init__(self, place: Place, onward: Crossing | None) -> None:
        """`onward` is the link that took the packet away, if one did."""
        self.place = place
        self.life = place.life
        self.onward = onward
        self.entry = place.story.entry_of(place.life.node, place.life)
        self.hops: list[Hop] = []
        self.mark = 0
        self.ended = False
        """Whether the packet ended here."""

    def tell(self) -> list[Hop]:
        """Return the hops."""
        hooks = self.life.hooks()
        if hooks[0] == "OUTPUT":
            self._route(self.life.visits[0], again=False)
        for place, hook in enumerate(hooks):
            self._hook(hook)
            if self.ended:
                return self.hops
            following = hooks[place + 1] if place + 1 < len(hooks) else None
            if following is None and self._refused_by_ipvs(hook):
                return self.hops
            self._between(hook, following)
        if hooks[-1] in ("INPUT", "POSTROUTING"):
            self._conntrack(hooks[-1])
        return self.hops

    def _hook(self, hook: Hook) -> None:
        visits = self.life.at(hook)
        self._reached(hook, visits)
        for visit in visits:
            if visit.lab:
                self._rewritten(visit, [])
                continue
            told = tell_visit(self.place, visit, self.mark, self._next_headers(visit))
            self.hops += told.hops
            self.mark = told.mark
            if told.unfinished:
                self.place.story.gaps.append(told.unfinished)
            if told.verdict and told.verdict.split()[-1] in ("drop", "reject"):
                self._stop(told)
                return
            self._rewritten(visit, told.hops)

    def _reached(self, hook: Hook, visits: list[Visit]) -> None:
        seeing = [visit for visit in visits if not visit.lab]
        first = visits[0]
        event = first.events[0]
        state = ct_at(self.life, visits[-1], self.place.assumed).state
        known = hook in ("PREROUTING", "OUTPUT") and state in ("established", "related")
        self.hops.append(
            self._make(
                "hook",
                flow_of(first.headers, self.mark),
                flow_of(first.headers, self.mark),
                "seen",
                explain.hooked(
                    hook,
                    _who_sees(seeing),
                    state,
                    self.entry,
                    self._interfaces(first),
                    nat=any(visit.is_nat for visit in seeing),
                    passing=hook == "OUTPUT" and not self.life.local,
                ),
                hook=hook,
                interface=self.life.iif if hook == "PREROUTING" else None,
                conntrack=self.entry.shown(None, "used") if known and self.entry else None,
                stamp=event.stamp,
                events=(event.n,),
            )
        )

    def _interfaces(self, visit: Visit) -> str:
        what = visit.events[0].what
        iif, oif = getattr(what, "iif", None), getattr(what, "oif", None)
        parts = [f"in by {iif}" if iif else "", f"out by {oif}" if oif else ""]
        named = ", ".join(part for part in parts if part)
        return f" ({named})" if named else ""

    def _rewritten(self, visit: Visit, told: list[Hop]) -> None:
        """Add a hop if the packet's addresses changed between this visit and what saw it next."""
        rule = next((hop for hop in reversed(told) if hop.rule is not None), None) if visit.is_nat else None
        before = flow_of(visit.headers, self.mark)
        seen = self._next_headers(visit)
        after = flow_of(seen, self.mark) if seen is not None else _promised(before, rule)
        if after is None or (before.src, before.dst) == (after.src, after.dst):
            return
        evidence: Evidence = "rebuilt" if seen is None else "seen"
        if self._balanced(visit, before, after):
            return
        if self.place.direction == "reply" and rule is None:
            text = explain.reversed_nat(visit.hook, before, after, self.entry)
            self._nat("reverse NAT", visit, before, after, evidence, text, None)
            return
        middle = Flow(before.src, after.dst, after.proto, after.mark)
        if before.dst != middle.dst:
            text = explain.translated("destination", before, middle, by_rule=rule is not None, entry=self.entry)
            self._nat("DNAT", visit, before, middle, evidence, text, rule)
        if middle.src != after.src:
            text = explain.translated("source", middle, after, by_rule=rule is not None, entry=self.entry)
            self._nat("SNAT", visit, middle, after, evidence, text, rule)

    def _balanced(self, visit: Visit, before: Flow, after: Flow) -> bool:
        """Add IPVS's hop, if it was IPVS that rewrote the packet; tell whether it was."""
        state = self.place.story.states.get(self.life.node)
        if self.place.direction == "reply":
            text = turned_back(state, visit.hook, before, after)
            if text is not None:
                self.hops.append(self._make("reverse NAT", before, after, "rebuilt", text, hook=visit.hook))
            return text is not None
        choice = choice_of(state, before, after) if state is not None else None
        if state is None or choice is None or before.src != after.src:
            return False
        first = self.place.number == 1
        event = seen_choice(self.place.story.recording.events, self.life.node, before, after) if first else None
        text = request_sentence(state, visit.hook, choice, before, first=first, seen=event is not None)
        evidence: Evidence = "rebuilt" if event is None else "seen"
        known = {} if event is None else {"stamp": event.stamp, "events": (event.n,)}
        self.hops.append(self._make("IPVS", before, after, evidence, text, hook=visit.hook, ipvs=choice, **known))
        return True

    def _refused_by_ipvs(self, hook: Hook) -> bool:
        """End the packet where IPVS had nobody to choose, and sent an ICMP error; tell whether it was so."""
        flow = flow_of(self.life.visits[-1].headers, self.mark)
        text = nobody_to_choose(self.place.story.states.get(self.life.node), hook, flow)
        complaint = self.place.story.complaint(self.life.node, self.place.number, self.place.direction)
        if text is None or complaint is None or self.place.direction == "reply":
            return False
        self.ended = True
        event = complaint.path.event
        self.hops.append(
            self._make("rejected", flow, flow, "seen", text, hook=hook, stamp=event.stamp, events=(event.n,))
        )
        return True

    def _next_headers(self, visit: Visit) -> Headers | None:
        """Return the headers as they were seen next: by the next chain, or on the link."""
        visits = self.life.visits
        place = next(i for i, each in enumerate(visits) if each is visit)
        if place + 1 < len(visits):
            return visits[place + 1].headers
        return self.onward.headers if self.onward is not None else None

    def _nat(
        self, kind: Kind, visit: Visit, before: Flow, after: Flow, evidence: Evidence, text: str, rule: Hop | None
    ) -> None:
        self.hops.append(
            self._make(
                kind,
                before,
                after,
                evidence,
                text,
                hook=visit.hook,
                table=rule.table if rule else None,
                chain=rule.chain if rule else None,
                rule=rule.rule if rule else None,
                rule_number=rule.rule_number if rule else None,
                tried=rule.tried if rule else 0,
                depth=rule.depth if rule else 0,
                service=rule.service if rule else None,
                conntrack=self.entry.shown(None, "used") if self.entry is not None and rule is None else None,
                stamp=rule.stamp if rule else None,
                events=rule.events if rule else (),
            )
        )

    def _between(self, hook: Hook, following: Hook | None) -> None:
        """Add what happens between two hooks, and after the last: the route, or an end that no rule made."""
        if hook == "PREROUTING":
            after = self.life.at(following)[0] if following else self.life.at(hook)[-1]
            self._route(after, again=False)
            if following is None:
                self._lost_in_routing(after.headers)
        elif hook == "INPUT" and following:
            self._route(self.life.at(following)[0], again=True)
        elif hook == "OUTPUT" and following and "INPUT" not in self.life.hooks():
            first, now = self.life.visits[0], self.life.at(following)[0]
            if first.headers.dst != now.headers.dst:
                self._route(now, again=True)
        if following is not None or hook not in ("FORWARD", "OUTPUT"):
            return
        last = self.life.visits[-1].headers
        if (last.proto, last.icmp_type) == ("icmp", 5) and self.entry is not None and is_rewritten(self.entry):
            self._end("modelled", last, explain.redirect_withheld(self.life.node))
        else:
            self.place.story.gaps.append(
                f"{self.life.node} took the packet through {hook}, and nothing says what came then"
            )

    def _route(self, seen: Visit, *, again: bool) -> None:
        """Add the route chosen; `seen` is the first visit after the choice, whose interfaces show what came of it."""
        state = self.place.story.states.get(self.life.node)
        headers, oif = seen.headers, messages_of(seen)[0].oif
        local = seen.hook == "INPUT" or oif == "lo"
        route = choose_route(state.routes, headers.dst) if state and not local else None
        disagreement = None
        if route is not None and oif is not None and route.kind == "unicast" and route.device != oif:
            disagreement = f"{self.life.node}: its routes lead out of {route.device}; the kernel chose {oif}."
        flow = flow_of(headers, self.mark)
        text = explain.routed(headers.dst, route, oif, local=local, again=again)
        if local and seen.hook != "OUTPUT":
            text += bound(state, headers.dst)
        device = route.device if route else oif
        self.hops.append(self._make("route", flow, flow, "rebuilt", text, interface=device, disagreement=disagreement))

    def _lost_in_routing(self, headers: Headers) -> None:
        """End a packet that passed PREROUTING and was seen no more."""
        complaint = self.place.story.complaint(self.life.node, self.place.number, self.place.direction)
        if complaint is None:
            self._end("modelled", headers, explain.unroutable(self.life.node, headers.dst))
            return
        self.ended = True
        flow, event = flow_of(headers, self.mark), complaint.path.event
        text = explain.given_up(self.life.node, headers.dst, explain.what_is(complaint.path.first))
        self.hops.append(self._make("rejected", flow, flow, "seen", text, stamp=event.stamp, events=(event.n,)))

    def _end(self, evidence: Evidence, headers: Headers, text: str) -> None:
        self.ended = True
        flow = flow_of(headers, self.mark)
        self.hops.append(self._make("dropped", flow, flow, evidence, text))

    def _conntrack(self, hook: Hook) -> None:
        """Add the entry's changes that this packet caused."""
        for event, change in self.place.story.changes.get(id(self.life), []):
            if self.entry is None:
                continue
            place = next(i for i, (each, _) in enumerate(self.entry.changes) if each is event)
            earlier = self.entry.changes[place - 1][1].status if place else 0
            assured = bool(change.status & ASSURED and not earlier & ASSURED)
            if change.change == "new":
                text = explain.confirmed(self.entry, hook, change.state)
            elif change.change == "destroy":
                text = explain.removed(self.entry)
            else:
                text = explain.updated(self.entry, change.state, assured=assured)
            flow = self._leaving()
            self.hops.append(
                self._make(
                    "conntrack",
                    flow,
                    flow,
                    "seen",
                    text,
                    hook=hook,
                    conntrack=self.entry.shown(change, change.change),
                    stamp=event.stamp,
                    events=(event.n,),
                )
            )

    def _leaving(self) -> Flow:
        """Return the packet's ends as it leaves the node."""
        last = self._next_headers(self.life.visits[-1]) or self.life.visits[-1].headers
        return flow_of(last, self.mark)

    def _stop(self, told: Told) -> None:
        """End the packet where a rule or a policy dropped or rejected it."""
        self.ended = True
        last = told.hops[-1]
        rejected = last.verdict == "reject"
        where = f"the policy of {last.chain}" if last.rule is None else f"{last.chain} rule {last.rule_number}"
        text = explain.stopped(self.life.node, f"{where} (table {last.table})", rejected=rejected)
        self.hops.append(
            self._make(
                "rejected" if rejected else "dropped",
                last.after,
                last.after,
                last.evidence,
                text,
                hook=last.hook,
                table=last.table,
                chain=last.chain,
                rule=last.rule,
                rule_number=last.rule_number,
                tried=last.tried,
                depth=last.depth,
                verdict=last.verdict,
                service=last.service,
                stamp=last.stamp,
                events=last.events,
            )
        )

    def _make(self, kind: Kind, before: Flow, after: Flow, evidence: Evidence, text: str, **fields: Any) -> Hop:
        return Hop(
            n=0,
            node=self.life.node,
            kind=kind,
            direction=self.place.direction,
            packet=self.place.number,
            before=before,
            after=after,
            evidence=evidence,
            text=text,
            **fields,
        )


def _who_sees(visits: list[Visit]) -> str:
    """Say which chains of a hook see the packet: by table where iptables wrote them, else by name."""
    own = [visit for visit in visits if visit.base is not None]
    tables = explain.seen_by_tables(list(dict.fromkeys(visit.table for visit in visits if visit.base is None)))
    if not own:
        return tables
    chains = explain.seen_by_chains([(f"{visit.family} {visit.table}", visit.chain) for visit in own])
    return chains if len(own) == len(visits) else f"{tables}, and {chains}"


def _promised(before: Flow, rule: Hop | None) -> Flow | None:
    """Return what a DNAT rule says that the packet becomes, where nobody saw it afterwards."""
    found = re.search(r"--to-destination (\S+)", rule.rule or "") if rule is not None else None
    return Flow(before.src, found.group(1), before.proto, before.mark) if found else None
