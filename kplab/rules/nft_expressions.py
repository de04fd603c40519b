"""A rule's "expr" and a set's "elem" -> expressions and statements (libnftables-json(5)).

What is not of a form that we know becomes `NotUnderstood` with its JSON: reading never fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Literal, cast

from kplab.model.nft import (
    Binary,
    Compare,
    Concat,
    Constant,
    Ct,
    Element,
    Elements,
    Expression,
    Fib,
    MapValue,
    Meta,
    Nat,
    NotUnderstood,
    Numgen,
    Passive,
    Payload,
    Prefix,
    Range,
    Reject,
    SetField,
    SetName,
    Statement,
    Update,
    Value,
    Verdict,
    VerdictMap,
)
from kplab.rules.nft_text import element_text

_UNFIT = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)
"""What comes of JSON that has not the form that its name promises."""

_PASSIVE = frozenset({"counter", "log", "notrack", "comment", "quota_name", "secmark"})
_WORDS = ("accept", "drop", "continue", "return")
_OPERATORS = ("&", "|", "^", "<<", ">>")


def read_statements(raw: Any) -> tuple[Statement, ...]:
    """Read a rule's "expr"."""
    items = raw if isinstance(raw, list) else [raw]
    return tuple(_statement(item) for item in items)


def _statement(item: Any) -> Statement:
    try:
        ((name, body),) = item.items()
        return _read_statement(name, body)
    except _UNFIT:
        return _unknown(item)


def _read_statement(name: str, body: Any) -> Statement:
    verdict = _verdict({name: body})
    if verdict is not None:
        return verdict
    if name == "match":
        return Compare(_known(body["op"], ("==", "!=", "<", ">", "<=", ">=", "in")), *_sides(body))
    if name == "vmap":
        return VerdictMap(_expression(body["key"]), _data(body["data"]))
    if name == "reject":
        return Reject(_answer(body))
    if name == "mangle":
        return SetField(_expression(body["key"]), _expression(body["value"]))
    if name in ("dnat", "snat", "masquerade", "redirect"):
        return _nat(name, body or {})
    if name == "set":
        return Update(str(body["op"]), _expression(body["elem"]), str(body["set"]).removeprefix("@"))
    if name in _PASSIVE:
        return Passive(name)
    return _unknown({name: body})


def _sides(body: Any) -> tuple[Expression, Expression]:
    return _expression(body["left"]), _expression(body["right"])


def _known(word: str, words: tuple[str, ...]) -> str:
    if word not in words:
        raise ValueError(word)
    return word


def _answer(body: Any) -> str:
    """Return `icmp port-unreachable` or `tcp reset`."""
    if body is None:
        return "icmp port-unreachable"
    if body["type"] == "tcp reset":
        return "tcp reset"
    return f"{body['type']} {body.get('expr', 'port-unreachable')}"


def _nat(name: str, body: Any) -> Nat:
    flags = body.get("flags", [])
    return Nat(
        kind=cast("Literal['dnat', 'snat', 'masquerade', 'redirect']", name),
        address=_expression(body["addr"]) if "addr" in body else None,
        port=_expression(body["port"]) if "port" in body else None,
        flags=(flags,) if isinstance(flags, str) else tuple(flags),
    )


def _verdict(item: Any) -> Verdict | None:
    ((name, body),) = item.items()
    if name in _WORDS and body is None:
        return Verdict(name)
    if name in ("jump", "goto") and isinstance(body["target"], str):
        return Verdict(name, body["target"])
    return None


def _expression(item: Any) -> Expression:
    try:
        return _read_expression(item)
    except _UNFIT:
        return _unknown(item)


def _read_expression(item: Any) -> Expression:
    if isinstance(item, bool) or item is None or isinstance(item, float):
        return _unknown(item)
    if isinstance(item, str):
        return SetName(item[1:]) if item.startswith("@") else Constant(item)
    if isinstance(item, int):
        return Constant(item)
    if isinstance(item, list):
        return Elements(item, read_element, key_of)
    ((name, body),) = item.items()
    reader = _EXPRESSIONS.get(name)
    if reader is not None:
        return reader(body)
    if name in _OPERATORS:
        return Binary(name, *_operands(name, body))
    return _unknown(item)


