"""Whether an nft rule matches a packet, what it does to it, and if it does not match, the first thing that does not.

Statements are taken in their order, as nft_do_chain does (net/netfilter/nf_tables_core.c): one that does not
hold, or a map without an element for the key, ends the rule (NFT_BREAK), and what was set before it stays set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from kplab.model.journey import Lookup
from kplab.model.nft import (
    Compare,
    Constant,
    Ct,
    Elements,
    MapValue,
    Meta,
    Nat,
    NftRule,
    NftSet,
    NotUnderstood,
    Numgen,
    Passive,
    Range,
    Reject,
    SetField,
    Statement,
    Update,
    Value,
    Verdict,
    VerdictMap,
)
from kplab.trace.match_outcome import MET, Outcome, Unknowable, Unmet
from kplab.trace.matching import Probe
from kplab.trace.nft_compare import compare
from kplab.trace.nft_lookup import ask
from kplab.trace.nft_types import Choice, Tried
from kplab.trace.nft_values import Got, bits, value_of, words


@dataclass(slots=True)
class _Attempt:
    """A rule being tried."""

    sets: Mapping[str, NftSet]
    probe: Probe
    verdict: str | None = "continue"
    lookups: list[Lookup] = field(default_factory=list)
    choice: Choice | None = None
    unknowable: Unknowable | None = None

    def done(self, outcome: Outcome) -> Tried:
        """Return what came of it."""
        # What we have no model of may hold a verdict, but none that a later statement of the same rule overrules.
        open_end = isinstance(outcome, Unmet) or (isinstance(outcome, Unknowable) and self.verdict == "continue")
        verdict = None if open_end else self.verdict
        return Tried(outcome, self.probe, verdict, tuple(self.lookups), self.choice)


def try_nft_rule(rule: NftRule, sets: Mapping[str, NftSet], probe: Probe) -> Tried:
    """Return what the rule makes of the packet; `sets` are its table's."""
    attempt = _Attempt(sets, probe)
    for statement in rule.statements:
        outcome = _take(attempt, statement)
        if isinstance(outcome, Unmet):
            return attempt.done(outcome)
        if isinstance(outcome, Unknowable):
            attempt.unknowable = attempt.unknowable or outcome
    return attempt.done(attempt.unknowable or MET)


def _take(attempt: _Attempt, statement: Statement) -> Outcome:
    if isinstance(statement, Compare):
        outcome, lookup = compare(statement, attempt.sets, attempt.probe)
        attempt.lookups += [lookup] if lookup else []
        return outcome
    if isinstance(statement, VerdictMap):
        return _verdict_map(attempt, statement)
    if isinstance(statement, Verdict):
        attempt.verdict = statement.text
    elif isinstance(statement, Reject):
        attempt.verdict = "reject"
    elif isinstance(statement, SetField):
        return _set_field(attempt, statement)
    elif isinstance(statement, Nat):
        return _nat(attempt, statement)
    elif isinstance(statement, NotUnderstood):
        return Unknowable(f"`{statement.text}` is not understood")
    elif not isinstance(statement, Update | Passive):
        assert_never(statement)
    return MET


def _verdict_map(attempt: _Attempt, statement: VerdictMap) -> Outcome:
    if isinstance(statement.key, Numgen) and isinstance(statement.data, Elements):
        attempt.choice = _choice(statement.key, statement.data)
        attempt.verdict = None
        return Unknowable(f"the draw: {words(statement.key)}")
    asked = ask(statement.key, statement.data, attempt.sets, attempt.probe)
    attempt.lookups.append(asked.lookup)
    if asked.missing:
        return Unmet(asked.missing)
    if asked.open:
        attempt.verdict = None
        return Unknowable(asked.open)
    if asked.element is None:
        return Unmet(no_element(asked.lookup))
    value = asked.element.value
    if not isinstance(value, Verdict):
        return Unknowable(f"`{asked.element.text}` is not understood")
    attempt.verdict = value.text
    return MET


def no_element(lookup: Lookup) -> str:
    """Say that a map or set has no element for the key: one lookup, whatever it holds."""
    kind = "the anonymous map" if lookup.map == "(anonymous)" else f"map {lookup.map}"
    return f"{kind} ({count(lookup.elements)}) has none for {lookup.key}"


def count(elements: int) -> str:
    """Return "1 element", "24 elements"."""
    return f"{elements} element{'' if elements == 1 else 's'}"


def _choice(draw: Numgen, data: Elements) -> Choice:
    ways: list[tuple[int, str]] = []
    for element in data:
        (number, *_) = element.key
        if isinstance(number, Constant) and isinstance(number.value, int):
            ways.append((number.value, _way(element.value)))
        elif isinstance(number, Range) and isinstance(number.low, int) and isinstance(number.high, int):
            ways += [(each, _way(element.value)) for each in range(number.low, min(number.high, draw.mod) + 1)]
    return Choice(draw.mod, tuple(ways))


def _way(value: Verdict | tuple[Value, ...] | None) -> str:
    if isinstance(value, Verdict):
        return value.text
    return address_text(value or ())


def address_text(value: tuple[Value, ...]) -> str:
    """Return "10.244.1.10:8080" of an address and a port, "10.244.1.10" of an address alone."""
    if len(value) != 2:
        return " . ".join(str(each) for each in value)
    return f"[{value[0]}]:{value[1]}" if ":" in str(value[0]) else f"{value[0]}:{value[1]}"


def _set_field(attempt: _Attempt, statement: SetField) -> Outcome:
    """Set the mark or the entry's mark; other fields nobody asks for in a journey."""
    value = value_of(statement.value, attempt.probe)
    own = bits(value.value) if isinstance(value, Got) else None
    if statement.key == Meta("mark"):
        attempt.probe = replace(attempt.probe, mark=own or 0, mark_known=own is not None)
    elif statement.key == Ct("mark"):
        attempt.probe = replace(attempt.probe, ct_mark=own)
    return MET


def _nat(attempt: _Attempt, statement: Nat) -> Outcome:
    """Translate: always ends the chain with an accept (nft_nat_eval)."""
    attempt.verdict = "accept"
    address = statement.address
    if not isinstance(address, MapValue):
        return MET
    if isinstance(address.key, Numgen) and isinstance(address.data, Elements):
        attempt.choice = _choice(address.key, address.data)
        return MET
    asked = ask(address.key, address.data, attempt.sets, attempt.probe)
    attempt.lookups.append(asked.lookup)
    if asked.missing or (asked.element is None and not asked.open):
        return Unmet(asked.missing or no_element(asked.lookup))
    return Unknowable(asked.open) if asked.open else MET
