"""The sentence of every hop but a rule's: what happened, to whom, and what it means.

Written for an engineer who meets this for the first time, so each says what readers commonly get wrong: that only
a connection's first packet sees the nat table, that the answer is turned back by conntrack and not by a rule,
and at which hook that happens.
"""

from __future__ import annotations

from kplab.model.journey import Flow
from kplab.model.packet import Headers
from kplab.trace.entries import Entry, ends_of_tuple, flow_of_ends, is_rewritten
from kplab.trace.events import Hook
from kplab.trace.identity import is_error
from kplab.trace.routes import Route

_FLAGS = {"S": "SYN", "SA": "SYN-ACK", "A": "ACK", "R": "RST", "RA": "RST", "FA": "FIN", "F": "FIN"}
_ICMP = {
    (8, 0): "ICMP echo request", (0, 0): "ICMP echo reply", (3, 0): "ICMP network unreachable",
    (3, 1): "ICMP host unreachable", (3, 2): "ICMP protocol unreachable", (3, 3): "ICMP port unreachable",
    (3, 4): "ICMP fragmentation needed", (3, 13): "ICMP administratively prohibited", (11, 0): "ICMP time exceeded",
    (5, 0): "ICMP redirect", (5, 1): "ICMP redirect",
}  # fmt: skip
_ICMPV6 = {
    (128, 0): "ICMPv6 echo request", (129, 0): "ICMPv6 echo reply", (1, 0): "ICMPv6 no route",
    (1, 1): "ICMPv6 administratively prohibited", (1, 3): "ICMPv6 address unreachable",
    (1, 4): "ICMPv6 port unreachable", (2, 0): "ICMPv6 packet too big", (3, 0): "ICMPv6 time exceeded",
}  # fmt: skip

_HOOKS: dict[Hook, str] = {
    "PREROUTING": "every packet that comes in from a link, before the route is chosen",
    "INPUT": "packets for this node itself",
    "FORWARD": "packets that pass through, with the route chosen",
    "OUTPUT": "packets that the node's own processes send",
    "POSTROUTING": "every packet that is about to leave",
}


def what_is(headers: Headers) -> str:
    """Return what a packet is, in a few words: "TCP SYN", "UDP datagram", "ICMP port unreachable"."""
    if headers.flags is not None:
        size = f" with data ({headers.length} bytes)" if "P" in headers.flags else ""
        name = _FLAGS.get(headers.flags.replace("P", "").replace("E", "").replace("C", ""), headers.flags)
        return f"TCP {name}{size}"
    if headers.icmp_type is not None:
        kinds, proto = (_ICMP, "ICMP") if headers.proto == "icmp" else (_ICMPV6, "ICMPv6")
        code = headers.icmp_code or 0
        return kinds.get((headers.icmp_type, code), f"{proto} type {headers.icmp_type} code {code}")
    if headers.fragment:
        return f"{headers.proto} fragment"
    return {"udp": "UDP datagram", "sctp": "SCTP packet", "tcp": "TCP segment"}.get(
        headers.proto, f"packet of protocol {headers.proto}"
    )


def a(thing: str) -> str:
    """Return the thing with its article: "a TCP SYN", "an ICMP echo request"."""
    return f"an {thing}" if thing.startswith("I") else f"a {thing}"


def refused_by_kernel(node: str, error: str) -> str:
    """Return the sentence of a packet that never left its sender's kernel."""
    return f"{node}'s own kernel refused to send it: {error}."


def kept_inside(node: str, destination: str) -> str:
    """Return the sentence of a packet to the sender's own address, in a namespace that nobody traces."""
    return f"{destination} is an address of {node} itself: the packet stays inside, where kplab does not watch."


def sent(node: str, headers: Headers, flow: Flow, *, by_lab: bool) -> str:
    """Return the sentence of a packet's start."""
    who = (
        f"the lab sends {a(what_is(headers))} from {node}" if by_lab else f"{node}'s kernel sends {a(what_is(headers))}"
    )
    return f"{who}: {flow.src} → {flow.dst}."


def replied(node: str, headers: Headers, flow: Flow, asked: Flow | None) -> str:
    """Return the sentence of an answer's start; `asked` is what the sender wrote on its packet."""
    why = ""
    if asked is not None and asked.dst != flow.src:
        why = f" The packet reached it as one to {flow.src}, so it answers from there, and not from {asked.dst}."
    return f"{node} answers with {a(what_is(headers))}: {flow.src} → {flow.dst}.{why}"


