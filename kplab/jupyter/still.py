"""A journey as one picture: the map with both ways, and every hop with its reason. For where nothing can play."""

from __future__ import annotations

from html import escape

from kplab.jupyter.still_hops import draw_hops, told_hops
from kplab.jupyter.still_ink import (
    BEHIND,
    EVIDENCE,
    FONT,
    LINE,
    MARGIN,
    MUTED,
    SIZE,
    TEXT,
    WIDTH,
    WRONG,
    letters,
    wrap,
    write,
)
from kplab.jupyter.still_map import draw_map
from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.timeline import Timeline

_MEANING = {"seen": "the kernel said so", "rebuilt": "from the kernel's own state", "modelled": "our model says so"}


def still_svg(journey: Journey, topology: Topology) -> str:
    """Return the whole story as one SVG with a background of its own: no script, no font, nothing from outside."""
    timeline = Timeline(journey, topology)
    parts, y = _head(journey, timeline)
    drawn = draw_map(timeline, told_hops(journey.hops), y)
    parts.append(drawn.svg)
    hops, height = draw_hops(journey.hops, y + drawn.height)
    parts += hops
    y += drawn.height + height + 6
    parts.append(_legend(y + 12))
    whole = y + 12 + MARGIN
    title = escape(f"{journey.packet} from {journey.sender}: {journey.outcome}", quote=False)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole:g}" width="{WIDTH}" height="{whole:g}" '
        f'font-family="{FONT}" font-size="{SIZE}" role="img"><title>{title}</title>'
        f'<rect width="{WIDTH}" height="{whole:g}" rx="8" fill="{BEHIND}"/>{"".join(parts)}</svg>\n'
    )


def _head(journey: Journey, timeline: Timeline) -> tuple[list[str], float]:
    """Draw what was asked, what came of it, and what must be said whatever else is shown."""
    most = letters(WIDTH - 2 * MARGIN)
    tables = f" (iptables-{journey.backend})" if journey.mode in {"iptables", "ipvs", "userspace"} else ""
    asked = wrap(
        f"{journey.packet}   from {journey.sender}, mode {journey.mode}{tables}", letters(WIDTH - 2 * MARGIN, 13)
    )
    y = float(MARGIN + 12)
    parts = []
    for text in asked:
        parts.append(write(MARGIN, y, text, bold=True, size=13))
        y += LINE
    said = [(text, TEXT) for text in wrap(journey.outcome, most)]
    said += [(text, WRONG) for banner in timeline.banners for text in wrap(f"! {banner.text}", most)]
    said += [(text, WRONG) for finding in journey.findings for text in wrap(f"! {finding}", most)]
    for text, fill in said:
        parts.append(write(MARGIN, y, text, fill))
        y += LINE
    return parts, y


def _legend(y: float) -> str:
    parts, x = [], float(MARGIN)
    for name, (sign, ink) in EVIDENCE.items():
        parts.append(write(x, y, sign, ink, bold=True, size=11))
        parts.append(write(x + 13, y, f"{name}: {_MEANING[name]}", MUTED, size=11))
        x += 13 + (len(name) + len(_MEANING[name]) + 5) * 6.7
    return "".join(parts)
