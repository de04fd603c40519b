"""What an nft expression is worth for a packet: known, hidden from us, or missing in the packet.

A missing one ends the rule without a match (NFT_BREAK): a port of a fragment, a conntrack status without an entry
(nft_payload_eval, nft_ct_get_eval in net/netfilter).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kplab.model.nft import (
    Binary,
    Concat,
    Constant,
    Ct,
    Elements,
    Expression,
    Fib,
    MapValue,
    Meta,
    NotUnderstood,
    Numgen,
    Payload,
    Prefix,
    Range,
    SetName,
    Value,
)
from kplab.trace.match_state import address_kind
from kplab.trace.matching import Probe


@dataclass(frozen=True, slots=True)
class Got:
    """The value is known."""

    value: Value


@dataclass(frozen=True, slots=True)
class Hidden:
    """It has one, and we do not know it; `reason` says why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The packet has no such thing, so the rule does not match."""

    reason: str


Answer = Got | Hidden | Missing

BITS = {
    "invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64,
    "expected": 1, "seen-reply": 2, "assured": 4, "confirmed": 8, "snat": 16, "dnat": 32, "dying": 512,
    "fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128,
}  # fmt: skip
"""Names of bits: ct state, ct status, tcp flags (nft's src/ct.c and src/proto.c)."""

_PROTOCOLS = {"icmpv6": "ipv6-icmp", "47": "gre", "50": "esp", "51": "ah", "2": "igmp", "136": "udplite", "33": "dccp"}
_ICMP = {
    "echo-reply": 0, "destination-unreachable": 3, "redirect": 5, "echo-request": 8, "time-exceeded": 11,
    "parameter-problem": 12,
}  # fmt: skip
_ICMPV6 = {
    "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
    "echo-request": 128, "echo-reply": 129,
}  # fmt: skip
_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}


def value_of(expression: Expression, probe: Probe) -> Answer:
    """Return what a single-valued expression is worth; concatenations and maps are `nft_lookup`'s."""
    if isinstance(expression, Constant):
        return Got(expression.value)
    if isinstance(expression, Payload):
        return _payload(expression, probe)
    if isinstance(expression, Meta):
        return _meta(expression.key, probe)
    if isinstance(expression, Ct):
        return _ct(expression.key, probe)
    if isinstance(expression, Fib):
        return _fib(expression, probe)
    if isinstance(expression, Binary):
        return _binary(expression, probe)
    if isinstance(expression, Numgen):
        return Hidden(f"the draw: {words(expression)}")
    return Hidden(f"`{words(expression)}` is not understood")


def _payload(asked: Payload, probe: Probe) -> Answer:
    headers = probe.headers
    name = f"{asked.protocol} {asked.field}"
    if asked.protocol in ("ip", "ip6"):
        family = 4 if asked.protocol == "ip" else 6
        if headers.family != family:
            return Missing(f"it is an IPv{headers.family} packet")
        addresses = {"saddr": headers.src, "daddr": headers.dst, "protocol": protocol(headers.proto)}
        return Got(addresses[asked.field]) if asked.field in addresses else Hidden(f"{name} was not kept")
    if headers.fragment:
        return Missing("a fragment has no transport header")
    if asked.protocol not in ("th", headers.proto):
        return Missing(f"proto is {headers.proto}, not {asked.protocol}")
    if asked.field in ("sport", "dport"):
        port = headers.sport if asked.field == "sport" else headers.dport
        return Hidden(f"{headers.proto} has no ports; {name} reads other bytes") if port is None else Got(port)
    if name == "tcp flags" and headers.flags is not None:
        return Got(sum(_FLAGS.get(flag, 0) for flag in headers.flags))
    if asked.field in ("type", "code") and headers.icmp_type is not None:
        return Got(headers.icmp_type if asked.field == "type" else headers.icmp_code or 0)
    return Hidden(f"{name} was not kept")


def protocol(proto: str) -> Value:
    """Return nft's name of a protocol, "ipv6-icmp" for "icmpv6"; its number where it has none."""
    named = _PROTOCOLS.get(proto, proto)
    return int(named) if named.isdigit() else named


