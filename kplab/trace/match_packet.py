"""Matches that ask about the packet itself: addresses, interfaces, protocol, ports, flags, ICMP types."""

from __future__ import annotations

from kplab.model.packet import Headers
from kplab.model.ruleset import AddressMatch, IcmpMatch, InterfaceMatch, PortMatch, ProtocolMatch, TcpFlagsMatch
from kplab.trace.match_outcome import MET, Outcome, Unmet


def address(match: AddressMatch, headers: Headers, source: int, destination: int) -> Outcome:
    """`-s`, `-d`; `source` and `destination` are the packet's addresses as numbers."""
    network = match.network
    number = source if match.side == "source" else destination
    inside = number & int(network.netmask) == int(network.network_address)
    if inside is not match.inverted and network.version == headers.family:
        return MET
    return Unmet(_address_reason(match, headers))


def _address_reason(match: AddressMatch, headers: Headers) -> str:
    own = headers.src if match.side == "source" else headers.dst
    network = match.network
    if network.version != headers.family:
        return f"{match.side} {own} is not of IPv{network.version}"
    if network.prefixlen == network.max_prefixlen:
        short = "src" if match.side == "source" else "dst"
        wanted = network.network_address
        return f"{short} is {own} (the rule wants any other)" if match.inverted else f"{short} is {own}, not {wanted}"
    if match.inverted:
        return f"{match.side} {own} is inside {network} (the rule wants outside)"
    return f"{match.side} {own} is outside {network}"


def interface(match: InterfaceMatch, device: str | None) -> Outcome:
    """`-i`, `-o`; at a hook without such a device the kernel compares with an empty name."""
    name = device or ""
    same = name.startswith(match.name[:-1]) if match.name.endswith("+") else name == match.name
    if same is not match.inverted:
        return MET
    side = f"{match.side} interface"
    if match.inverted:
        return Unmet(f"{side} is {name} (the rule wants any other than {match.name})")
    return Unmet(
        f"{side} is {name}, not {match.name}" if name else f"there is no {side} here; the rule wants {match.name}"
    )


def protocol(match: ProtocolMatch, headers: Headers) -> Outcome:
    """`-p`."""
    if (headers.proto == match.protocol) is not match.inverted:
        return MET
    wanted = f"(the rule wants any other than {match.protocol})" if match.inverted else f"not {match.protocol}"
    return Unmet(f"proto is {headers.proto}{' ' if match.inverted else ', '}{wanted}")


def _ports(ranges: tuple[tuple[int, int], ...]) -> str:
    return ",".join(str(low) if low == high else f"{low}:{high}" for low, high in ranges)


def port(match: PortMatch, headers: Headers) -> Outcome:
    """Ports of tcp, udp, sctp and multiport; a fragment other than the first has none, and never matches."""
    if headers.sport is None or headers.dport is None:
        return Unmet("a fragment has no ports" if headers.fragment else f"{headers.proto} has no ports here")
    if match.side == "source":
        asked: tuple[int, ...] = (headers.sport,)
    elif match.side == "destination":
        asked = (headers.dport,)
    else:
        asked = (headers.sport, headers.dport)
    inside = any(low <= number <= high for number in asked for low, high in match.ranges)
    if inside is not match.inverted:
        return MET
    name = {"source": "sport", "destination": "dport", "either": "port"}[match.side]
    own = " or ".join(str(number) for number in asked)
    if match.inverted:
        return Unmet(f"{name} is {own} (the rule wants any other than {_ports(match.ranges)})")
    one_of = "" if len(match.ranges) == 1 and match.ranges[0][0] == match.ranges[0][1] else "one of "
    return Unmet(f"{name} is {own}, not {one_of}{_ports(match.ranges)}")


def tcp_flags(match: TcpFlagsMatch, headers: Headers) -> Outcome:
    """`--tcp-flags MASK SET`: of the flags in MASK, exactly those in SET are on."""
    if headers.flags is None:
        return Unmet("a fragment has no TCP flags" if headers.fragment else f"{headers.proto} has no TCP flags")
    on = {flag for flag in headers.flags if flag in match.mask}
    if (on == set(match.set)) is not match.inverted:
        return MET
    wanted = f"{match.set or 'none'} of {match.mask}"
    own = headers.flags or "none"
    return Unmet(
        f"flags are {own} (the rule wants other than {wanted})" if match.inverted else f"flags are {own}, not {wanted}"
    )


def icmp(match: IcmpMatch, headers: Headers) -> Outcome:
    """`--icmp-type`, `--icmpv6-type`; "any" matches every type but no fragment."""
    if headers.icmp_type is None:
        return Unmet("a fragment has no ICMP type" if headers.fragment else f"{headers.proto} has no ICMP type")
    same = match.type is None or (
        headers.icmp_type == match.type and (match.code is None or headers.icmp_code == match.code)
    )
    if same is not match.inverted:
        return MET
    own = f"{headers.icmp_type}/{headers.icmp_code}"
    wanted = "any" if match.type is None else str(match.type) if match.code is None else f"{match.type}/{match.code}"
    return Unmet(
        f"icmp type is {own} (the rule wants any other)" if match.inverted else f"icmp type is {own}, not {wanted}"
    )
