"""`LEFT OP RIGHT` of an nft rule asked about a packet, with the two values that differ where it does not hold."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from kplab.model.journey import Lookup
from kplab.model.nft import (
    Binary,
    Compare,
    Concat,
    Constant,
    Ct,
    Elements,
    Expression,
    Fib,
    Meta,
    NftSet,
    Payload,
    Prefix,
    Range,
    SetName,
    Value,
)
from kplab.trace.match_outcome import MET, Outcome, Unknowable, Unmet
from kplab.trace.matching import Probe
from kplab.trace.nft_lookup import Asked, ask, covers
from kplab.trace.nft_values import Got, Missing, bits, number, value_of, words

_ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

Answered = tuple[Outcome, Lookup | None]


def compare(asked: Compare, sets: Mapping[str, NftSet], probe: Probe) -> Answered:
    """Return whether it holds, and the lookup that it made if it asked a set."""
    left, right = asked.left, asked.right
    if asked.op in ("==", "!=") and isinstance(right, SetName | Elements):
        return _in_set(asked, ask(left, right, sets, probe), right)
    if isinstance(left, Concat):
        return Unknowable(f"`{words(left)} {asked.op} {words(right)}` is not understood"), None
    own = value_of(left, probe)
    if isinstance(own, Missing):
        return Unmet(own.reason), None
    if not isinstance(own, Got):
        return Unknowable(own.reason), None
    return _against(asked, own.value, probe), None


def _in_set(asked: Compare, found: Asked, right: SetName | Elements) -> Answered:
    named = found.lookup if isinstance(right, SetName) else None
    if found.missing:
        return Unmet(found.missing), named
    if found.open:
        return Unknowable(found.open), named
    if (found.element is not None) is (asked.op == "=="):
        return MET, named
    own = found.lookup.key.rpartition(" = ")[2]
    if isinstance(right, Elements):
        wanted = words(right)
        inside = f"{_name(asked.left)} {own} is one of {wanted}"
        outside = f"{_name(asked.left)} {own} is none of {wanted}"
    else:
        held = f"{found.lookup.elements} element{'' if found.lookup.elements == 1 else 's'}"
        inside = f"set {right.name} holds {own}"
        outside = f"set {right.name} ({held}) does not hold {own}"
    return Unmet(f"{inside} (the rule wants any other)" if found.element is not None else outside), named


def _against(asked: Compare, own: Value, probe: Probe) -> Outcome:
    right = asked.right
    holds: bool | None
    if isinstance(right, Prefix | Range):
        holds = covers(right, own)
    elif asked.op == "in" or isinstance(right, Elements):
        holds = _has_bits(own, right)
    else:
        wanted = value_of(right, probe)
        if isinstance(wanted, Missing):
            return Unmet(wanted.reason)
        if not isinstance(wanted, Got):
            return Unknowable(wanted.reason)
        holds = _ordered(asked.op, own, wanted.value) if asked.op in _ORDER else _same(asked.left, own, wanted.value)
    if holds is None:
        return Unknowable(f"`{words(asked.left)} {asked.op} {words(right)}` is not understood")
    if holds is not (asked.op == "!="):
        return MET
    return Unmet(_reason(asked, own))


def _same(left: Expression, own: Value, wanted: Value) -> bool:
    value = number(left, wanted)
    if isinstance(own, int) and isinstance(value, str):
        return own == bits(value)
    return covers(Constant(value), own)


def _ordered(op: str, own: Value, wanted: Value) -> bool | None:
    if not isinstance(own, int) or not isinstance(wanted, int):
        return None
    return _ORDER[op](own, wanted)


def _has_bits(own: Value, right: Expression) -> bool | None:
    """Say whether one of the bits is set: `ct state established,related`."""
    names = [element.key[0] for element in right] if isinstance(right, Elements) else [right]
    mask = 0
    for name in names:
        bit = bits(name.value) if isinstance(name, Constant) else None
        if bit is None:
            return None
        mask |= bit
    value = bits(own)
    return None if value is None else bool(value & mask)


def _name(left: Expression) -> str:
    """Return what the left side is called in a reason."""
    if isinstance(left, Payload):
        return {"saddr": "source", "daddr": "destination"}.get(left.field, left.field)
    if isinstance(left, Meta):
        return {"l4proto": "proto", "iifname": "in interface", "oifname": "out interface"}.get(left.key, left.key)
    return words(left)


def _reason(asked: Compare, own: Value) -> str:
    left, right, op = asked.left, asked.right, asked.op
    if isinstance(left, Binary) and left.op == "&" and isinstance(own, int) and right == Constant(0):
        masked = f"{_name(left.left)} {'lacks' if op == '!=' else 'has'} {_number(left.right)}"
        return masked if op == "!=" else f"{masked} (the rule wants it without)"
    if isinstance(left, Ct) and left.key == "status" and isinstance(own, int):
        return f"ct status {own:#x} lacks {_listed(right)}"
    if isinstance(right, Prefix):
        side = "inside" if op == "!=" else "outside"
        wants = " (the rule wants outside)" if op == "!=" else ""
        return f"{_name(left)} {own} is {side} {right.network}{wants}"
    if isinstance(left, Fib):
        side = "source" if "saddr" in left.flags else "destination"
        return f"the {side} is {own} to this node, not {_listed(right)}" if op != "!=" else f"the {side} is {own}"
    shown = f"{own:#x}" if isinstance(left, Meta) and left.key == "mark" and isinstance(own, int) else str(own)
    if op == "!=":
        return f"{_name(left)} is {shown} (the rule wants any other)"
    sign = "" if op in ("==", "in") else f"{op} "
    return f"{_name(left)} is {shown}, not {sign}{_listed(right)}"


def _number(expression: Expression) -> str:
    known = isinstance(expression, Constant) and isinstance(expression.value, int)
    return f"{expression.value:#x}" if known and isinstance(expression, Constant) else words(expression)


def _listed(right: Expression) -> str:
    if isinstance(right, Elements):
        return ",".join(words(element.key[0]) for element in right)
    return words(right)
