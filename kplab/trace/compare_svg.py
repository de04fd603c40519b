"""A comparison's sizes as a chart: rules tried, and microseconds of the first packet, by the number of Services.

Both axes are logarithmic: a list that is walked rises with the number of Services, a lookup stays level. Times of
different sandboxes get a panel each, for they must not be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from kplab.trace.compare import Comparison, Point, clock_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 520, 320, 40, 150, 50, 50
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")

Value = Callable[[Point], float | None]


def comparison_svg(comparison: Comparison) -> str:
    """Return the chart as an SVG document."""
    points = comparison.sizes
    names = list(dict.fromkeys(point.column.name for point in points))
    colours = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(names)}
    panels = [_panel("rules tried by the first packet", points, lambda point: float(point.column.first_rules), colours)]
    for sandbox in dict.fromkeys(clock_of(point.column.sandbox) for point in points):
        mine = [point for point in points if clock_of(point.column.sandbox) == sandbox]
        panels.append(_panel(f"first packet, median microseconds ({sandbox})", mine, _median, colours))
    width = WIDTH * len(panels)
    body = "".join(f'<g transform="translate({n * WIDTH} 0)">{panel}</g>' for n, panel in enumerate(panels))
    title = "Cost of a connection's first packet to the last Service, by the number of Services"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12" role="img"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>'
        f"{body}</svg>\n"
    )


def _median(point: Point) -> float | None:
    return point.column.first_packet.median_us if point.column.first_packet else None


def _panel(title: str, points: Sequence[Point], value: Value, colours: dict[str, str]) -> str:
    drawn = [(point, found) for point in points if (found := value(point)) is not None]
    parts = [f'<text x="{LEFT}" y="{TOP - 10}">{escape(title)}</text>']
    if not drawn:
        return "".join([*parts, f'<text x="{LEFT}" y="{TOP + 40}">not measured</text>'])
    x = _scale([float(point.services) for point, _ in drawn], LEFT + 10, WIDTH - RIGHT)
    y = _scale([max(found, 1.0) for _, found in drawn], HEIGHT - BOTTOM, TOP + 10)
    for services in sorted({point.services for point, _ in drawn}):
        parts.append(f'<text x="{x(services):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{services:,}</text>')
    ends = []
    for name, colour in colours.items():
        line = [(x(point.services), y(max(found, 1.0)), found) for point, found in drawn if point.column.name == name]
        if not line:
            continue
        way = " ".join(f"{across:.1f},{down:.1f}" for across, down, _ in line)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [_point(*each, name, colour) for each in line]
        ends.append((line[-1][1], f"{name} {line[-1][2]:g}", colour))
    parts += _labels(ends)
    frame = f"M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"
    parts.append(f'<path d="{frame}" fill="none" stroke="black"/>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">Services</text>')
    return "".join(parts)


def _point(across: float, down: float, found: float, name: str, colour: str) -> str:
    told = f"<title>{escape(name)}: {found:g}</title>"
    return f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{colour}">{told}</circle>'


def _labels(ends: list[tuple[float, str, str]]) -> list[str]:
    """Write each line's name and last value at its end, none over another."""
    parts = []
    lowest = 0.0
    for down, text, colour in sorted(ends):
        lowest = max(down + 4, lowest + 14)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{lowest:.1f}" fill="{colour}">{escape(text)}</text>')
    return parts


def _scale(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """Return a logarithmic scale that puts the least value at `start` and the greatest at `end`."""
    low, high = math.log(min(values)), math.log(max(values))
    span = high - low or 1.0
    return lambda value: start + (math.log(value) - low) / span * (end - start)