def complained(node: str, headers: Headers, flow: Flow, quoted: Flow | None) -> str:
    """Return the sentence of an ICMP error's start; `quoted` is the packet that it is about."""
    about = f"; it quotes the packet that it is about, {quoted.src} → {quoted.dst}" if quoted else ""
    return f"{node} sends {a(what_is(headers))} from {flow.src} to {flow.dst}{about}."


def linked(start: tuple[str, str], end: tuple[str, str]) -> str:
    """Return the sentence of a link crossed."""
    return f"out of {start[0]}'s {start[1]}, and in at {end[0]}'s {end[1]}."


def looped(node: str) -> str:
    """Return the sentence of the loopback interface."""
    return f"through {node}'s loopback interface: it never leaves the node."


def seen_by_tables(tables: list[str]) -> str:
    """Say which of iptables' tables have chains at a hook that see the packet."""
    if not tables:
        return "no rule is tried here"
    if len(tables) == 1:
        return f"the chain of {tables[0]} sees it"
    return f"the chains of {_listed(tables)} see it"


def seen_by_chains(chains: list[tuple[str, str]]) -> str:
    """Say which base chains of nf_tables' own see the packet, by priority; `chains` are pairs of table and chain."""
    tables = dict.fromkeys(table for table, _ in chains)
    if len(tables) == 1:
        names = [chain for _, chain in chains]
        word, see = ("chain", "sees") if len(names) == 1 else ("chains", "see")
        return f"the {word} {_listed(names)} (table {chains[0][0]}) {see} it"
    return f"the chains {_listed([f'{chain} ({table})' for table, chain in chains])} see it"


