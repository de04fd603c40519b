"""What an nftables table is made of, and the statements of `nft -f` that make it, spelled as kube-proxy spells them.

kube-proxy leaves the spelling to a library (sigs.k8s.io/knftables); this is its output, not nft's own listing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

from kplab.model.cluster import Family

TABLE = "kube-proxy"
"""The one table of each family that kube-proxy writes to."""

Verb = Literal["add", "flush", "delete"]


class NftTable(NamedTuple):
    """The table itself; its family and name are the program's."""

    comment: str = ""


class BaseHook(NamedTuple):
    """Where a base chain hangs."""

    type: Literal["filter", "nat"]
    hook: Literal["prerouting", "input", "forward", "output", "postrouting"]
    priority: int


class NftChain(NamedTuple):
    """A chain; without a hook, a rule or a map's element leads to it."""

    name: str
    comment: str = ""
    hook: BaseHook | None = None


class NftRule(NamedTuple):
    """A rule, appended to its chain; `text` is without the comment. A tuple: a large cluster has many."""

    chain: str
    text: str
    comment: str = ""


class NftSet(NamedTuple):
    """A set, or a map of verdicts."""

    kind: Literal["set", "map"]
    name: str
    type: str
    """Of its keys: "ipv4_addr . inet_proto . inet_service"; a map's has " : verdict" after it."""
    comment: str = ""
    flags: tuple[str, ...] = ()
    timeout_seconds: int | None = None


class NftElement(NamedTuple):
    """An element of a set or a map."""

    holder: str
    """The set or map that holds it."""
    key: str
    """"10.96.0.20 . tcp . 80"."""
    value: str = ""
    """The verdict: "goto service-…", "drop"; empty in a set."""
    comment: str = ""


NftObject = NftTable | NftChain | NftRule | NftSet | NftElement


class Statement(NamedTuple):
    """One line of a transaction."""

    verb: Verb
    what: NftObject


def table_words(family: Family) -> str:
    """Return "ip kube-proxy" or "ip6 kube-proxy"."""
    return f"{'ip' if family == 4 else 'ip6'} {TABLE}"


def statement_text(statement: Statement, family: Family) -> str:
    """Return a statement's line, without its end."""
    verb, what = statement
    place = table_words(family)
    match what:
        case NftTable():
            return f"{verb} table {place}{_options(verb, _comment(what.comment))}"
        case NftChain():
            hook = what.hook
            options = [f"type {hook.type} hook {hook.hook} priority {hook.priority}"] if hook else []
            return f"{verb} chain {place} {what.name}{_options(verb, [*options, *_comment(what.comment)])}"
        case NftRule():
            return rule_line(what, place)
        case NftSet():
            return f"{verb} {what.kind} {place} {what.name}{_options(verb, _set_options(what))}"
        case NftElement():
            return element_line(what, place) if verb == "add" else deleted_element_line(what.holder, what.key, place)
        case _:
            assert_never(what)


def rule_line(rule: NftRule, place: str) -> str:
    """Return the line that appends a rule; `place` is `table_words`'s."""
    comment = f' comment "{rule.comment}"' if rule.comment else ""
    return f"add rule {place} {rule.chain} {rule.text}{comment}"


def element_line(element: NftElement, place: str) -> str:
    """Return the line that adds an element: key, then comment, then verdict."""
    holder, key, value, comment = element
    note = f' comment "{comment}"' if comment else ""
    return f"add element {place} {holder} {{ {key}{note}{' : ' + value if value else ''} }}"


def deleted_element_line(holder: str, key: str, place: str) -> str:
    """Return the line that deletes an element; nft wants its key only."""
    return f"delete element {place} {holder} {{ {key} }}"


def _comment(text: str) -> list[str]:
    return [f'comment "{text}"'] if text else []


def _set_options(what: NftSet) -> list[str]:
    options = [f"type {what.type}"]
    if what.flags:
        options.append(f"flags {','.join(what.flags)}")
    if what.timeout_seconds is not None:
        options.append(f"timeout {what.timeout_seconds}s")
    return options + _comment(what.comment)


def _options(verb: Verb, options: list[str]) -> str:
    if verb != "add" or not options:
        return ""
    return f" {{ {' ; '.join(options)} ; }}"
