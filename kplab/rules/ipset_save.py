"""`ipset save` -> the sets that rules name: `create NAME TYPE …` and `add NAME MEMBER …`, a line each."""

from __future__ import annotations

from kplab.errors import UsageError
from kplab.model.ruleset import IpSet

_HINT = "Give the output of `ipset save`, unshortened."


def parse_ipset_save(text: str) -> dict[str, IpSet]:
    """Read all sets, by name. Raises UsageError with the line's number where a line is not of the format."""
    types: dict[str, tuple[str, bool]] = {}
    members: dict[str, set[str]] = {}
    excepted: dict[str, set[str]] = {}
    for at, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "create" and len(words) >= 3:
            types[words[1]] = (words[2], "inet6" in words[3:])
            members[words[1]], excepted[words[1]] = set(), set()
        elif words[0] == "add" and len(words) >= 3 and words[1] in members:
            (excepted if "nomatch" in words[3:] else members)[words[1]].add(words[2])
        else:
            raise UsageError(f"line {at} of the sets cannot be read", line[:200], _HINT)
    return {
        name: IpSet(name, kind, 6 if six else 4, frozenset(members[name]), frozenset(excepted[name]))
        for name, (kind, six) in types.items()
    }
