"""A lookup: the key put together out of the packet, and the element that answered; or IPVS's choice."""

from __future__ import annotations

from kplab.model.journey import IpvsChoice, Lookup, RealServer
from kplab.scene.frame import Asked, KeyField
from kplab.scene.instead import Instead
from kplab.scene.lookups import answer_of, counted
from kplab.tui.paint.lines import Line, Span, StyleName, clip_line, fit, line, wrap


def paint_asked(asked: Asked | None, width: int, instead: Instead | None = None, servers: int = 0) -> list[Line]:
    """Paint the latest question and its answer; `instead` is what iptables mode would have tried.

    `servers` is the number of virtual servers that IPVS found one among, 0 where that was not read.
    """
    if asked is None:
        return [line(Span("No map, set or IPVS was asked up to this hop.", "muted"))]
    head = line(Span("" if asked.here else "last lookup: ", "muted"), Span(asked.where, "muted"))
    rows: list[Line] = [head]
    if asked.lookup is not None:
        rows += _lookup(asked.lookup, asked.fields, width)
    if asked.ipvs is not None:
        rows += _choice(asked.ipvs, servers)
    if instead is not None:
        rows.insert(2, _instead(instead))
    return [clip_line(row, width) for row in rows]


def _lookup(lookup: Lookup, fields: tuple[KeyField, ...], width: int) -> list[Line]:
    rows = [line(Span(lookup.map, "title"), Span(f"   {counted(lookup)}", "strong"))]
    names = max((len(field.name) for field in fields), default=0)
    values = max((len(field.value) for field in fields), default=0)
    for number, field in enumerate(fields):
        sign = "key     " if number == 0 else "      . "
        rows.append(
            line(
                Span(sign, "muted"), Span(fit(field.name, names), "muted"),
                Span(f"  {field.value:<{values if field.data else 0}}", "request"),
                Span(f"  {field.data}" if field.data else "", "muted"),
            )
        )  # fmt: skip
    if lookup.element is None:
        return [*rows, line(Span("answer  ", "muted"), Span("✗ no element has this key", "wrong"))]
    rows.append(line(Span("answer  ", "muted"), Span(f"✓ {answer_of(lookup)}", "match")))
    if answer_of(lookup) == lookup.element:
        return rows
    for number, text in enumerate(wrap(lookup.element, width - 8)):
        rows.append(line(Span("element " if number == 0 else "        ", "muted"), Span(text)))
    return rows


def _instead(instead: Instead) -> Line:
    """Paint the list that iptables mode would have walked."""
    rules = f"{instead.tried:,} rule{'' if instead.tried == 1 else 's'} tried"
    where = f"of {instead.held:,} in KUBE-SERVICES"
    if instead.chain != "KUBE-SERVICES":
        where = f"all {instead.held:,} of KUBE-SERVICES, then {instead.chain}"
    return line(Span("iptables mode  ", "muted"), Span(rules, "changed"), Span(f" to find it, {where}", "muted"))


def _choice(choice: IpvsChoice, servers: int) -> list[Line]:
    among = f"   1 lookup among {servers:,} virtual server{'' if servers == 1 else 's'}" if servers else ""
    rows = [
        line(Span(choice.virtual_server, "title"), Span(f"{among}   scheduler {choice.scheduler}", "strong")),
        line(Span(f"  {'real server':<24}{'weight':>6}   {'active':<12}{'inactive':<12}", "muted")),
    ]
    rows += [_candidate(server, chosen=server.address == choice.chosen) for server in choice.candidates]
    if choice.chosen not in {server.address for server in choice.candidates}:
        rows.append(line(Span("✓ ", "match"), Span(f"{choice.chosen} was chosen, which is not in the list", "match")))
    if choice.connection:
        rows.append(line(Span("connection  ", "muted"), Span(" ".join(choice.connection.split()))))
    return rows


def _candidate(server: RealServer, *, chosen: bool) -> Line:
    style: StyleName = "match" if chosen else "plain"
    active = _counts(server.active_before, server.active_after)
    inactive = _counts(server.inactive_before, server.inactive_after)
    return line(
        Span("✓ " if chosen else "  ", style), Span(f"{server.address:<24}{server.weight:>6}   ", style),
        Span(f"{active:<12}", "changed" if "⇒" in active else "muted"),
        Span(f"{inactive:<12}", "changed" if "⇒" in inactive else "muted"),
        Span("chosen" if chosen else "", style),
    )  # fmt: skip


def _counts(before: int, after: int) -> str:
    return f"{before}" if before == after else f"{before} ⇒ {after}"
