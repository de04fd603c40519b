"""The options of one `-A` line -> its matches, in the order in which the kernel tries them, and its target.

The kernel tries source, destination, in and out interface and protocol first (net/ipv4/netfilter/ip_tables.c,
ip_packet_match), then each `-m` in the order in which it was written. iptables-save prints them in that order.
Nothing here fails: a match that we do not know, or whose value is not what we expect, becomes `NotUnderstood`
with its own text, and ends where the next match or the target begins.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network

from kplab.model.ruleset import (
    AddressMatch,
    InterfaceMatch,
    Match,
    Network,
    NotUnderstood,
    ProtocolMatch,
    RuleBody,
    Side,
    Target,
)
from kplab.rules.modules import Option, read_module

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')
_ESCAPE = re.compile(r"\\(.)")

_HEADS = {
    "-s": "-s", "--source": "-s", "--src": "-s", "-d": "-d", "--destination": "-d", "--dst": "-d",
    "-i": "-i", "--in-interface": "-i", "-o": "-o", "--out-interface": "-o", "-p": "-p", "--protocol": "-p",
    "--proto": "-p", "-f": "-f", "--fragment": "-f", "-m": "-m", "--match": "-m", "-j": "-j", "--jump": "-j",
    "-g": "-g", "--goto": "-g", "-c": "-c", "--set-counters": "-c",
}  # fmt: skip
"""Options that begin a new part of a rule, by the spelling that iptables-save prints."""

_ORDER = {"-s": 0, "-d": 1, "-i": 2, "-o": 3, "-p": 4, "-f": 5}
"""The order in which the kernel tries the IP part."""

_TAKES_ANY = {"--comment", "--log-prefix", "--nflog-prefix", "--name", "--string", "--hex-string"}
"""Options whose value may look like an option."""

_PROTOCOLS = {
    "ipv6-icmp": "icmpv6", "icmp6": "icmpv6", "icmpv6": "icmpv6", "tcp": "tcp", "udp": "udp", "icmp": "icmp",
    "sctp": "sctp", "1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6", "132": "sctp", "igmp": "2", "ipencap": "4",
    "ipip": "4", "dccp": "33", "ipv6": "41", "gre": "47", "esp": "50", "ipv6-esp": "50", "ah": "51", "ipv6-ah": "51",
    "ospf": "89", "pim": "103", "vrrp": "112", "l2tp": "115", "mh": "135", "ipv6-mh": "135", "udplite": "136",
}  # fmt: skip
"""/etc/protocols as far as rules use it: to the words of `Headers.proto`."""


def read_rule(text: str) -> RuleBody:
    """Take one `-A CHAIN …` line apart."""
    tokens = _TOKENS.findall(text)
    ip_part: list[tuple[int, Match]] = []
    others: list[Match] = []
    target = Target("")
    for head, inverted, words in _parts(tokens, 2):
        if head in _ORDER:
            ip_part.extend((_ORDER[head], match) for match in _ip_match(head, words, inverted)[:1])
            if len(words) > 1:
                others.extend(read_module(_PROTOCOLS.get(words[0].lower(), words[0]), _options(words[1:])))
        elif head == "-m" and words:
            others.extend(read_module(words[0], _options(words[1:])))
        elif head in ("-j", "-g") and words:
            target = Target(_plain(words[0]), head == "-g", _target_options(words[1:]))
        elif head == "":
            others.append(NotUnderstood(" ".join(["!", *words] if inverted else words)))
    if len(ip_part) > 1:
        ip_part.sort(key=lambda placed: placed[0])
    return (*(match for _, match in ip_part), *others), target


def _parts(tokens: list[str], start: int) -> list[tuple[str, bool, list[str]]]:
    """Cut a rule where a match, a target or an option of the IP part begins: (head, inverted, words after it)."""
    parts: list[tuple[str, bool, list[str]]] = []
    words: list[str] = []
    verbatim = False
    inverted = False
    for token in tokens[start:]:
        head = None if verbatim else _HEADS.get(token)
        verbatim = token in _TAKES_ANY
        if head is None:
            if not parts:
                parts.append(("", False, words))
            words.append(token)
            continue
        inverted = bool(words) and words[-1] == "!"
        if inverted:
            words.pop()
        words = []
        parts.append((head, inverted, words))
    if parts and parts[0][0] == "" and not parts[0][2]:
        parts.pop(0)
    return parts


def _ip_match(head: str, words: list[str], inverted: bool) -> list[Match]:
    """Read one option of the IP part; `-p all` is no condition at all."""
    if head == "-f":
        return [NotUnderstood("! -f" if inverted else "-f")]
    value = _plain(words[0]) if words else ""
    if head in ("-i", "-o"):
        return [InterfaceMatch("in" if head == "-i" else "out", value, inverted)]
    if head == "-p":
        if value.lower() in ("all", "0"):
            return []
        protocol = _PROTOCOLS.get(value.lower(), value)
        return [
            ProtocolMatch(protocol, inverted)
            if protocol in _PROTOCOLS.values() or protocol.isdecimal()
            else NotUnderstood(_text(head, words[:1], inverted))
        ]
    side: Side = "source" if head == "-s" else "destination"
    try:
        return [AddressMatch(side, _network(value), inverted)]
    except ValueError:
        return [NotUnderstood(_text(head, words[:1], inverted))]


def _network(value: str) -> Network:
    return IPv6Network(value) if ":" in value else IPv4Network(value)


def _text(head: str, words: list[str], inverted: bool) -> str:
    return " ".join([*(["!"] if inverted else []), head, *words])


def _options(words: list[str]) -> list[Option]:
    """Group a match's words into options: `! --dport 80` is one, with its values."""
    options: list[Option] = []
    inverted = False
    values: list[str] = []
    verbatim = False
    for word in words:
        if verbatim:
            values.append(_plain(word))
            verbatim = False
        elif word == "!":
            inverted = True
        elif word.startswith("-"):
            values = []
            options.append(Option(word, values, inverted))
            inverted = False
            verbatim = word in _TAKES_ANY
        elif options:
            values.append(_plain(word))
        else:
            values = []
            options.append(Option(word, values, inverted))
            inverted = False
    return options


def _target_options(words: list[str]) -> tuple[tuple[str, str], ...]:
    """Read a target's options; one that takes no value, like --random-fully, has ""."""
    return tuple((option.name.lstrip("-"), " ".join(option.values)) for option in _options(words))


def _plain(word: str) -> str:
    """Take the quotes and backslashes off a word."""
    if word.startswith('"') and word.endswith('"') and len(word) > 1:
        return _ESCAPE.sub(r"\1", word[1:-1])
    return word