def hooked(
    hook: Hook, seen: str, state: str | None, entry: Entry | None, interfaces: str, *, nat: bool, passing: bool = False
) -> str:
    """Return the sentence of a hook reached; `seen` names the chains there, `nat` says whether one is of type nat.

    `passing`: a packet of somebody else's at OUTPUT, which IPVS sends on.
    """
    who = "packets that the node sends, which this one now is: IPVS sends it on" if passing else _HOOKS[hook]
    text = f"{hook}, {who}{interfaces}: {seen}"
    if nat or hook == "FORWARD" or state in (None, "new", "untracked", "invalid"):
        return f"{text}."
    which = f"entry {entry.id}" if entry is not None and entry.id is not None else "the entry"
    if state == "related":
        return f"{text}. nat is not consulted: conntrack relates the packet to {which}, and NAT follows that entry."
    return (
        f"{text}. nat is not consulted: only a connection's first packet sees its rules, and conntrack already holds "
        f"{which} for this one."
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def translated(side: str, before: Flow, after: Flow, *, by_rule: bool, entry: Entry | None) -> str:
    """Return the sentence of DNAT or SNAT on a request; `side` is "destination" or "source"."""
    old, new = (before.dst, after.dst) if side == "destination" else (before.src, after.src)
    name = "DNAT" if side == "destination" else "SNAT"
    if by_rule:
        return (
            f"{name}: the {side} {old} becomes {new}; the rule chose it for the first packet, and conntrack will do "
            "the same to every later one of this connection."
        )
    which = f" in entry {entry.id}" if entry is not None and entry.id is not None else ""
    return f"{name}: the {side} {old} becomes {new}; no rule was asked, conntrack has kept the choice{which}."


def reversed_nat(hook: Hook, before: Flow, after: Flow, entry: Entry | None) -> str:
    """Return the sentence of an answer's address turned back."""
    parts = []
    if before.src != after.src:
        parts.append(f"the source {before.src} becomes {after.src} again, the address that was asked (DNAT undone)")
    if before.dst != after.dst:
        parts.append(f"the destination {before.dst} becomes {after.dst} again, who really asked (SNAT undone)")
    which = f"conntrack entry {entry.id}" if entry is not None and entry.id is not None else "conntrack"
    return f"reverse NAT at {hook}: {'; '.join(parts)}. {which} does it; no rule is involved."


def confirmed(entry: Entry, hook: Hook, state: str | None) -> str:
    """Return the sentence of a new conntrack entry."""
    original, reply = flow_of_ends(ends_of_tuple(entry.original)), flow_of_ends(ends_of_tuple(entry.reply))
    name = f"entry {entry.id}" if entry.id is not None else "an entry"
    start = f"conntrack: {name} is confirmed at the end of {hook}, now that the packet has passed every rule"
    start += f" (state {state})" if state else ""
    if is_rewritten(entry):
        return (
            f"{start}. It holds both sides of the NAT: {original.src} → {original.dst} as asked, and "
            f"{reply.src} → {reply.dst} as the answer will come."
        )
    return f"{start}: {original.src} → {original.dst}, without NAT."


def removed(entry: Entry) -> str:
    """Return the sentence of a conntrack entry that a RST took away before the connection stood."""
    name = f"entry {entry.id}" if entry.id is not None else "the entry"
    return f"conntrack: {name} is taken away at once: the connection was refused before it stood."


def updated(entry: Entry, state: str | None, *, assured: bool) -> str:
    """Return the sentence of a conntrack entry that a packet changed."""
    name = f"entry {entry.id}" if entry.id is not None else "the entry"
    to = f" is now {state}" if state else " has seen the answer"
    return (
        f"conntrack: {name}{to}{', and assured: it is not thrown out early when the table is full' if assured else ''}."
    )


def routed(destination: str, route: Route | None, oif: str | None, *, local: bool, again: bool) -> str:
    """Return the sentence of a route chosen; `again`: after OUTPUT rewrote the destination."""
    start = f"{'routed again, for the new destination' if again else 'route'}: {destination}"
    if local:
        return f"{start} is one of this node's own addresses, so the packet stays here."
    if route is None:
        return f"{start} leaves by {oif}." if oif else f"{start} has no route."
    if route.kind != "unicast":
        return f"{start} meets the route `{route.line}`, which refuses it."
    way = f"to the next hop {route.via}" if route.via else "straight on to its link"
    return f"{start} takes `{route.line}`, {way}, out of {route.device}."


def delivered(node: str, headers: Headers, flow: Flow, *, served: str | None, asked: Flow | None) -> str:
    """Return the sentence of a packet that arrived; `asked` is set for an answer that reached the first sender."""
    if asked is not None:
        if is_error(headers):
            return (
                f"delivered: {node} gets the {what_is(headers)}; it quotes {node}'s own packet, "
                "which tells it whom to fail."
            )
        same = (
            "the very address that it asked" if flow.src == asked.dst else f"and not from {asked.dst}, which it asked"
        )
        return f"delivered: {node} gets the {what_is(headers)} from {flow.src}, {same}."
    if served is not None:
        return f"delivered to {node}: its server on {flow.dst} took it, and saw {served} as its peer."
    return f"delivered to {node}: {flow.src} → {flow.dst}. It sees {flow.src} as its peer."


def stopped(node: str, where: str, *, rejected: bool) -> str:
    """Return the sentence of a packet's end by a rule or a policy."""
    if rejected:
        return f"rejected in {node} by {where}; an answer that says so goes back to the sender."
    return f"dropped in {node} by {where}; nobody is told, so the sender waits in vain."


def unroutable(node: str, destination: str) -> str:
    """Return the sentence of a packet that routing ended."""
    return f"dropped in {node} by routing: after PREROUTING no hook saw the packet to {destination} any more."


def redirect_withheld(node: str) -> str:
    """Return the sentence of an ICMP redirect that NAT drops (nf_nat_icmp_reply_translation in nf_nat_core.c)."""
    return (
        f"dropped in {node} by NAT itself: a redirect about a translated connection is never let out, for the two ends "
        "would then talk past the translation."
    )


def unanswered_neighbour(node: str, interface: str | None) -> str:
    """Return the sentence of a packet that passed every hook and was not seen on the link."""
    where = f" on {interface}" if interface else ""
    return (
        f"lost in {node}: it passed every hook, and no frame of it was seen{where}; so it goes when the next hop does "
        "not answer ARP or neighbour discovery."
    )


def given_up(node: str, destination: str, complaint: str) -> str:
    """Return the sentence of a packet that a router gave up, and said so."""
    why = "its TTL is used up" if "time exceeded" in complaint else f"no way on to {destination}"
    return f"given up in {node}: {why}; it says so with {a(complaint)}."


def nobodys(node: str, destination: str) -> str:
    """Return the sentence of a packet that came to a namespace that is neither its destination nor a way on."""
    return f"lost in {node}: {destination} is none of its addresses, and it sent the packet nowhere."
