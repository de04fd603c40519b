"""Matches that ask about what the kernel keeps beside the packet: marks, conntrack, addresses, lists, sets, draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_address, ip_network

from kplab.model.packet import Headers
from kplab.model.ruleset import (
    AddrTypeMatch,
    ConnmarkMatch,
    CtStateMatch,
    IpSet,
    MarkMatch,
    Network,
    PhysdevMatch,
    RecentMatch,
    StatisticMatch,
)
from kplab.trace.match_outcome import MET, Outcome, Unknowable, Unmet

IPS_SRC_NAT = 1 << 4
IPS_DST_NAT = 1 << 5
"""Bits of a conntrack entry's status (linux/netfilter/nf_conntrack_common.h)."""

_ADDRESS_TYPES = frozenset({"LOCAL", "BROADCAST", "MULTICAST", "UNICAST"})
"""The types that we can tell; ANYCAST, BLACKHOLE and the like would need the kernel's route look-up."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """What rules ask about the node. Make one with `read`."""

    addresses: frozenset[str] = frozenset()
    """Local addresses as `ipaddress` prints them. Empty: nobody read them."""
    local: tuple[Network, ...] = ()
    """Networks that are local as a whole: 127.0.0.0/8, and every `local` route."""
    broadcast: frozenset[str] = frozenset()
    recent: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Addresses in each list of /proc/net/xt_recent."""
    sets: Mapping[str, IpSet] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        addresses: Iterable[str] = (),
        routes: Iterable[str] = (),
        recent: Iterable[tuple[str, str]] = (),
        sets: Mapping[str, IpSet] | None = None,
    ) -> NodeView:
        """Read a node's state: `routes` are lines of `ip route`, `recent` pairs of a list's name and its text.

        A line that is not what we expect is passed over: it then simply does not count as known.
        """
        local: list[Network] = [IPv4Network("127.0.0.0/8")]
        broadcast = {"255.255.255.255", "0.0.0.0"}  # noqa: S104 -- what the kernel counts as broadcast
        for route in routes:
            words = [*route.split(), "", ""]
            named = _network(words[1])
            if words[0] == "local" and named is not None:
                local.append(named)
            elif words[0] == "broadcast" and named is not None:
                broadcast.add(str(named.network_address))
            elif "kernel" in words and "link" in words and (on_link := _network(words[0])) is not None:
                broadcast |= {str(on_link.broadcast_address)} if on_link.version == 4 else set()
        return cls(
            addresses=frozenset(filter(None, (_address(address.partition("%")[0]) for address in addresses))),
            local=tuple(local),
            broadcast=frozenset(broadcast),
            recent={name: _recent_sources(text) for name, text in recent},
            sets=sets or {},
        )


def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _recent_sources(text: str) -> frozenset[str]:
    """Read "src=10.244.1.5 ttl: 64 last_seen: 4295 oldest_pkt: 1 4295" (net/netfilter/xt_recent.c), a line each."""
    words = (line.split(maxsplit=1)[0] for line in text.splitlines() if line.startswith("src="))
    return frozenset(filter(None, (_address(word.removeprefix("src=")) for word in words)))


def mark(match: MarkMatch | ConnmarkMatch, own: int | None) -> Outcome:
    """`-m mark`, `-m connmark`: (mark & mask) == value."""
    name = "mark" if isinstance(match, MarkMatch) else "conntrack mark"
    if own is None:
        return Unknowable(f"the {name} is not known")
    if (own & match.mask == match.value) is not match.inverted:
        return MET
    wanted = f"{match.value:#x}" if match.mask == 0xFFFFFFFF else f"{match.value:#x}/{match.mask:#x}"
    if match.inverted:
        return Unmet(f"{name} {own:#x} has {wanted} (the rule wants it without)")
    if match.value == match.mask:
        return Unmet(f"{name} {own:#x} lacks {wanted}")
    return Unmet(f"{name} is {own:#x}, not {wanted}")


