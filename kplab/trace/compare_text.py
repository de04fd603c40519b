"""A comparison as lines of text: a table, who translated what, what was left out, and bars for the sizes."""

from __future__ import annotations

from collections.abc import Iterator

from kplab.trace.compare import Column, Comparison, Point, Timing, clock_of

BAR = 40


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the comparison line by line."""
    yield f"{comparison.packet}   from {comparison.sender}"
    if comparison.interrupted:
        yield "INTERRUPTED: this is what was done until then"
    yield ""
    yield from _table(comparison.columns)
    if len({clock_of(column.sandbox) for column in comparison.columns}) > 1:
        yield "Columns of different sandboxes: their times stand side by side, and must not be divided by each other."
    yield ""
    yield "who translated what"
    for column in comparison.columns:
        yield f"  {column.name}"
        yield from (f"    {line}" for line in column.translations or ("nobody: no address was rewritten",))
    yield ""
    yield "what the sender got"
    width = max((len(column.name) for column in comparison.columns), default=0)
    yield from (f"  {column.name:<{width}}  {column.outcome}" for column in comparison.columns)
    for column in comparison.columns:
        yield from (f"FOUND in {column.name}: {finding}" for finding in column.findings)
        if not column.complete:
            yield f"INCOMPLETE: {column.name}"
        if column.not_timed:
            yield f"not timed: {column.name}: {column.not_timed}"
    if comparison.left_out:
        yield ""
        yield "left out"
        for each in comparison.left_out:
            yield f"  {each.name}: {' '.join(each.reason.split())}"
    if comparison.sizes:
        yield ""
        yield from _sizes(comparison.sizes)


def _table(columns: tuple[Column, ...]) -> Iterator[str]:
    rows = [
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
        ("first packet: time, median", [_time(column.first_packet) for column in columns]),
        ("  half of them between", [_spread(column.first_packet) for column in columns]),
        ("  rounds", [str(column.first_packet.rounds) if column.first_packet else "-" for column in columns]),
    ]
    widths = [max(len(cells[n]) for _, cells in rows) for n in range(len(columns))]
    head = max(len(label) for label, _ in rows)
    for label, cells in rows:
        row = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"{label:<{head}}  {row}".rstrip()


def _time(time: Timing | None) -> str:
    return f"{time.median_us:.1f} us" if time else "-"


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
