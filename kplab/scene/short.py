"""A rule's short form: what it asks for and what it does, without iptables-save's punctuation.

Only words are moved and left out; an option that is not listed here is kept verbatim, so nothing is hidden.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from kplab.model.journey import Skip
from kplab.scene.short_nft import halves

_WORDS = {
    "-s": "src",
    "-d": "dst",
    "-i": "in",
    "-o": "out",
    "-p": "",
    "--dport": "dport",
    "--sport": "sport",
    "--dports": "dports",
    "--sports": "sports",
    "--ctstate": "ctstate",
    "--state": "state",
    "--mark": "mark",
    "--dst-type": "dst-type",
    "--src-type": "src-type",
    "--probability": "statistic",
    "--match-set": "set",
    "--name": "recent",
    "--nfacct-name": "nfacct",
    "--tcp-flags": "flags",
    "--icmp-type": "icmp-type",
    "--icmpv6-type": "icmpv6-type",
    "--seconds": "seconds",
}
_SILENT = {"-m", "--mode", "--comment", "-A"}
"""Options whose value is left out: the module's name, which its own options tell again."""
_FLAGS = {"--rcheck", "--update", "--set", "--remove", "--reap", "--rsource", "--rdest", "--syn", "--physdev-is-in"}
_TWO = {"--match-set", "--tcp-flags"}
_DEFAULT_MASK = "255.255.255.255"


@dataclass(frozen=True, slots=True)
class ShortRule:
    """A rule in words: `condition` "" means that it matches everything."""

    condition: str
    action: str
    comment: str


@lru_cache(maxsize=4096)
def shorten(rule: str) -> ShortRule:
    """Return the short form of one `-A` line (with or without its `-A CHAIN`), or of a rule of nftables."""
    if not rule.startswith(("-", "!")):
        return ShortRule(*halves(rule), "")
    try:
        words = shlex.split(rule)
    except ValueError:
        return ShortRule(rule, "", "")
    condition: list[str] = []
    action: list[str] = []
    comment = ""
    i, negated = 0, False
    while i < len(words):
        word = words[i]
        if word == "!":
            negated, i = True, i + 1
            continue
        width = 1 if word in _FLAGS or not word.startswith("-") else 3 if word in _TWO else 2
        values = words[i + 1 : i + width]
        if word in {"-j", "-g"}:
            action = [*_target(values[0] if values else "", word == "-g"), *words[i + width :]]
            break
        if word == "--comment":
            comment = values[0] if values else ""
        elif word not in _SILENT:
            condition.append(_words(word, values, negated))
        i, negated = i + width, False
    return ShortRule(" ".join(filter(None, condition)), _action(action), comment)


def _words(word: str, values: list[str], negated: bool) -> str:
    value = " ".join(_plain(v) for v in values)
    name = _WORDS.get(word, word.lstrip("-"))
    if word == "--probability":
        value = f"{float(value):.3f}".rstrip("0") if value.replace(".", "", 1).isdigit() else value
    return " ".join(filter(None, ("not" if negated else "", name, value)))


def _plain(value: str) -> str:
    return value.removesuffix("/32").removesuffix("/128").removesuffix(f"/{_DEFAULT_MASK}")


def _target(name: str, goto: bool) -> list[str]:
    return [name, "(goto)"] if goto else [name]


def _action(words: list[str]) -> str:
    if not words or not words[0]:
        return "count only"
    name, rest = words[0], words[1:]
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    match name:
        case "DNAT" if "--to-destination" in options:
            return f"DNAT to {options['--to-destination']}"
        case "SNAT" if "--to-source" in options:
            return f"SNAT to {options['--to-source']}"
        case "MARK":
            return f"set mark {options.get('--set-xmark', options.get('--set-mark', ''))}".strip()
        case "REJECT":
            return f"REJECT with {options['--reject-with']}" if "--reject-with" in options else "REJECT"
        case "MASQUERADE" | "ACCEPT" | "DROP" | "RETURN":
            return name
        case _ if rest == ["(goto)"]:
            return f"→ {name} (goto)"
        case _:
            return " ".join([f"→ {name}" if name.upper() == name and "-" in name else name, *rest])


_COMMON = (
    ("destinations", ("dst", "destination", "goes to")),
    ("ports", ("port",)),
    ("protocols", ("proto", "packet is tcp", "packet is udp", "packet is icmp")),
    ("sources", ("src", "source")),
    ("marks", ("mark",)),
    ("draws", ("statistic", "draw", "random", "probability")),
    ("states", ("state",)),
    ("address types", ("type", "local")),
    ("interfaces", ("interface",)),
)


def fold_words(hidden: Iterable[Skip]) -> str:
    """Say what many skipped rules have in common: "other destinations", "other destinations and ports"."""
    kinds = Counter(_kind(skip.reason) for skip in hidden)
    names = [name for name, _ in kinds.most_common(2)]
    if not names or names == [""]:
        return "did not match"
    rest = " and more" if len(kinds) > 2 else ""
    return "other " + " and ".join(n or "reasons" for n in names) + rest


def _kind(reason: str) -> str:
    lowered = reason.lower()
    return next((name for name, keys in _COMMON if any(key in lowered for key in keys)), "")
