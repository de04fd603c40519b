"""One line of an iptables-save dump, its parts told apart."""

from __future__ import annotations

import re

from kplab.tui.paint.lines import Line, Span, StyleName, clip_line, line

_RULE = re.compile(r"(-A )(\S+)(.*?)(?:( -[jg] )(\S+)(.*))?$")
_COMMENT = re.compile(r'( -m comment --comment (?:"[^"]*"|\S+))')


def paint_rule(text: str, width: int, *, cursor: bool, current: bool, found: bool) -> Line:
    """Paint a line; `current` is the rule of the hop that is shown, `found` a hit of the search.

    A line that is too long shows … in place of its comment; the panel shows the one under the cursor in full.
    """
    mark = "▶" if current else "·" if found else " "
    head = Span(f"{mark} ", "now" if current else "changed")
    body = tuple(_parts(text))
    if len(text) + 2 > width:
        body = tuple(span._replace(text=" …") if _COMMENT.fullmatch(span.text) else span for span in body)
    if cursor:
        body = tuple(span._replace(style="cursor") for span in body)
    elif current:
        body = tuple(span._replace(style="lit") for span in body)
    return clip_line((head, *body), width)


def _parts(text: str) -> Line:
    if text.startswith("*"):
        return line(Span(text, "title"))
    if text.startswith(":"):
        name, _, rest = text.partition(" ")
        return line(Span(name, "strong"), Span(f" {rest}", "muted"))
    found = _RULE.match(text)
    if found is None:
        return line(Span(text, "muted"))
    add, chain, conditions, jump, target, rest = found.groups()
    spans = [Span(add, "muted"), Span(chain, "muted")]
    for part in _COMMENT.split(conditions or ""):
        style: StyleName = "muted" if part.startswith(" -m comment") else "plain"
        spans.append(Span(part, style))
    return line(*spans, Span(jump or "", "muted"), Span(target or "", "match"), Span(rest or "", "plain"))
