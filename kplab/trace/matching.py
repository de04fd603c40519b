"""Whether a rule matches a packet, and if not, the first thing in it that does not.

`try_rule` asks a rule's matches in the order in which the kernel tries them. An answer is `Met`, `Unmet` with the
two values that differ, or `Unknowable`: a draw of `-m statistic` that only the kernel knows, a match that we have no
model of, or state of the node that nobody read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import assert_never

from kplab.model.packet import Headers
from kplab.model.ruleset import (
    AddressMatch,
    AddrTypeMatch,
    CommentMatch,
    ConnmarkMatch,
    CtStateMatch,
    IcmpMatch,
    InterfaceMatch,
    MarkMatch,
    Match,
    NfacctMatch,
    NotUnderstood,
    PhysdevMatch,
    PortMatch,
    ProtocolMatch,
    RecentMatch,
    Rule,
    SetMatch,
    StatisticMatch,
    TcpFlagsMatch,
)
from kplab.trace import match_packet, match_state
from kplab.trace.match_outcome import MET, Met, Outcome, Unknowable, Unmet
from kplab.trace.match_set import ip_set
from kplab.trace.match_state import NodeView

__all__ = ["MET", "Met", "NodeView", "Outcome", "Probe", "Unknowable", "Unmet", "try_match", "try_rule"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A packet at one hook, with everything that a rule may ask about it."""

    headers: Headers
    mark: int = 0
    mark_known: bool = True
    """False after the mark was taken from a conntrack entry whose mark we do not know."""
    iif: str | None = None
    """The device that it came in by; None where the hook has none (OUTPUT, and POSTROUTING of the node's own)."""
    oif: str | None = None
    ct_state: str | None = None
    """"new", "established", "related", "invalid", "untracked"; None when nobody said."""
    ct_status: int | None = None
    """IPS_* bits; of these rules ask for IPS_SRC_NAT (1 << 4) and IPS_DST_NAT (1 << 5)."""
    ct_mark: int | None = None
    bridged: bool | None = None
    """Whether a bridge brought it (what -m physdev asks); None when nobody said."""
    node: NodeView = field(default_factory=NodeView)
    source: int = field(init=False, repr=False, compare=False, default=0)
    """The source address as a number, worked out once."""
    destination: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", int(ip_address(self.headers.src)))
        object.__setattr__(self, "destination", int(ip_address(self.headers.dst)))


def try_rule(rule: Rule, probe: Probe) -> Outcome:
    """Return what the rule makes of the packet.

    One `Unmet` is enough, whatever a draw before it would have said: `Unknowable` only comes back when all
    that can be known holds.
    """
    unknowable: Unknowable | None = None
    for match in rule.matches:
        outcome = try_match(match, probe)
        if outcome is MET:
            continue
        if isinstance(outcome, Unmet):
            return outcome
        if isinstance(outcome, Unknowable) and unknowable is None:
            unknowable = outcome
    return MET if unknowable is None else unknowable


def try_match(match: Match, probe: Probe) -> Outcome:
    """Return what one match makes of the packet. The commonest kinds are asked for first."""
    if isinstance(match, AddressMatch):
        return match_packet.address(match, probe.headers, probe.source, probe.destination)
    if isinstance(match, CommentMatch | NfacctMatch):
        return MET
    if isinstance(match, ProtocolMatch):
        return match_packet.protocol(match, probe.headers)
    if isinstance(match, PortMatch):
        return match_packet.port(match, probe.headers)
    if isinstance(match, MarkMatch):
        return match_state.mark(match, probe.mark if probe.mark_known else None)
    if isinstance(match, ConnmarkMatch):
        return match_state.mark(match, probe.ct_mark)
    if isinstance(match, CtStateMatch):
        return match_state.ct_state(match, probe.ct_state, probe.ct_status)
    if isinstance(match, InterfaceMatch):
        return match_packet.interface(match, probe.iif if match.side == "in" else probe.oif)
    if isinstance(match, AddrTypeMatch):
        return match_state.address_type(match, probe.headers, probe.node)
    if isinstance(match, StatisticMatch):
        return match_state.draw(match)
    if isinstance(match, RecentMatch):
        return match_state.recent(match, probe.headers, probe.node)
    if isinstance(match, SetMatch):
        return ip_set(match, probe.headers, probe.node)
    if isinstance(match, TcpFlagsMatch):
        return match_packet.tcp_flags(match, probe.headers)
    if isinstance(match, IcmpMatch):
        return match_packet.icmp(match, probe.headers)
    if isinstance(match, PhysdevMatch):
        return match_state.physdev(match, probe.bridged)
    if isinstance(match, NotUnderstood):
        return Unknowable(f"`{match.text}` is not understood")
    assert_never(match)
