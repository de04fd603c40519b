"""`-m set`: an ipset asked for a packet: the key as the kernel puts it together, and the member that holds it.

The types are those that kube-proxy uses, hash:* and bitmap:* (pkg/proxy/ipvs/ipset/types.go).
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from kplab.model.journey import Lookup
from kplab.model.packet import Headers
from kplab.model.ruleset import IpSet, Rule, SetMatch
from kplab.trace.match_outcome import MET, Outcome, Unknowable, Unmet
from kplab.trace.match_state import NodeView

_KINDS = ("hash", "bitmap")
_COLUMNS = frozenset({"ip", "port", "net"})


def ip_set(match: SetMatch, headers: Headers, node: NodeView) -> Outcome:
    """`-m set --match-set NAME dst,dst`."""
    found = node.sets.get(match.name)
    if found is None:
        return Unknowable(f"set {match.name} was not read")
    columns = _columns(found)
    if columns is None:
        return Unknowable(f"a set of type {found.type} is not understood")
    key = _key(found, columns, match, headers)
    member = _member(found, columns, key) if key is not None else None
    if (member is not None) is not match.inverted:
        return MET
    shown = ",".join(key) if key is not None else f"{headers.proto} without a port"
    return Unmet(f"set {match.name} {'holds' if match.inverted else 'does not hold'} {shown}")


def set_lookup(rule: Rule, headers: Headers, node: NodeView) -> Lookup | None:
    """Return what a rule that matched found in the first set that it asks for; None where it asks for none.

    A rule that wants a packet NOT to be in a set found nothing there, and has no member to show.
    """
    for match in rule.matches:
        found = node.sets.get(match.name) if isinstance(match, SetMatch) else None
        if not isinstance(match, SetMatch) or found is None or match.inverted:
            continue
        columns = _columns(found)
        key = _key(found, columns, match, headers) if columns else None
        if columns is None or key is None:
            continue
        names = [f"{direction} {column}" for column, direction in zip(columns, match.directions, strict=False)]
        return Lookup(
            map=match.name,
            key=f"{' . '.join(names)} = {' . '.join(key)}",
            element=_member(found, columns, key),
            elements=len(found.members),
        )
    return None


def _columns(found: IpSet) -> list[str] | None:
    """Return what a set's type is made of; None for a type that we have no model of."""
    kind, _, dimensions = found.type.partition(":")
    columns = dimensions.split(",")
    return columns if kind in _KINDS and set(columns) <= _COLUMNS else None


def _key(found: IpSet, columns: list[str], match: SetMatch, headers: Headers) -> list[str] | None:
    """Build the key that the kernel looks up, in ipset's spelling; None where the packet has no port."""
    key = []
    for column, direction in zip(columns, match.directions, strict=False):
        if column != "port":
            key.append(headers.src if direction == "src" else headers.dst)
            continue
        number = headers.sport if direction == "src" else headers.dport
        if number is None:
            return None
        key.append(str(number) if found.type.startswith("bitmap") else f"{headers.proto}:{number}")
    return key


def _member(found: IpSet, columns: list[str], key: list[str]) -> str | None:
    """Return the member that holds a key, as ipset prints it; of networks the narrowest, and none in a hole."""
    if "net" not in columns:
        whole = ",".join(key)
        return whole if whole in found.members else None
    covers = ((_covered(member, columns, key), member) for member in found.members)
    length, member = max(covers, default=(-1, ""))
    hole = max((_covered(member, columns, key) for member in found.excepted), default=-1)
    return member if length >= max(hole, 0) else None


def _covered(member: str, columns: list[str], key: list[str]) -> int:
    """Return the length of the prefixes by which a member covers a key; -1 when it does not."""
    length = 0
    for column, wanted, own in zip(columns, member.split(","), key, strict=False):
        if column != "net":
            if wanted != own:
                return -1
            continue
        try:
            network = ip_network(wanted)
        except ValueError:
            return -1
        if ip_address(own) not in network:
            return -1
        length += network.prefixlen
    return length
