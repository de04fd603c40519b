"""What may stand at the cursor of a packet expression: layers, fields, addresses of Services and pods."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kplab.model.layers import LAYERS, NETWORK_LAYERS, TRANSPORT_LAYERS


@dataclass(frozen=True, slots=True)
class Completion:
    """Replace `text[start:end]` by `insert`."""

    insert: str
    start: int
    end: int
    detail: str = ""
    """A word on what it is: "Service demo/web", "TCP field, 0 to 65535"."""


@dataclass(frozen=True, slots=True)
class KnownName:
    """An address that has a name in the cluster; `port` is its first port, if it has one."""

    name: str
    address: str
    port: int | None = None
    kind: str = "Service"


_OPEN_LAYER = re.compile(r"(\w+)\s*\(([^()]*)$")
_VALUE = re.compile(r"(\w+)\s*=\s*(?:\"|')?([^\"',]*)$")


def complete(text: str, cursor: int, names: Sequence[KnownName] = ()) -> tuple[Completion, ...]:
    """Return what may be typed at `cursor` (0-based, between characters), the likeliest first."""
    left = text[:cursor]
    inside = _OPEN_LAYER.search(left)
    if inside is None:
        return _layers(left, cursor)
    layer, arguments = inside.group(1), inside.group(2)
    if layer not in LAYERS:
        return ()
    value = _VALUE.search(arguments)
    if value:
        return _values(layer, value.group(1), left[cursor - len(value.group(2)) : cursor], left, cursor, names)
    word = re.search(r"\w*$", arguments)
    typed = word.group() if word else ""
    given = set(re.findall(r"(\w+)\s*=", arguments))
    return tuple(
        Completion(f"{field}=", cursor - len(typed), cursor, f"{layer} field")
        for field in LAYERS[layer]
        if field.startswith(typed) and field not in given
    )


def _layers(left: str, cursor: int) -> tuple[Completion, ...]:
    word = re.search(r"\w*$", left)
    typed = word.group() if word else ""
    behind = left[: cursor - len(typed)].rstrip()
    if behind and not behind.endswith("/"):
        return ()
    fitting = NETWORK_LAYERS if not behind else (*TRANSPORT_LAYERS, "Raw")
    return tuple(
        Completion(f"{name}(", cursor - len(typed), cursor, "layer")
        for name in fitting
        if name.lower().startswith(typed.lower())
    )


def _values(
    layer: str, field: str, typed: str, left: str, cursor: int, names: Sequence[KnownName]
) -> tuple[Completion, ...]:
    kind = LAYERS[layer].get(field, "")
    start = cursor - len(typed)
    if kind in ("ip4", "ip6"):
        quote = "" if left[:start].endswith(("'", '"')) else '"'
        wanted = typed.lower()
        return tuple(
            Completion(f"{quote}{n.address}{quote or left[start - 1]}", start, cursor, f"{n.kind} {n.name}")
            for n in names
            if (":" in n.address) == (kind == "ip6") and (n.address.startswith(wanted) or wanted in n.name.lower())
        )
    if field == "dport":
        destination = re.search(r"dst\s*=\s*[\"']([^\"']+)", left)
        address = destination.group(1) if destination else None
        return tuple(
            Completion(str(n.port), start, cursor, f"{n.kind} {n.name}")
            for n in names
            if n.port is not None and n.address == address and str(n.port).startswith(typed)
        )
    if field == "flags" and layer == "TCP":
        quote = "" if left[:start].endswith(("'", '"')) else '"'
        close = quote or left[start - 1]
        choices = (("S", "SYN"), ("SA", "SYN and ACK"), ("A", "ACK"), ("F", "FIN"), ("R", "RST"))
        return tuple(
            Completion(f"{quote}{letters}{close}", start, cursor, word)
            for letters, word in choices
            if letters.startswith(typed)
        )
    return ()
