"""`nft -a -j list ruleset` or `list table` -> `NftRuleset` (libnftables-json(5)).

Only the frame is read here: tables, chains, rules in order, sets and maps. What a rule says is read when somebody
asks for it (`rules.nft_expressions`), and an element of a map when it is hit, so a map of 24,000 elements is ready
in a few hundredths of a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from kplab.errors import UsageError
from kplab.model.nft import Elements, NftChain, NftRule, NftRuleset, NftSet, NftTable
from kplab.rules.nft_expressions import key_of, read_element, read_statements
from kplab.rules.nft_text import rule_text

_HINT = "Give the output of `nft -a -j list ruleset`, unshortened."
_KINDS = ("table", "chain", "rule", "set", "map")


def parse_nft(text: str) -> NftRuleset:
    """Read a listing: one JSON document, or one object a line.

    An expression that we do not know becomes `NotUnderstood`; kinds of object that no packet meets by themselves
    (counters, flowtables, the head) are passed over. Raises UsageError where the text is no such listing.
    """
    reader = _Reader()
    for listed in _objects(text):
        if not isinstance(listed, dict):
            raise _unusable(f"an object was expected, not {_short(listed)}")
        for kind, body in listed.items():
            if kind in _KINDS:
                reader.take(kind, body)
    return reader.finish()


def _objects(text: str) -> Iterator[Any]:
    if not text.strip():
        return
    try:
        listed = msgspec.json.decode(text)
    except RecursionError:
        raise _unusable("it is nested too deeply") from None
    except (ValueError, msgspec.DecodeError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise _unusable(str(error)) from None
        for line in lines:
            yield from _line(line)
        return
    if isinstance(listed, dict) and "nftables" in listed:
        listed = listed["nftables"]
        if not isinstance(listed, list):
            raise _unusable(f"nftables holds {_short(listed)}, not a list")
    yield from listed if isinstance(listed, list) else [listed]


def _line(line: str) -> Iterator[Any]:
    try:
        listed = msgspec.json.decode(line)
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise _unusable(f"{error} in {line[:60]!r}") from None
    yield from listed if isinstance(listed, list) else [listed]


def _unusable(happened: str) -> UsageError:
    return UsageError("read nft's rules", happened, _HINT)


def _short(thing: Any) -> str:
    return json.dumps(thing)[:80]


class _Reader:
    """What was read so far, by (family, table)."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], str | None] = {}
        """With each table's comment."""
        self.chains: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.rules: dict[tuple[str, str, str], list[NftRule]] = {}
        self.sets: dict[tuple[str, str], dict[str, NftSet]] = {}

    def take(self, kind: str, body: Any) -> None:
        """Take one object; raises UsageError where it lacks what each has."""
        if not isinstance(body, dict):
            raise _unusable(f"a {kind} is {_short(body)}, not an object")
        family, name = self._text(kind, body, "family"), self._text(kind, body, "chain" if kind == "rule" else "name")
        table = name if kind == "table" else self._text(kind, body, "table")
        comment = body.get("comment") if kind == "table" else None
        if comment is not None or (family, table) not in self.tables:
            self.tables[family, table] = comment if isinstance(comment, str) else None
        if kind == "chain":
            self.chains.setdefault((family, table), {})[name] = body
        elif kind == "rule":
            self._rule(family, table, name, body)
        elif kind in ("set", "map"):
            self.sets.setdefault((family, table), {})[name] = _read_set(name, body)

    def _text(self, kind: str, body: dict[str, Any], field: str) -> str:
        value = body.get(field)
        if not isinstance(value, str):
            raise _unusable(f"a {kind} has no {field}: {_short(body)}")
        return value

    def _rule(self, family: str, table: str, chain: str, body: dict[str, Any]) -> None:
        rules = self.rules.setdefault((family, table, chain), [])
        handle, comment = body.get("handle"), body.get("comment")
        rules.append(
            NftRule(
                chain=chain,
                number=len(rules) + 1,
                handle=handle if isinstance(handle, int) else None,
                comment=comment if isinstance(comment, str) else None,
                raw=body.get("expr", []),
                read=read_statements,
                write=rule_text,
            )
        )

    def finish(self) -> NftRuleset:
        """Return all that was read; a rule's chain exists even if only the rule was listed."""
        tables = {}
        for family, table in sorted(self.tables):
            named = self.chains.get((family, table), {})
            of_rules = (chain for f, t, chain in self.rules if (f, t) == (family, table))
            chains = {
                chain: _chain(chain, named.get(chain, {}), tuple(self.rules.get((family, table, chain), ())))
                for chain in dict.fromkeys([*named, *of_rules])
            }
            comment = self.tables[family, table]
            tables[family, table] = NftTable(family, table, chains, self.sets.get((family, table), {}), comment)
        return NftRuleset(tables)


def _chain(name: str, body: dict[str, Any], rules: tuple[NftRule, ...]) -> NftChain:
    def text(field: str) -> str | None:
        value = body.get(field)
        return value if isinstance(value, str) else None

    priority = body.get("prio")
    return NftChain(
        name, rules, text("type"), text("hook"), priority if isinstance(priority, int) else None, text("policy"),
        text("comment"),
    )  # fmt: skip


def _read_set(name: str, body: dict[str, Any]) -> NftSet:
    kind, flags, values = body.get("type"), body.get("flags"), body.get("map")
    raw = body.get("elem", [])
    timeout, comment, size = body.get("timeout"), body.get("comment"), body.get("size")
    return NftSet(
        name=name,
        type=tuple(str(column) for column in kind) if isinstance(kind, list) else (str(kind),),
        elements=Elements(raw if isinstance(raw, list) else [raw], read_element, key_of),
        values=str(values) if values is not None else None,
        flags=tuple(str(flag) for flag in flags) if isinstance(flags, list) else (str(flags),) if flags else (),
        timeout=timeout if isinstance(timeout, int) else None,
        comment=comment if isinstance(comment, str) else None,
        size=size if isinstance(size, int) else None,
    )
