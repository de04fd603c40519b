"""Which hops a journey must have, in which order: one small language for lessons and for tests.

An `Expectation` is an ordered subset: its patterns must be met by hops in this order, and other hops may stand
between them; a pattern of `never` must be met by no hop at all. A pattern is a table of a hop's fields:

    {"kind": "rule", "chain": "&svc KUBE-SVC-*", "tried": ">=2"}, {"kind": "DNAT", "after.dst": "&pod"}

Values: text or a number is compared; `*` inside or at the end of a text is a wildcard; `~regex` is searched for;
`>=N` and `<=N` compare numbers; `-` means that the hop lacks the field; a list means any one of its values.
Aliases tie hops together: `&x` stores the value (`&x PATTERN` when it also fits), `*x` must be equal to what was
stored, `!x` must differ. Text that begins with one of these marks is written `=text`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

from kplab.course.hop_fields import FIELDS, FieldValue, read_field
from kplab.model.journey import Hop, Journey

Written = str | int | Sequence[str | int]
"""A value as an author writes it."""

_ALIAS = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class FieldPattern:
    """One field of a pattern; `written` is a text or number, or several of which one must fit."""

    field: str
    written: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HopPattern:
    """What one hop must be like. `saying` is the author's own words for it, used when it is missed."""

    fields: tuple[FieldPattern, ...]
    saying: str = ""

    def __str__(self) -> str:
        return self.saying or ", ".join(f"{f.field} {' or '.join(f.written)}" for f in self.fields)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Hops that must come in this order, and hops that must not come at all."""

    hops: tuple[HopPattern, ...] = ()
    never: tuple[HopPattern, ...] = ()


NOTHING = Expectation()
"""Expects nothing: every journey meets it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of matching: the hops found (one a pattern), the aliases' values, and why it was missed."""

    found: tuple[Hop, ...]
    aliases: Mapping[str, FieldValue]
    missed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was missed."""
        return not self.missed


def pattern(fields: Mapping[str, Written], saying: str = "") -> HopPattern:
    """Make a pattern of a table of fields; ValueError says which field is not one, or which value is ill-formed."""
    made = []
    for name, written in fields.items():
        if name not in FIELDS:
            raise ValueError(f"{name} is not a field of a hop; fields: {', '.join(FIELDS)}")
        values = [written] if isinstance(written, str | int) else list(written)
        texts = tuple(str(value) for value in values)
        if not texts:
            raise ValueError(f"{name} has an empty list; expected at least one value")
        for text in texts:
            _refuse_ill_formed(name, text)
        made.append(FieldPattern(name, texts))
    if not made:
        raise ValueError("a pattern has no field, and would fit every hop")
    return HopPattern(tuple(made), saying)


def expectation(hops: Iterable[Mapping[str, Written]], never: Iterable[Mapping[str, Written]] = ()) -> Expectation:
    """Make an expectation of tables of fields; ValueError as `pattern`, and for an alias that nothing stores."""
    made = Expectation(tuple(pattern(h) for h in hops), tuple(pattern(n) for n in never))
    stored: set[str] = set()
    for one in (*made.hops, *made.never):
        used, named = _aliases(one)
        stored |= named
        if used - stored:
            raise ValueError(f"{sorted(used - stored)[0]!r} is compared with, but no hop before stores it with &")
    return made


def aliases_of(expected: Expectation) -> frozenset[str]:
    """Return the names that an expectation stores."""
    return frozenset(name for one in expected.hops for name in _aliases(one)[1])


def match(expected: Expectation, journey: Journey) -> Outcome:
    """Find the expected hops in a journey; the outcome says what was missed and which hop came closest."""
    search = _Search(expected.hops, journey.hops)
    found = search.run()
    missed = [] if found is not None else [search.missed_because()]
    aliases = search.aliases if found is not None else search.best_aliases
    for forbidden in expected.never:
        hop = next((h for h in journey.hops if _fits(forbidden, h, dict(aliases))), None)
        if hop is not None:
            missed.append(f"missed because there is a hop that must not be: {forbidden}. Hop {hop.n}: {hop.text}")
    return Outcome(tuple(found or ()), dict(aliases), tuple(missed))


class _Search:
    """Depth first, earliest hop first; it goes back when a later alias does not fit."""

    def __init__(self, patterns: tuple[HopPattern, ...], hops: tuple[Hop, ...]) -> None:
        self.patterns, self.hops = patterns, hops
        self.aliases: dict[str, FieldValue] = {}
        self.best: list[Hop] = []
        self.best_aliases: dict[str, FieldValue] = {}
        self._dead: set[tuple[int, int, tuple[tuple[str, FieldValue], ...]]] = set()

    def run(self) -> list[Hop] | None:
        return self._from(0, 0, {}, [])

    def _from(self, index: int, start: int, aliases: dict[str, FieldValue], found: list[Hop]) -> list[Hop] | None:
        if len(found) > len(self.best):
            self.best, self.best_aliases = found, aliases
        if index == len(self.patterns):
            self.aliases = aliases
            return found
        key = (index, start, tuple(sorted(aliases.items())))
        if key in self._dead:
            return None
        for position in range(start, len(self.hops)):
            bound = dict(aliases)
            if _fits(self.patterns[index], self.hops[position], bound):
                rest = self._from(index + 1, position + 1, bound, [*found, self.hops[position]])
                if rest is not None:
                    return rest
        self._dead.add(key)
        return None

    def missed_because(self) -> str:
        wanted = self.patterns[len(self.best)]
        after = self.best[-1].n if self.best else 0
        where = f"after hop {after} " if after else ""
        text = f"missed because no hop {where}is: {wanted}."
        rest = [hop for hop in self.hops if hop.n > after]
        if not rest:
            return text + " The story ends before it."
        _, _, number, closest = min(map(partial(self._distance, wanted), rest), key=lambda found: found[:3])
        return f"{text} Closest is hop {number} ({closest.kind}): {'; '.join(self._misfits(wanted, closest))}."

    def _distance(self, wanted: HopPattern, hop: Hop) -> tuple[int, bool, int, Hop]:
        """Return what orders hops by likeness: how many fields do not fit, whether the kind does not, its number."""
        wrong = self._misfits(wanted, hop)
        return len(wrong), any(text.startswith("kind ") for text in wrong), hop.n, hop

    def _misfits(self, wanted: HopPattern, hop: Hop) -> list[str]:
        return _misfits(wanted, hop, dict(self.best_aliases))


def _fits(wanted: HopPattern, hop: Hop, aliases: dict[str, FieldValue]) -> bool:
    """Whether a hop fits; aliases stored on the way are added to `aliases`."""
    return all(_field_fits(field, hop, aliases) for field in wanted.fields)


def _misfits(wanted: HopPattern, hop: Hop, aliases: dict[str, FieldValue]) -> list[str]:
    """Say for each field that does not fit what it is, and what it should be."""
    return [
        f"{field.field} is {_shown(read_field(hop, field.field))}, not {' or '.join(field.written)}"
        for field in wanted.fields
        if not _field_fits(field, hop, aliases)
    ]


def _field_fits(field: FieldPattern, hop: Hop, aliases: dict[str, FieldValue]) -> bool:
    value = read_field(hop, field.field)
    return any(_value_fits(written, value, aliases) for written in field.written)


def _value_fits(written: str, value: FieldValue | None, aliases: dict[str, FieldValue]) -> bool:
    if written == "-":
        return value is None
    if value is None:
        return False
    mark, rest = written[:1], written[1:]
    if mark == "&":
        name, _, narrower = rest.partition(" ")
        if narrower and not _value_fits(narrower, value, aliases):
            return False
        aliases[name] = value
        return True
    if mark == "*" and _ALIAS.fullmatch(rest):
        return aliases.get(rest) == value
    if mark == "!":
        return rest in aliases and aliases[rest] != value
    return _literal_fits(written, value)


def _literal_fits(written: str, value: FieldValue) -> bool:
    if written.startswith("="):
        return str(value) == written[1:]
    if written.startswith("~"):
        return re.search(written[1:], str(value)) is not None
    if written.startswith((">=", "<=")):
        if not isinstance(value, int):
            return False
        bound = int(written[2:])
        return value >= bound if written[0] == ">" else value <= bound
    if "*" in written:
        return fnmatchcase(str(value), written)
    return str(value) == written


def _refuse_ill_formed(name: str, written: str) -> None:
    """Raise ValueError for a value that could never fit, or not be read."""
    mark, rest = written[:1], written[1:]
    if mark == "&":
        alias, _, narrower = rest.partition(" ")
        if not _ALIAS.fullmatch(alias):
            raise ValueError(f"{name} = {written!r}: expected & and a name in small letters, like &pod")
        if narrower:
            _refuse_ill_formed(name, narrower)
    elif mark == "!" and not _ALIAS.fullmatch(rest):
        raise ValueError(f"{name} = {written!r}: expected ! and the name of a stored value, like !pod")
    elif mark == "~":
        try:
            re.compile(rest)
        except re.error as error:
            raise ValueError(f"{name} = {written!r}: not a regular expression: {error}") from error
    elif written.startswith((">=", "<=")) and not written[2:].isdigit():
        raise ValueError(f"{name} = {written!r}: expected a whole number after {written[:2]}")


def _aliases(one: HopPattern) -> tuple[set[str], set[str]]:
    """Return the aliases that a pattern compares with, and those that it stores."""
    used, named = set(), set()
    for text in (text for field in one.fields for text in field.written):
        mark, rest = text[:1], text[1:]
        if mark == "&":
            named.add(rest.partition(" ")[0])
        elif mark == "!" or (mark == "*" and _ALIAS.fullmatch(rest)):
            used.add(rest)
    return used, named


def _shown(value: FieldValue | None) -> str:
    return "absent" if value is None else str(value)
