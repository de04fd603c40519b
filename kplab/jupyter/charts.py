"""A comparison by mode as bars: rules tried and lookups made, and the first packet's time, a panel a clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from kplab.trace.compare import Column, Comparison, clock_of

WIDTH, LABELS, BAR, GAP, TOP = 430, 130, 12, 14, 52
RULES, LOOKUPS, TIME = "#d62728", "#1f77b4", "#2ca02c"


def comparison_bars(comparison: Comparison) -> str:
    """Return the chart as an SVG document. Times of different clocks stand in panels of their own scale."""
    columns = comparison.columns
    panels = [_counts(columns)]
    for clock in dict.fromkeys(clock_of(each.sandbox) for each in columns):
        timed = [each for each in columns if clock_of(each.sandbox) == clock and each.first_packet]
        if timed:
            panels.append(_times(clock, timed))
    width = WIDTH * len(panels)
    height = TOP + len(columns) * (2 * BAR + GAP) + 16
    body = "".join(f'<g transform="translate({n * WIDTH} 0)">{panel}</g>' for n, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" role="img"><title>{escape(comparison.packet)}, mode by mode</title>'
        f'<rect width="100%" height="100%" fill="white"/>{body}</svg>\n'
    )


def _counts(columns: Sequence[Column]) -> str:
    most = max([1, *(max(each.first_rules, each.first_lookups) for each in columns)])
    parts = [
        _title("the connection's first packet"),
        f'<text x="10" y="38" fill="{RULES}">rules tried</text>',
        f'<text x="90" y="38" fill="{LOOKUPS}">maps and sets asked</text>',
    ]
    for row, each in enumerate(columns):
        top = TOP + row * (2 * BAR + GAP)
        parts += [
            _name(each.name, top),
            _bar(top, each.first_rules, most, RULES, str(each.first_rules)),
            _bar(top + BAR, each.first_lookups, most, LOOKUPS, str(each.first_lookups)),
        ]
    return "".join(parts)


def _times(clock: str, columns: Sequence[Column]) -> str:
    """A dot at each median, a line from quartile to quartile; the scale is logarithmic, for modes differ that much."""
    times = [(each.name, each.first_packet) for each in columns if each.first_packet]
    low = min(time.low_us for _, time in times) / 2
    high = max(time.high_us for _, time in times)

    def place(value: float) -> float:
        return LABELS + (WIDTH - LABELS - 60) * math.log(max(value, low) / low) / math.log(high / low)

    parts = [
        _title(f"first packet, microseconds, in {clock}"),
        '<text x="10" y="38">dot: the median; line: the quartiles; logarithmic</text>',
    ]
    for row, (name, time) in enumerate(times):
        top = TOP + row * (2 * BAR + GAP)
        parts += [
            _name(name, top),
            f'<path d="M{place(time.low_us):.1f} {top + BAR}H{place(time.high_us):.1f}" stroke="{TIME}" '
            'stroke-width="3"/>',
            f'<circle cx="{place(time.median_us):.1f}" cy="{top + BAR}" r="5" fill="{TIME}"/>',
            f'<text x="{place(time.high_us) + 8:.1f}" y="{top + BAR + 4}">{time.median_us:g}</text>',
        ]
    return "".join(parts)


def _across(value: float, most: float) -> float:
    return LABELS + (WIDTH - LABELS - 60) * value / most


def _bar(top: float, value: float, most: float, colour: str, label: str) -> str:
    width = max(_across(value, most) - LABELS, 0.5)
    told = f'<text x="{LABELS + width + 4:.1f}" y="{top + BAR - 2:g}" font-size="10">{label}</text>' if label else ""
    return f'<rect x="{LABELS}" y="{top:g}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>{told}'


def _name(name: str, top: float) -> str:
    return f'<text x="{LABELS - 8}" y="{top + BAR + 4}" text-anchor="end">{escape(name)}</text>'


def _title(text: str) -> str:
    return f'<text x="10" y="20" font-weight="bold">{escape(text)}</text>'
