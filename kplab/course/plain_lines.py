"""Steps, journeys and verdicts as lines of text: no colour, no cursor, nothing that a screen reader stumbles over."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from kplab.course.engine import LessonRun
from kplab.course.grading import Verdict
from kplab.course.lesson import LessonStep, Preset
from kplab.model.journey import Hop, Journey

WIDTH = 100
"""Columns that prose is wrapped to. Rules and code are never wrapped: they are to be copied."""

_BLOCK = re.compile(r"\n\s*\n")
_VERBATIM = re.compile(r" {4}|[|#>]|```")
_ITEM = re.compile(r"(?P<mark>[-*]|\d+\.) ")
_EMPHASIS = re.compile(r"(\*\*|\*|`)(?P<text>[^*`\n]+)\1")


def prose(markdown: str) -> Iterator[str]:
    """Turn our Markdown into wrapped lines: emphasis marks go, code blocks and tables stay as they are."""
    for block in _BLOCK.split(markdown.strip("\n")):
        lines = block.splitlines()
        if _VERBATIM.match(block):
            yield from lines
        elif _ITEM.match(block):
            for item in _items(lines):
                yield from textwrap.wrap(_unmarked(item), WIDTH, subsequent_indent="  ")
        else:
            yield from textwrap.wrap(_unmarked(" ".join(line.strip() for line in lines)), WIDTH)
        yield ""


def step_lines(run: LessonRun) -> Iterator[str]:
    """Print the current step: where it is, its text, its question and its task."""
    step, state = run.step, run.state
    yield f"Step {run.index + 1} of {len(run.lesson.steps)}: {step.title}" + (" (passed)" if state.passed else "")
    yield ""
    yield from prose(step.text)
    yield from question_lines(step, state.prediction)
    yield f"Task: {step.task}"
    if step.preset:
        yield f"send will send: {preset_line(step.preset)}"
    yield "Type help for the commands."


def question_lines(step: LessonStep, prediction: str | None) -> Iterator[str]:
    """Print a step's question with numbered answers; the one that was chosen is said in words."""
    if step.question is None:
        return
    yield f"Question: {step.question.prompt}"
    for number, choice in enumerate(step.question.choices, 1):
        chosen = " (your answer)" if choice.id == prediction else ""
        yield f"  {number}  {choice.label}{chosen}"
    yield ""


def preset_line(preset: Preset) -> str:
    """Print a preset in one line."""
    client = "" if preset.client == "scapy" else f"{preset.client} "
    return f"{client}{preset.expression}  from {preset.sender}  ({preset.label})"


def journey_lines(journey: Journey, *, everything: bool = False) -> Iterator[str]:
    """Print a journey, a line a hop.

    Unless `everything` is asked for, these are folded, with their counts: skipped rules, chains of mangle and
    filter that let the packet pass as it is, and the packets after the first reply.
    """
    yield f"{journey.packet}  from {journey.sender}"
    yield f"{'hop':>4}  {'where':<9} {'what':<12} {'evidence':<9} "
    for packet, group in groupby(journey.hops, key=lambda hop: hop.packet):
        hops = list(group)
        if packet > 2 and not everything:
            yield f"      packet {packet}: {_packet_summary(hops)}"
            continue
        if journey.packets > 1:
            yield f"      packet {packet}, {hops[0].direction}: {hops[0].before.src} to {hops[0].before.dst}"
        for quiet, run in groupby(hops, key=lambda hop: not everything and _is_quiet(hop)):
            if quiet:
                yield _quiet_line(list(run))
            else:
                for hop in run:
                    yield from _hop_lines(hop, everything)
    yield f"Outcome: {journey.outcome}"
    if not journey.complete:
        yield f"INCOMPLETE: {journey.incomplete_because or 'events were lost'}"
    for text in journey.disagreements:
        yield f"MODEL AND KERNEL DISAGREE: {text}"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Print a verdict: what was found, then why it is not enough."""
    yield "PASSED" if verdict.passed else "NOT YET"
    for line in verdict.lines:
        yield from _wrapped(line, "  ")
    for missed in verdict.missed:
        yield from _wrapped(f"- {missed}", "  ")


def _hop_lines(hop: Hop, everything: bool) -> Iterator[str]:
    if hop.skipped and everything:
        for skip in hop.skipped:
            yield f"        not: {skip.rule}"
            yield f"             {skip.reason}"
    elif hop.skipped:
        yield f"      {_count(len(hop.skipped), 'rule')} tried before, and skipped; the last: {hop.skipped[-1].reason}"
    yield f"{hop.n:>4}  {hop.node:<9} {hop.kind:<12} {hop.evidence:<9} {hop.text}"
    if hop.rule:
        yield f"        {hop.rule}"
    if hop.disagreement:
        yield f"      MODEL AND KERNEL DISAGREE: {hop.disagreement}"


def _is_quiet(hop: Hop) -> bool:
    """Whether the hop is a step through chains outside nat that left the packet as it was, and let it go on.

    nftables mode has one table for all: there a rule is told that found something in a map, or is in a Service's chain.
    """
    through = hop.kind in {"chain", "rule"} and hop.table != "nat" and hop.before == hop.after
    found = hop.kind == "rule" and (hop.lookup is not None or "/" in (hop.chain or ""))
    return through and not found and hop.disagreement is None and hop.verdict not in {"drop", "reject", "policy drop"}


def _quiet_line(hops: list[Hop]) -> str:
    places = dict.fromkeys(f"{hop.table} {hop.chain}" for hop in hops)
    first, last = hops[0], hops[-1]
    numbers = f"{first.n:>4}" + ("" if first is last else f"-{last.n}")
    return f"{numbers}  {first.node}: let pass unchanged by {', '.join(places)}"


def _packet_summary(hops: list[Hop]) -> str:
    first, last = hops[0], hops[-1]
    tables = dict.fromkeys(hop.table for hop in hops if hop.table)
    met = f"tables met: {', '.join(tables)}" if tables else "no rule of any table matched it"
    # nftables mode has one table, and in it chains named after their types.
    entered = "nat" in tables or any((hop.chain or "").startswith("nat-") for hop in hops)
    nat = "" if entered else "; it did not enter nat"
    return f"{first.direction}, {first.node} to {last.node}, {_count(len(hops), 'hop')}; {met}{nat}"


def _items(lines: list[str]) -> Iterator[str]:
    item: list[str] = []
    for line in lines:
        if _ITEM.match(line) and item:
            yield " ".join(item)
            item = []
        item.append(line.strip())
    yield " ".join(item)


def _unmarked(text: str) -> str:
    return _EMPHASIS.sub(lambda found: found["text"], text)


def _wrapped(line: str, indent: str) -> Iterable[str]:
    return textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ") or [""]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
