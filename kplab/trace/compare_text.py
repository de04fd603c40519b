"""A comparison as lines of text: a table, who translated what, what was left out, and bars for the sizes."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from kplab.trace.compare import Column, Comparison, Point, Timing, clock_of

BAR = 40


def comparison_lines(comparison: Comparison, width: int = 80) -> Iterator[str]:
    """Yield the comparison line by line; a table too wide for `width` cells is parted, long sentences are wrapped."""
    yield f"{comparison.packet}   from {comparison.sender}"
    if comparison.interrupted:
        yield "INTERRUPTED: this is what was done until then"
    yield ""
    yield from _table(comparison.columns, width)
    if len({clock_of(column.sandbox) for column in comparison.columns}) > 1:
        yield from _wrapped(
            "", "Columns of different sandboxes: times of one are never to be divided by another's.", width
        )
    yield ""
    yield "who translated what"
    for column in comparison.columns:
        yield f"  {column.name}"
        for line in column.translations or ("nobody: no address was rewritten",):
            yield from _wrapped("    ", line, width)
    yield ""
    yield "what the sender got"
    names = max((len(column.name) for column in comparison.columns), default=0)
    for column in comparison.columns:
        yield from _wrapped(f"  {column.name:<{names}}  ", column.outcome, width)
    for column in comparison.columns:
        for finding in column.findings:
            yield from _wrapped(f"FOUND in {column.name}: ", finding, width)
        if not column.complete:
            yield f"INCOMPLETE: {column.name}"
        if column.not_timed:
            yield from _wrapped("not timed: ", f"{column.name}: {column.not_timed}", width)
    if comparison.left_out:
        yield ""
        yield "left out"
        for each in comparison.left_out:
            yield from _wrapped("  ", f"{each.name}: {' '.join(each.reason.split())}", width)
    if comparison.sizes:
        yield ""
        yield from _sizes(comparison.sizes)


def _wrapped(head: str, text: str, width: int) -> Iterator[str]:
    """Yield a text behind its head; the rows that follow are indented, addresses and names are never broken."""
    yield from wrap(
        text, max(width, len(head) + 20), initial_indent=head, subsequent_indent=" " * min(len(head) + 2, 20),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _table(columns: tuple[Column, ...], width: int) -> Iterator[str]:
    """Yield the table, as many columns beside each other as there is room for."""
    rows = _rows(columns)
    head = max(len(label) for label, _ in rows)
    sizes = [max(len(cells[n]) for _, cells in rows) for n in range(len(columns))]
    first = 0
    while first < len(columns):
        last = first + 1
        while last < len(columns) and head + sum(size + 2 for size in sizes[first : last + 1]) <= width:
            last += 1
        if first:
            yield ""
        for label, cells in rows:
            row = "  ".join(cells[n].rjust(sizes[n]) for n in range(first, last))
            yield f"{label:<{head}}  {row}".rstrip()
        first = last


def _rows(columns: tuple[Column, ...]) -> list[tuple[str, list[str]]]:
    return [
        ("", [column.name for column in columns]),
        ("sandbox", [column.sandbox for column in columns]),
        ("kernel", [column.kernel for column in columns]),
        ("first packet: rules tried", [str(column.first_rules) for column in columns]),
        ("first packet: lookups", [str(column.first_lookups) for column in columns]),
        ("all packets: rules tried", [str(column.rules_tried) for column in columns]),
        ("all packets: lookups", [str(column.lookups) for column in columns]),
        ("packets", [str(column.packets) for column in columns]),
        ("hops", [str(column.hops) for column in columns]),
        ("conntrack entries made", [str(column.conntrack_entries) for column in columns]),
        ("IPVS entries made", [str(column.ipvs_entries) for column in columns]),
        ("left the kernel", [f"{column.left_kernel}x" for column in columns]),
        ("delivered to", [column.delivered_to or "nobody" for column in columns]),
        ("on the wire: median", [_time(column.first_packet) for column in columns]),
        ("  half of them between", [_spread(column.first_packet) for column in columns]),
        ("from connect(): median", [_from_call(column.first_packet) for column in columns]),
        ("  rounds", [str(column.first_packet.rounds) if column.first_packet else "-" for column in columns]),
    ]


def _time(time: Timing | None) -> str:
    return f"{time.median_us:.1f} us" if time else "-"


def _from_call(time: Timing | None) -> str:
    return f"{time.from_call_us:.1f} us" if time and time.from_call_us is not None else "-"


def _spread(time: Timing | None) -> str:
    return f"{time.low_us:.1f}-{time.high_us:.1f}" if time else "-"


def _sizes(points: tuple[Point, ...]) -> Iterator[str]:
    yield "a connection's first packet to the last Service of the list, by the number of Services"
    most = max(point.column.first_rules for point in points)
    slowest = max((point.column.first_packet.median_us for point in points if point.column.first_packet), default=0.0)
    for name in dict.fromkeys(point.column.name for point in points):
        yield f"  {name}"
        for point in points:
            column = point.column
            if column.name != name:
                continue
            time = column.first_packet
            yield f"    {point.services:>5}  rules tried {column.first_rules:>6}  {_bar(column.first_rules, most)}"
            yield f"           lookups     {column.first_lookups:>6}"
            yield f"           {_time(time):>18}  {_bar(time.median_us, slowest) if time else column.not_timed}"


def _bar(value: float, most: float) -> str:
    return "#" * max(1, round(BAR * value / most)) if value and most else ""
