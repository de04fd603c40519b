"""A rule's JSON -> the text that `nft list` prints of it (nftables 1.0.6, src/expression.c and src/statement.c).

`nft -j` gives no text, and a student reads rules as nft writes them. What we do not know is printed as its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_UNFIT = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError)
_UNQUALIFIED = frozenset(
    {"iif", "oif", "iifname", "oifname", "iiftype", "oiftype", "skuid", "skgid", "iifgroup", "oifgroup", "cgroup"}
)
"""meta keys that nft prints without "meta"."""
_QUOTED = frozenset({"iif", "oif", "iifname", "oifname"})
_HEXADECIMAL = ("meta mark", "ct mark")


def rule_text(raw: Any) -> str:
    """Return a rule's statements, without its comment."""
    return " ".join(_statement(item) for item in (raw if isinstance(raw, list) else [raw]))


def element_text(item: Any) -> str:
    """Return an element as nft lists it: `10.96.0.42 . tcp . 80 comment "x" : goto y`."""
    try:
        key, value = item if isinstance(item, list) and len(item) == 2 else (item, None)
        body = key["elem"] if isinstance(key, dict) and "elem" in key else {"val": key}
        text = _expression(body["val"])
        if "comment" in body:
            text += f' comment "{body["comment"]}"'
        return text if value is None else f"{text} : {_value(value)}"
    except _UNFIT:
        return json.dumps(item)


def _statement(item: Any) -> str:
    try:
        ((name, body),) = item.items()
        writer = _STATEMENTS.get(name)
        return writer(body) if writer is not None else json.dumps(item)
    except _UNFIT:
        return json.dumps(item)


def _value(item: Any) -> str:
    """Return a map's value: a verdict or data."""
    if isinstance(item, dict) and next(iter(item)) in ("accept", "drop", "continue", "return", "jump", "goto"):
        return _statement(item)
    return _expression(item)


def _match(body: Any) -> str:
    left, op, right = _expression(body["left"]), body["op"], body["right"]
    sign = "" if op in ("==", "in") else f"{op} "
    return f"{left} {sign}{_right(left, right)}"


def _right(left: str, right: Any) -> str:
    """Return the right side in the form of the left one: marks in hexadecimal, interfaces quoted."""
    if isinstance(right, int) and any(name in left for name in _HEXADECIMAL):
        return f"0x{right:08x}"
    if isinstance(right, str) and not right.startswith("@") and left in _QUOTED:
        return f'"{right}"'
    if isinstance(right, list):
        return ",".join(_right(left, each) for each in right)
    if isinstance(right, dict) and "set" in right:
        return "{ " + ", ".join(_right(left, each) for each in right["set"]) + " }"
    return _expression(right)


def _expression(item: Any) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, int) and not isinstance(item, bool):
        return str(item)
    if isinstance(item, list):
        return ",".join(_expression(each) for each in item)
    ((name, body),) = item.items()
    if name in ("&", "|", "^", "<<", ">>"):
        return _binary(name, body)
    return _EXPRESSIONS[name](body)


def _binary(name: str, body: Any) -> str:
    left = _expression(body[0])
    return f" {name} ".join([left, *(_right(left, each) for each in body[1:])])


def _meta(body: Any) -> str:
    return str(body["key"]) if body["key"] in _UNQUALIFIED else f"meta {body['key']}"


def _set(body: Any) -> str:
    return "{ " + ", ".join(element_text(each) for each in body) + " }"


def _lookup(word: str) -> Callable[[Any], str]:
    return lambda body: f"{_expression(body['key'])} {word} {_expression(body['data'])}"


def _nat(name: str) -> Callable[[Any], str]:
    return lambda body: _print_nat(name, body or {})


def _print_nat(name: str, body: Any) -> str:
    words = [name]
    if "family" in body:
        words.append(body["family"])
    address = _expression(body["addr"]) if "addr" in body else ""
    port = f":{_expression(body['port'])}" if "port" in body else ""
    if address and port and ":" in address:
        address = f"[{address}]"
    if address or port:
        words.append(f"to {address}{port}")
    flags = body.get("flags", [])
    return " ".join([*words, *([flags] if isinstance(flags, str) else flags)])


def _reject(body: Any) -> str:
    if body is None or body == {"type": "icmp", "expr": "port-unreachable"}:
        return "reject"
    if body == {"type": "icmpv6", "expr": "port-unreachable"}:
        return "reject"
    if body["type"] == "tcp reset":
        return "reject with tcp reset"
    return f"reject with {body['type']} {body['expr']}"


def _mangle(body: Any) -> str:
    key = _expression(body["key"])
    return f"{key} set {_right(key, body['value'])}"


def _update(body: Any) -> str:
    return f"{body['op']} {body['set']} {{ {element_text(body['elem'])} }}"


def _counter(body: Any) -> str:
    if isinstance(body, dict) and "packets" in body:
        return f"counter packets {body['packets']} bytes {body['bytes']}"
    return f'counter name "{body}"' if isinstance(body, str) else "counter"


def _log(body: Any) -> str:
    return f'log prefix "{body["prefix"]}"' if body and "prefix" in body else "log"


def _numgen(body: Any) -> str:
    offset = f" offset {body['offset']}" if body.get("offset") else ""
    return f"numgen {body['mode']} mod {body['mod']}{offset}"


def _fib(body: Any) -> str:
    flags = body["flags"]
    return f"fib {flags if isinstance(flags, str) else ' . '.join(flags)} {body['result']}"


_STATEMENTS: dict[str, Callable[[Any], str]] = {
    "match": _match,
    "vmap": _lookup("vmap"),
    "accept": lambda _: "accept",
    "drop": lambda _: "drop",
    "continue": lambda _: "continue",
    "return": lambda _: "return",
    "jump": lambda body: f"jump {body['target']}",
    "goto": lambda body: f"goto {body['target']}",
    "reject": _reject,
    "mangle": _mangle,
    "dnat": _nat("dnat"),
    "snat": _nat("snat"),
    "masquerade": _nat("masquerade"),
    "redirect": _nat("redirect"),
    "set": _update,
    "counter": _counter,
    "log": _log,
    "notrack": lambda _: "notrack",
}

_EXPRESSIONS: dict[str, Callable[[Any], str]] = {
    "payload": lambda body: f"{body['protocol']} {body['field']}",
    "meta": _meta,
    "ct": lambda body: f"ct {body['dir']} {body['key']}" if "dir" in body else f"ct {body['key']}",
    "fib": _fib,
    "numgen": _numgen,
    "concat": lambda body: " . ".join(_expression(part) for part in body),
    "prefix": lambda body: f"{body['addr']}/{body['len']}",
    "range": lambda body: f"{_expression(body[0])}-{_expression(body[1])}",
    "set": _set,
    "map": _lookup("map"),
    "elem": lambda body: element_text({"elem": body}),
}
