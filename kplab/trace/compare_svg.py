"""A comparison's sizes as a chart: rules tried, and microseconds of the first packet, by the number of Services.

Both axes are logarithmic: a list that is walked rises with the number of Services, a lookup stays level. Times of
different sandboxes get panels of their own, for they must not be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from kplab.trace.compare import Column, Comparison, Point, clock_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, HEAD = 560, 320, 50, 190, 50, 50, 40
"""Of a panel; `HEAD` is the height of the title over all."""
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf")
COLUMNS = 2
"""Panels beside each other."""
GUEST = "microvm"
_NEVER = "from the guest: never in one ratio with the others"


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the chart's panels."""

    title: str
    points: Sequence[Point]
    value: Callable[[Column], float | None]
    label: Callable[[Column], str]
    """What stands at a line's end, behind the mode's name."""
    spread: Callable[[Column], tuple[float, float] | None] = lambda column: None
    warning: str = ""


def comparison_svg(comparison: Comparison) -> str:
    """Return the chart as an SVG document."""
    names = list(dict.fromkeys(point.column.name for point in comparison.sizes))
    colours = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(names)}
    panels = list(_panels(comparison.sizes))
    rows = -(-len(panels) // COLUMNS)
    width, height = WIDTH * COLUMNS, HEAD + HEIGHT * rows
    body = "".join(
        f'<g transform="translate({n % COLUMNS * WIDTH} {HEAD + n // COLUMNS * HEIGHT})">{_draw(panel, colours)}</g>'
        for n, panel in enumerate(panels)
    )
    title = "Cost of a connection's first packet to the last Service, by the number of Services"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" role="img"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="26" font-size="16">{escape(title)}</text>'
        f"{body}</svg>\n"
    )


def _panels(points: Sequence[Point]) -> list[Panel]:
    """Return the panel of what was counted, then those of what was measured, a pair for each kernel's clock."""
    found = [Panel("rules tried: a list that is walked, or lookups", points, _rules, _counted)]
    for sandbox in dict.fromkeys(clock_of(point.column.sandbox) for point in points):
        mine = [point for point in points if clock_of(point.column.sandbox) == sandbox]
        guest = sandbox.startswith(GUEST)
        title = f"us on the wire, median and quartiles ({sandbox})"
        found.append(Panel(title, mine, _median, _us(_median), _quartiles, _NEVER if guest else ""))
        if not guest:
            found.append(Panel(f"us from the call of connect(), median ({sandbox})", mine, _call, _us(_call)))
    return found


def _rules(column: Column) -> float:
    return float(column.first_rules)


def _counted(column: Column) -> str:
    lookups = f", {column.first_lookups} lookups" if column.first_lookups else ""
    return f"{column.first_rules:,} rules{lookups}"


def _median(column: Column) -> float | None:
    return column.first_packet.median_us if column.first_packet else None


def _call(column: Column) -> float | None:
    return column.first_packet.from_call_us if column.first_packet else None


def _quartiles(column: Column) -> tuple[float, float] | None:
    return (column.first_packet.low_us, column.first_packet.high_us) if column.first_packet else None


def _us(value: Callable[[Column], float | None]) -> Callable[[Column], str]:
    return lambda column: f"{value(column) or 0:,.1f} us"


def _draw(panel: Panel, colours: dict[str, str]) -> str:
    drawn = [(point, found) for point in panel.points if (found := panel.value(point.column)) is not None]
    parts = [f'<text x="{LEFT}" y="{TOP - 16}" font-size="13">{escape(panel.title)}</text>']
    parts.append(f'<text x="{LEFT}" y="{TOP - 2}" fill="#b00020">{escape(panel.warning)}</text>')
    if not drawn:
        return "".join([*parts, f'<text x="{LEFT}" y="{TOP + 40}">not measured</text>'])
    x = _scale([float(point.services) for point, _ in drawn], LEFT + 10, WIDTH - RIGHT)
    reach = [found for _, found in drawn]
    reach += [end for point, _ in drawn for end in panel.spread(point.column) or ()]
    y = _scale([max(found, 1.0) for found in reach], HEIGHT - BOTTOM, TOP + 10)
    parts += _axes(sorted({point.services for point, _ in drawn}), x, y, reach)
    ends = []
    for name, colour in colours.items():
        mine = [(point, found) for point, found in drawn if point.column.name == name]
        if not mine:
            continue
        way = " ".join(f"{x(point.services):.1f},{y(max(found, 1.0)):.1f}" for point, found in mine)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point, found in mine:
            parts.append(_bar(x(point.services), y, panel.spread(point.column), colour))
            parts.append(_point(x(point.services), y(max(found, 1.0)), f"{name}: {found:g}", colour))
        last, found = mine[-1]
        ends.append((y(max(found, 1.0)), f"{name} {panel.label(last.column)}", colour))
    return "".join(parts + _labels(ends))


def _axes(
    sizes: Sequence[int], x: Callable[[float], float], y: Callable[[float], float], reach: list[float]
) -> list[str]:
    """Draw the frame, the sizes beneath, and the powers of ten beside."""
    foot = HEIGHT - BOTTOM
    parts = [
        f'<text x="{x(services):.1f}" y="{foot + 18}" text-anchor="middle">{services:,}</text>' for services in sizes
    ]
    tens = [10.0**n for n in range(7) if max(min(reach), 1.0) <= 10.0**n <= max(reach)]
    for ten in tens:
        parts.append(f'<text x="{LEFT - 6}" y="{y(ten) + 4:.1f}" text-anchor="end">{ten:,.0f}</text>')
        parts.append(f'<path d="M{LEFT} {y(ten):.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
    parts.append(f'<path d="M{LEFT} {TOP}V{foot}H{WIDTH - RIGHT}" fill="none" stroke="black"/>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 14}" text-anchor="middle">Services</text>')
    return parts


def _bar(across: float, y: Callable[[float], float], spread: tuple[float, float] | None, colour: str) -> str:
    if spread is None:
        return ""
    low, high = (y(max(end, 1.0)) for end in spread)
    return f'<path d="M{across:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" stroke-opacity="0.5" stroke-width="4"/>'


def _point(across: float, down: float, told: str, colour: str) -> str:
    return f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{colour}"><title>{escape(told)}</title></circle>'


def _labels(ends: list[tuple[float, str, str]]) -> list[str]:
    """Write each line's name and last value at its end, none over another, all above the panel's foot."""
    parts = []
    lowest = 0.0
    room = HEIGHT - BOTTOM - 14 * (len(ends) - 1)
    for n, (down, text, colour) in enumerate(sorted(ends)):
        lowest = max(min(down + 4, room + 14 * n), lowest + 14)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{lowest:.1f}" fill="{colour}">{escape(text)}</text>')
    return parts


def _scale(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """Return a logarithmic scale that puts the least value at `start` and the greatest at `end`."""
    low, high = math.log(min(values)), math.log(max(values))
    span = high - low or 1.0
    return lambda value: start + (math.log(value) - low) / span * (end - start)
