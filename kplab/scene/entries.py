"""The conntrack entries that a journey has shown so far, the ones of this hop marked."""

from __future__ import annotations

from collections.abc import Sequence

from kplab.model.journey import CtEntry, Flow, Hop
from kplab.scene.frame import CtLine, CtMark

_MARKS: dict[str, CtMark] = {"new": "new", "update": "changed", "used": "used", "destroy": "destroyed"}


def entries_at(hops: Sequence[Hop], index: int) -> tuple[CtLine, ...]:
    """Return every entry that hops 0 to `index` told of, oldest first; a destroyed one goes a hop later."""
    found: dict[tuple[object, ...], CtLine] = {}
    for i, hop in enumerate(hops[: index + 1]):
        entry = hop.conntrack
        if entry is None:
            continue
        key = (hop.node, entry.id if entry.id is not None else (entry.original, entry.reply))
        mark = _MARKS[entry.change] if i == index else ""
        if entry.change == "destroy" and i < index:
            found.pop(key, None)
            continue
        found[key] = _line(hop.node, entry, mark, found.get(key))
    return tuple(found.values())


def _line(node: str, entry: CtEntry, mark: CtMark, before: CtLine | None) -> CtLine:
    state = entry.state or (before.state if before else None)
    return CtLine(node, entry.line, _arrow(entry.original), _arrow(entry.reply), state, mark, entry.id)


def _arrow(flow: Flow) -> str:
    return f"{flow.proto} {flow.src} → {flow.dst}"
