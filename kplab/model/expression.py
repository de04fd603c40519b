"""A student's packet, as text: `IP(dst="10.96.0.42")/TCP(dport=80, flags="S")` -> `PacketSpec`.

The text is parsed with `ast` and never evaluated. What is allowed: layers of `kplab.model.layers`, joined by
`/`, each with keyword arguments whose values are literals; text or bytes in place of the last layer stand for
`Raw`. Anything else is refused, and the error points at the part.
"""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Collection
from typing import Any, Never

from kplab.errors import ExpressionError
from kplab.model.field_values import check_value
from kplab.model.layers import LAYERS, NETWORK_LAYERS, TRANSPORT_LAYERS
from kplab.model.packet import Field, Layer, Literalish, Octets, PacketSpec

MAX_LENGTH = 4096
EXAMPLE = 'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'

_ONLY_V6 = ("IPv6ExtHdr", "ICMPv6")


def parse_expression(text: str) -> PacketSpec:
    """Parse a packet expression.

    Raises:
        ExpressionError: something in it is not allowed; `position` and `length` say where.
    """
    if len(text) > MAX_LENGTH:
        _refuse(0, 1, "the expression is too long", f"{len(text)} characters; at most {MAX_LENGTH} are read")
    flat = "".join(" " if c in "\r\n\t" else c for c in text)
    body = _syntax_tree(flat)
    parts = _parts(body)
    layers = tuple(_layer(flat, part) for part in parts)
    _check_order(layers, flat, parts)
    return PacketSpec(expression=text.strip(), layers=layers)


def _syntax_tree(text: str) -> ast.expr:
    if not text.strip():
        _refuse(0, 1, "there is no packet", "the expression is empty")
    # Python refuses an indented expression; a bracket in place of the first blank keeps every column where it is.
    bracketed = f"({text[1:]})" if text[0] == " " else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(bracketed, mode="eval").body
    except SyntaxError as problem:
        position = min(max((problem.offset or 1) - 1, 0), len(text))
        _refuse(position, 1, "this is not a packet expression", problem.msg)
    except (ValueError, RecursionError, MemoryError) as problem:
        _refuse(0, 1, "this is not a packet expression", str(problem) or "it is nested too deeply")


def _parts(node: ast.expr) -> list[ast.expr]:
    """Split `A/B/C` at its slashes, left to right."""
    parts: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts.append(node.right)
        node = node.left
    return [node, *reversed(parts)]


def _layer(text: str, node: ast.expr) -> Layer:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return Layer("Raw", (Field("load", _literal(text, node)),))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        _refuse_node(text, node, "a layer is expected here, like TCP(dport=80)", f"found {_source(text, node)}")
    name = node.func.id
    if name not in LAYERS:
        _refuse_node(text, node.func, f"there is no layer {name}", f"{_guess(name, LAYERS)}known: {', '.join(LAYERS)}")
    if node.args:
        _refuse_node(text, node.args[0], f"{name} takes keyword arguments only", f"found {_source(text, node.args[0])}")
    seen: set[str] = set()
    fields = []
    for keyword in node.keywords:
        if keyword.arg in seen:
            _refuse_node(text, keyword, f"{name} is given {keyword.arg} twice", "")
        seen.add(keyword.arg or "")
        fields.append(_field(text, name, keyword))
    return Layer(name, tuple(fields))


def _field(text: str, layer: str, keyword: ast.keyword) -> Field:
    known = LAYERS[layer]
    if keyword.arg is None:
        _refuse_node(text, keyword, f"{layer} takes keyword arguments only", f"found {_source(text, keyword.value)}")
    if keyword.arg not in known:
        happened = f"{_guess(keyword.arg, known)}{layer} has: {', '.join(known)}"
        position = _column(text, keyword)
        _refuse(position, len(keyword.arg), f"{layer} has no field {keyword.arg}", happened)
    value = _literal(text, keyword.value)
    wrong = check_value(known[keyword.arg], value)
    if wrong:
        _refuse_node(text, keyword.value, f"{layer}({keyword.arg}=…) cannot be {_source(text, keyword.value)}", wrong)
    return Field(keyword.arg, value)


def _literal(text: str, node: ast.expr) -> Literalish:
    match node:
        case ast.Constant(value=bytes() as data):
            return Octets(data)
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=items) | ast.Tuple(elts=items):
            nested: list[Any] = [_literal(text, item) for item in items]
            return nested
        case _:
            _refuse_node(
                text, node, "only literals are taken here: text, numbers, lists", f"found {_source(text, node)}"
            )


def _guess(name: str, known: Collection[str]) -> str:
    """Say which known name was probably meant; letters in the wrong order are the likeliest mistake."""
    swapped = [k for k in known if sorted(k.lower()) == sorted(name.lower())]
    near = swapped or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}? " if near else ""


def _check_order(layers: tuple[Layer, ...], text: str, nodes: list[ast.expr]) -> None:
    """A network layer first, then at most one transport, then the payload."""
    first = layers[0].name
    if first not in NETWORK_LAYERS:
        _refuse_node(text, nodes[0], f"a packet begins with IP or IPv6, not {first}", "")
    for index, (layer, node) in enumerate(zip(layers[1:], nodes[1:], strict=True), start=1):
        before = layers[index - 1].name
        if layer.name in NETWORK_LAYERS:
            _refuse_node(text, node, f"{layer.name} cannot stand inside {before} here", "tunnels are not sent")
        if layer.name.startswith(_ONLY_V6) and first == "IP":
            _refuse_node(text, node, f"{layer.name} belongs in an IPv6 packet", "begin with IPv6(dst=…)")
        if layer.name == "ICMP" and first == "IPv6":
            _refuse_node(text, node, "ICMP belongs in an IPv4 packet", "for IPv6: ICMPv6EchoRequest()")
        carries = before in NETWORK_LAYERS or before.startswith("IPv6ExtHdr")
        if layer.name in TRANSPORT_LAYERS and not carries:
            _refuse_node(text, node, f"{layer.name} cannot stand behind {before}", "")
        if before == "Raw":
            _refuse_node(text, node, "nothing can stand behind the payload", "")


def _source(text: str, node: ast.expr | ast.keyword) -> str:
    return text[_column(text, node) : _end(text, node)]


def _column(text: str, node: ast.expr | ast.keyword) -> int:
    """`ast` counts columns in bytes of UTF-8; a screen counts characters."""
    return len(text.encode()[: node.col_offset].decode(errors="ignore"))


def _end(text: str, node: ast.expr | ast.keyword) -> int:
    return len(text.encode()[: node.end_col_offset or 0].decode(errors="ignore"))


def _refuse_node(text: str, node: ast.expr | ast.keyword, tried: str, happened: str) -> Never:
    start = _column(text, node)
    _refuse(start, max(1, _end(text, node) - start), tried, happened)


def _refuse(position: int, length: int, tried: str, happened: str) -> Never:
    raise ExpressionError(tried, happened, f"A packet reads like {EXAMPLE}", position=position, length=length)