def _meta(key: str, probe: Probe) -> Answer:
    headers = probe.headers
    if key == "mark":
        return Got(probe.mark) if probe.mark_known else Hidden("the mark is not known")
    known: dict[str, Value] = {
        "l4proto": protocol(headers.proto),
        "nfproto": f"ipv{headers.family}",
        "protocol": "ip" if headers.family == 4 else "ip6",
        "iif": probe.iif or "",
        "iifname": probe.iif or "",
        "oif": probe.oif or "",
        "oifname": probe.oif or "",
    }
    return Got(known[key]) if key in known else Hidden(f"meta {key} was not kept")


def _ct(key: str, probe: Probe) -> Answer:
    if key == "state":
        return Got(probe.ct_state) if probe.ct_state is not None else Hidden("the conntrack state is not known")
    if probe.ct_state in ("invalid", "untracked"):
        return Missing(f"conntrack holds no entry for it, so it has no {key}")
    value = {"status": probe.ct_status, "mark": probe.ct_mark}.get(key)
    return Hidden(f"the conntrack {key} is not known") if value is None else Got(value)


def _fib(asked: Fib, probe: Probe) -> Answer:
    side = next((flag for flag in asked.flags if flag in ("saddr", "daddr")), None)
    if asked.result != "type" or side is None or len(asked.flags) != 1:
        return Hidden(f"`{words(asked)}` is not understood")
    kind = address_kind(probe.headers.src if side == "saddr" else probe.headers.dst, probe.node)
    return Hidden("the node's own addresses were not read") if kind is None else Got(kind.lower())


_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: (a << (b & 31)) & 0xFFFFFFFF,
    ">>": lambda a, b: a >> (b & 31),
}


def _binary(asked: Binary, probe: Probe) -> Answer:
    left, right = value_of(asked.left, probe), value_of(asked.right, probe)
    if not isinstance(left, Got) or not isinstance(right, Got):
        return left if not isinstance(left, Got) else right
    numbers = bits(left.value), bits(right.value)
    if numbers[0] is None or numbers[1] is None:
        return Hidden(f"`{words(asked)}` is not understood")
    return Got(_OPERATIONS[asked.op](numbers[0], numbers[1]))


def bits(value: Value) -> int | None:
    """Return a number, or the bit of that name."""
    return value if isinstance(value, int) else BITS.get(value)


def number(asked: Expression, value: Value) -> Value:
    """Return a constant as the packet's side has it: the number of an ICMP type given by name."""
    if isinstance(asked, Payload) and asked.field == "type" and isinstance(value, str):
        return (_ICMPV6 if asked.protocol == "icmpv6" else _ICMP).get(value, value)
    return value


def words(expression: Expression) -> str:
    """Return an expression as nft writes it."""
    if isinstance(expression, Constant):
        return str(expression.value)
    if isinstance(expression, Prefix):
        return str(expression.network)
    if isinstance(expression, Range):
        return f"{expression.low}-{expression.high}"
    if isinstance(expression, Payload):
        return f"{expression.protocol} {expression.field}"
    if isinstance(expression, Meta):
        return expression.key if expression.key.startswith(("iif", "oif")) else f"meta {expression.key}"
    if isinstance(expression, Ct):
        return f"ct {expression.key}"
    if isinstance(expression, Fib):
        return f"fib {' . '.join(expression.flags)} {expression.result}"
    if isinstance(expression, Numgen):
        return f"numgen {expression.mode} mod {expression.mod}"
    if isinstance(expression, Concat):
        return " . ".join(words(part) for part in expression.parts)
    if isinstance(expression, Binary):
        return f"{words(expression.left)} {expression.op} {words(expression.right)}"
    return _words_of_data(expression)


def _words_of_data(expression: SetName | MapValue | Elements | NotUnderstood) -> str:
    if isinstance(expression, SetName):
        return f"@{expression.name}"
    if isinstance(expression, MapValue):
        return f"{words(expression.key)} map {words(expression.data)}"
    if isinstance(expression, Elements):
        return "{ " + ", ".join(element.text for element in expression) + " }"
    return expression.text
