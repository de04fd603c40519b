"""One line of a listing, its parts told apart: rules of iptables and nft, elements, servers, routes, bytes."""

from __future__ import annotations

import re
from typing import Literal

from kplab.tui.paint.lines import Line, Span, StyleName, clip_line, line, width_of

Touch = Literal["now", "before", ""]
"""What the packet did with a line: this hop touched it, one before did, or none."""

_RULE = re.compile(r"(-A )(\S+)(.*?)(?:( -[jg] )(\S+)(.*))?$")
_COMMENT = re.compile(r'( (?:-m )?comment (?:--comment )?(?:"[^"]*"|\S+))')
_NFT_VERDICT = re.compile(r"(.*?)\b((?:jump|goto) \S+|accept|drop|reject|masquerade\b.*|dnat\b.*)(.*)$")
_HEADING = re.compile(r"\s*(?:table|chain|set|map) \S+.*\{$|Name: |(?:TCP|UDP|SCTP) +\S+")
_BYTES = re.compile(r"(key: [0-9a-f ]+value: [0-9a-f ]*)(# .*)$")
_MARKS: dict[Touch, tuple[str, StyleName]] = {"now": ("▶", "now"), "before": ("▸", "match"), "": (" ", "plain")}


def paint_rule(text: str, width: int, *, cursor: bool, touch: Touch, found: bool) -> Line:
    """Paint a line; `touch` is the packet's, `found` says that it is a hit of the search.

    A line that is too long shows … in place of its comment, or of a map's bytes; the panel shows the one under the
    cursor in full.
    """
    mark, style = _MARKS[touch]
    head = Span("· ", "changed") if found and not touch else Span(f"{mark} ", style)
    body = tuple(_parts(text))
    if len(text) + 2 > width:
        body = tuple(_shortened(span) for span in body)
        if body[0].text.startswith("key: ") and width_of(body) + 2 > width:
            body = body[1:]
    if cursor:
        body = tuple(span._replace(style="cursor") for span in body)
    elif touch == "now":
        body = tuple(span._replace(style="lit") for span in body)
    return clip_line((head, *body), width)


def paint_fold(hidden: int, width: int, *, cursor: bool) -> Line:
    """Paint what stands in place of folded elements."""
    style: StyleName = "cursor" if cursor else "fold"
    said = Span(f"               … {hidden:,} more", style)
    return clip_line(line(said, Span("  ⏎", "key"), Span(" unfolds", "muted")), width)


def _shortened(span: Span) -> Span:
    """A comment gives way, and so do a map's bytes behind the first four: the line beneath has them all."""
    if _COMMENT.fullmatch(span.text):
        return span._replace(text=" …")
    if span.text.startswith("key: "):
        return span._replace(text=f"{span.text[: len('key: 00 00 00 00')]} … ")
    return span


def _parts(text: str) -> Line:
    if text.startswith("*"):
        return line(Span(text, "title"))
    if text.startswith(":"):
        name, _, rest = text.partition(" ")
        return line(Span(name, "strong"), Span(f" {rest}", "muted"))
    if text.startswith("-A "):
        return _iptables(text)
    if _HEADING.match(text):
        return line(Span(text, "strong"))
    coded = _BYTES.match(text)
    if coded is not None:
        return line(Span(coded[1], "muted"), Span(coded[2], "plain"))
    return _nft(text)


def _iptables(text: str) -> Line:
    found = _RULE.match(text)
    if found is None:
        return line(Span(text, "muted"))
    add, chain, conditions, jump, target, rest = found.groups()
    spans = [Span(add, "muted"), Span(chain, "muted"), *_commented(conditions or "")]
    return line(*spans, Span(jump or "", "muted"), Span(target or "", "match"), Span(rest or "", "plain"))


def _nft(text: str) -> Line:
    """A rule or an element; what is neither has no verdict, and is one plain span."""
    found = _NFT_VERDICT.match(text)
    if found is None or text.lstrip().startswith(("comment ", "type ", "size ", "flags ", "timeout ")):
        return line(*_commented(text))
    return line(*_commented(found[1]), Span(found[2], "match"), *_commented(found[3]))


def _commented(text: str) -> list[Span]:
    return [Span(part, "muted" if _COMMENT.fullmatch(part) else "plain") for part in _COMMENT.split(text) if part]
