"""A hop's fields by name, as lessons and tests write them: "chain", "after.dst", "before.src.host"."""

from __future__ import annotations

from collections.abc import Callable

from kplab.model.journey import CtEntry, Flow, Hop, IpvsChoice, Lookup

FieldValue = str | int
Reader = Callable[[Hop], FieldValue | None]


def _host(address: str) -> str:
    """Return the address of "10.96.0.42:80" or "[fd00::1]:80"; an address without a port is itself."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _port(address: str) -> int | None:
    tail = address.rpartition(":")[2] if address.startswith("[") or address.count(":") == 1 else ""
    return int(tail) if tail.isdigit() else None


def _flow_fields(prefix: str, read: Callable[[Hop], Flow | None]) -> dict[str, Reader]:
    def of(part: Callable[[Flow], FieldValue | None]) -> Reader:
        def reader(hop: Hop) -> FieldValue | None:
            flow = read(hop)
            return None if flow is None else part(flow)

        return reader

    return {
        f"{prefix}.src": of(lambda flow: flow.src),
        f"{prefix}.src.host": of(lambda flow: _host(flow.src)),
        f"{prefix}.src.port": of(lambda flow: _port(flow.src)),
        f"{prefix}.dst": of(lambda flow: flow.dst),
        f"{prefix}.dst.host": of(lambda flow: _host(flow.dst)),
        f"{prefix}.dst.port": of(lambda flow: _port(flow.dst)),
        f"{prefix}.proto": of(lambda flow: flow.proto),
        f"{prefix}.mark": of(lambda flow: flow.mark),
    }


def _entry_field(part: Callable[[CtEntry], FieldValue | None]) -> Reader:
    def reader(hop: Hop) -> FieldValue | None:
        return None if hop.conntrack is None else part(hop.conntrack)

    return reader


def _lookup_field(part: Callable[[Lookup], FieldValue | None]) -> Reader:
    return lambda hop: None if hop.lookup is None else part(hop.lookup)


def _ipvs_field(part: Callable[[IpvsChoice], FieldValue | None]) -> Reader:
    return lambda hop: None if hop.ipvs is None else part(hop.ipvs)


def _draws(hop: Hop) -> int:
    """Count the rules with `-m statistic --mode random` that were tried up to and with this hop's rule."""
    texts = [hop.rule or "", *(skip.rule for skip in hop.skipped)]
    return sum("--mode random" in text for text in texts)


_READERS: dict[str, Reader] = {
    "n": lambda hop: hop.n,
    "node": lambda hop: hop.node,
    "kind": lambda hop: hop.kind,
    "direction": lambda hop: hop.direction,
    "packet": lambda hop: hop.packet,
    "hook": lambda hop: hop.hook,
    "table": lambda hop: hop.table,
    "chain": lambda hop: hop.chain,
    "rule": lambda hop: hop.rule,
    "rule_number": lambda hop: hop.rule_number,
    "tried": lambda hop: hop.tried,
    "depth": lambda hop: hop.depth,
    "verdict": lambda hop: hop.verdict,
    "evidence": lambda hop: hop.evidence,
    "interface": lambda hop: hop.interface,
    "peer": lambda hop: hop.peer,
    "service": lambda hop: hop.service,
    "draws": _draws,
    "conntrack.change": _entry_field(lambda entry: entry.change),
    "conntrack.state": _entry_field(lambda entry: entry.state),
    "conntrack.id": _entry_field(lambda entry: entry.id),
    "lookup.map": _lookup_field(lambda lookup: lookup.map),
    "lookup.key": _lookup_field(lambda lookup: lookup.key),
    "lookup.element": _lookup_field(lambda lookup: lookup.element),
    "lookup.elements": _lookup_field(lambda lookup: lookup.elements),
    "ipvs.virtual_server": _ipvs_field(lambda choice: choice.virtual_server),
    "ipvs.scheduler": _ipvs_field(lambda choice: choice.scheduler),
    "ipvs.chosen": _ipvs_field(lambda choice: choice.chosen),
    **_flow_fields("before", lambda hop: hop.before),
    **_flow_fields("after", lambda hop: hop.after),
    **_flow_fields("conntrack.original", lambda hop: hop.conntrack.original if hop.conntrack else None),
    **_flow_fields("conntrack.reply", lambda hop: hop.conntrack.reply if hop.conntrack else None),
}

FIELDS: tuple[str, ...] = tuple(_READERS)
"""Every field that a pattern may name. `draws` counts the random draws of a hop: `-m statistic` rules tried."""


def read_field(hop: Hop, field: str) -> FieldValue | None:
    """Return a field of a hop, None when the hop lacks it; KeyError for a name that is not in `FIELDS`."""
    return _READERS[field](hop)