def ct_state(match: CtStateMatch, state: str | None, status: int | None) -> Outcome:
    """`-m conntrack --ctstate`; SNAT and DNAT are bits of the entry's status (net/netfilter/xt_conntrack.c)."""
    if state is None:
        return Unknowable("the conntrack state is not known")
    own = {state.upper()}
    tracked = state not in ("invalid", "untracked")
    if tracked and status is not None:
        own |= {name for name, bit in (("SNAT", IPS_SRC_NAT), ("DNAT", IPS_DST_NAT)) if status & bit}
    holds = bool(own & match.states)
    if not holds and tracked and status is None and match.states & {"SNAT", "DNAT"}:
        return Unknowable("whether the connection is translated is not known")
    if holds is not match.inverted:
        return MET
    shown = ",".join([state.upper(), *sorted(own - {state.upper()})])
    wanted = ",".join(sorted(match.states, key=_state_order))
    if match.inverted:
        return Unmet(f"ctstate is {shown} (the rule wants none of {wanted})")
    return Unmet(f"ctstate is {shown}, not {wanted}")


def _state_order(state: str) -> int:
    """Order states as iptables-save prints them."""
    order = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")
    return order.index(state) if state in order else len(order)


def address_type(match: AddrTypeMatch, headers: Headers, node: NodeView) -> Outcome:
    """`-m addrtype`: what the node's local routing table says of an address (net/netfilter/xt_addrtype.c)."""
    own = headers.src if match.side == "source" else headers.dst
    if not node.addresses:
        return Unknowable("the node's own addresses were not read")
    kind = _type_of(own, node)
    if not match.types <= _ADDRESS_TYPES and kind not in match.types:
        return Unknowable(f"addrtype {','.join(sorted(match.types))} needs the kernel's route look-up")
    if (kind in match.types) is not match.inverted:
        return MET
    if match.types == {"LOCAL"}:
        is_or_not = "is local to this node (the rule wants others)" if match.inverted else "is not local to this node"
        return Unmet(f"addrtype: {own} {is_or_not}")
    wanted = ",".join(sorted(match.types))
    return Unmet(f"addrtype: {own} is {kind}" + (" (the rule wants others)" if match.inverted else f", not {wanted}"))


def address_kind(address: str, node: NodeView) -> str | None:
    """Return LOCAL, BROADCAST, MULTICAST or UNICAST for an address; None when the node's own were not read."""
    return _type_of(address, node) if node.addresses else None


def _type_of(address: str, node: NodeView) -> str:
    number = ip_address(address)
    if str(number) in node.addresses or any(number in network for network in node.local):
        return "LOCAL"
    if str(number) in node.broadcast:
        return "BROADCAST"
    return "MULTICAST" if number.is_multicast else "UNICAST"


def draw(match: StatisticMatch) -> Outcome:
    """`-m statistic`: only the kernel knows how a draw, or a counter, came out."""
    return Unknowable(f"the draw: {draw_words(match)}", f"the draw missed: {draw_words(match)}")


def draw_words(match: StatisticMatch) -> str:
    """Say what is drawn: "probability 0.333", "every 3rd packet" as "packet 0 of every 3"."""
    if match.mode == "random":
        return f"probability {match.probability or 0:.3g}"
    return f"packet {match.packet or 0} of every {match.every or 1}"


def recent(match: RecentMatch, headers: Headers, node: NodeView) -> Outcome:
    """`-m recent`: --set always matches; the others look an address up (net/netfilter/xt_recent.c)."""
    if match.check == "set":
        return Unmet("a recent --set always matches, and the rule wants it not to") if match.inverted else MET
    own = str(ip_address(headers.src if match.side == "source" else headers.dst))
    listed = node.recent.get(match.name)
    if listed is None:
        return Unknowable(f"the recent list {match.name} was not read")
    if own in listed and match.seconds is not None:
        aged = f"recent list {match.name} holds {own}, but not within {match.seconds} s"
        return Unknowable(f"recent list {match.name} holds {own}; whether within {match.seconds} s is not known", aged)
    if (own in listed) is not match.inverted:
        return MET
    return Unmet(f"recent list {match.name} {'holds' if match.inverted else 'does not hold'} {own}")


def physdev(match: PhysdevMatch, bridged: bool | None) -> Outcome:
    """`-m physdev`: a packet that no bridge brought matches inverted questions only (net/netfilter/xt_physdev.c)."""
    if bridged is not False:
        return Unknowable(f"whether a bridge brought the packet is not known (--{match.option})")
    return MET if match.inverted else Unmet(f"no bridge brought the packet (--{match.option})")