def _operands(name: str, body: Any) -> tuple[Expression, Expression]:
    """Return both sides; `a | b | c` comes as one list of three."""
    *first, last = body
    left = first[0] if len(first) == 1 else {name: first}
    return _expression(left), _expression(last)


def _payload(body: Any) -> Expression:
    return Payload(_name(body["protocol"]), _name(body["field"]))


def _fib(body: Any) -> Expression:
    flags = body["flags"]
    return Fib((flags,) if isinstance(flags, str) else tuple(_name(flag) for flag in flags), _name(body["result"]))


def _name(thing: Any) -> str:
    if not isinstance(thing, str):
        raise TypeError(thing)
    return thing


def _number(thing: Any) -> int:
    if not isinstance(thing, int) or isinstance(thing, bool):
        raise TypeError(thing)
    return thing


def _prefix(body: Any) -> Prefix:
    return Prefix(ip_network(f"{_name(body['addr'])}/{_number(body['len'])}"))


def _ct(body: Any) -> Expression:
    return _unknown({"ct": body}) if "dir" in body else Ct(_name(body["key"]))


def _range(body: Any) -> Range:
    low, high = body
    return Range(_value(low), _value(high))


def _elements(body: Any) -> Expression:
    return Elements(body if isinstance(body, list) else [body], read_element, key_of)


def _data(body: Any) -> SetName | Elements:
    read = _expression(body)
    if not isinstance(read, SetName | Elements):
        raise TypeError(body)
    return read


_EXPRESSIONS: dict[str, Callable[[Any], Expression]] = {
    "payload": _payload,
    "meta": lambda body: Meta(_name(body["key"])),
    "ct": _ct,
    "fib": _fib,
    "numgen": lambda body: Numgen(_name(body["mode"]), _number(body["mod"]), _number(body.get("offset", 0))),
    "concat": lambda body: Concat(tuple(_expression(part) for part in body)),
    "prefix": _prefix,
    "range": _range,
    "set": _elements,
    "map": lambda body: MapValue(_expression(body["key"]), _data(body["data"])),
    "elem": lambda body: _expression(body["val"]),
}


def _unknown(item: Any) -> NotUnderstood:
    return NotUnderstood(json.dumps(item))


def _plain(item: Any) -> Any:
    """Return what an element's key is inside of its comment and times."""
    return item["elem"]["val"] if isinstance(item, dict) and "elem" in item else item


def _halves(item: Any) -> tuple[Any, Any]:
    """Return an element's key and value; a set's element has no value."""
    if isinstance(item, list) and len(item) == 2:
        return item[0], item[1]
    return item, None


def key_of(item: Any) -> tuple[Value, ...] | None:
    """Return an element's key where it is made of plain values, for `Elements`; None else. Never fails."""
    try:
        key = _plain(_halves(item)[0])
        columns = key["concat"] if isinstance(key, dict) else [key]
        for column in columns:
            if not isinstance(column, str | int) or column == "*":
                return None
        return tuple(columns)
    except _UNFIT:
        return None


def read_element(item: Any) -> Element:
    """Read one element; a column that we do not know is a constant of its JSON, which no packet has."""
    key, value = _halves(item)
    comment = None
    if isinstance(key, dict) and isinstance(key.get("elem"), dict):
        found = key["elem"].get("comment")
        comment = found if isinstance(found, str) else None
    try:
        plain = _plain(key)
        columns = plain["concat"] if isinstance(plain, dict) and "concat" in plain else [plain]
    except _UNFIT:
        columns = [key]
    return Element(tuple(_column(column) for column in columns), _element_value(value), comment, element_text(item))


def _column(item: Any) -> Constant | Prefix | Range:
    read = _expression(item)
    return read if isinstance(read, Constant | Prefix | Range) else Constant(json.dumps(item))


def _element_value(item: Any) -> Verdict | tuple[Value, ...] | None:
    if item is None:
        return None
    try:
        verdict = _verdict(item) if isinstance(item, dict) else None
        if verdict is not None:
            return verdict
        columns = item["concat"] if isinstance(item, dict) else [item]
        return tuple(_value(column) for column in columns)
    except _UNFIT:
        return (json.dumps(item),)


def _value(item: Any) -> Value:
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise TypeError(item)
    return item
