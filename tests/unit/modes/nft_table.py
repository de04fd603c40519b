"""A table that takes kube-proxy's transactions: as strict as nft about what exists, and no more than that."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Table:
    """What the kernel would hold; raises AssertionError where nft would refuse a line."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    """Rules by chain."""
    sets: dict[str, dict[str, str]] = field(default_factory=dict)
    """Of sets and maps: key -> the rest of the element."""

    def take(self, text: str) -> None:
        """Carry a transaction out."""
        for line in text.splitlines():
            found = re.fullmatch(r"(\w+) (\w+) ip6? kube-proxy ?(\S*) ?(.*)", line)
            assert found, line
            verb, kind, name, rest = found.groups()
            if kind == "element":
                self._element(verb, name, rest)
            elif kind == "rule":
                self.chains[name].append(rest)
            elif kind == "chain":
                self._chain(verb, name)
            elif kind in ("set", "map"):
                self._set(verb, name)
            else:
                assert (verb, kind) == ("add", "table"), line

    def loose_ends(self) -> set[str]:
        """The chains and sets that rules and elements name and that do not exist."""
        texts = [rule for rules in self.chains.values() for rule in rules]
        texts += [element for elements in self.sets.values() for element in elements.values()]
        chains = {name for text in texts for name in re.findall(r"(?:goto|jump) (\S+)", text)}
        sets = {name for text in texts for name in re.findall(r"@(\S+)", text)}
        return (chains - set(self.chains)) | (sets - set(self.sets))

    def _chain(self, verb: str, name: str) -> None:
        if verb == "add":
            self.chains.setdefault(name, [])
        elif verb == "flush":
            assert name in self.chains
            self.chains[name] = []
        else:
            del self.chains[name]

    def _set(self, verb: str, name: str) -> None:
        if verb == "add":
            self.sets.setdefault(name, {})
        elif verb == "flush":
            self.sets[name].clear()
        else:
            del self.sets[name]

    def _element(self, verb: str, name: str, rest: str) -> None:
        found = re.fullmatch(r"\{ (.+?)( comment \".*\")?( : .+)? \}", rest)
        assert found, rest
        key, value = found[1], (found[2] or "") + (found[3] or "")
        if verb == "add":
            assert self.sets[name].get(key, value) == value, f"{name} holds another {key}"
            self.sets[name][key] = value
        else:
            del self.sets[name][key]
