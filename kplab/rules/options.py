"""The options of one `-A` line -> its matches, in the order in which the kernel tries them, and its target.

The kernel tries source, destination, in and out interface and protocol first (net/ipv4/netfilter/ip_tables.c,
ip_packet_match), then each `-m` in the order in which it was written. iptables-save prints them in that order.
Nothing here fails: a match that we do not know, or whose value is not what we expect, becomes `NotUnderstood`
with its own text, and ends where the next match or the target begins.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from kplab.model.ruleset import (
    AddressMatch,
    CommentMatch,
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
            found = _ip_match(head, words, inverted)
            if found is not None:
                ip_part.append((_ORDER[head], found))
            if len(words) > 1:
                others.extend(_module((_PROTOCOLS.get(words[0].lower(), words[0]), *words[1:])))
        elif head == "-m" and words:
            if words[0] == "comment" and len(words) == 3:
                others.append(CommentMatch(_plain(words[2])))
            else:
                others.extend(_module(tuple(words)))
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


@lru_cache(maxsize=4096)
def _module(words: tuple[str, ...]) -> tuple[Match, ...]:
    """Read one match by its words; thousands of rules say `-m tcp --dport 80`, and matches are values."""
    return tuple(read_module(words[0], _options(words[1:])))


def _ip_match(head: str, words: list[str], inverted: bool) -> Match | None:
    """Read one option of the IP part; `-p all` is no condition at all."""
    if head == "-f":
        return NotUnderstood("! -f" if inverted else "-f")
    value = _plain(words[0]) if words else ""
    if head in ("-i", "-o"):
        return InterfaceMatch("in" if head == "-i" else "out", value, inverted)
    if head == "-p":
        return _protocol(value.lower(), inverted)
    side: Side = "source" if head == "-s" else "destination"
    try:
        return AddressMatch(side, _network(value), inverted)
    except (ValueError, OSError):
        return NotUnderstood(_text(head, value, inverted))


@lru_cache(maxsize=256)
def _protocol(value: str, inverted: bool) -> Match | None:
    if value in ("all", "0"):
        return None
    protocol = _PROTOCOLS.get(value, value)
    if protocol.isdecimal() or protocol in _PROTOCOLS.values():
        return ProtocolMatch(protocol, inverted)
    return NotUnderstood(_text("-p", value, inverted))


def _network(value: str) -> Network:
    """Read "10.96.0.42/32"; inet_pton is many times quicker than `ipaddress` with the text."""
    address, _, length = value.partition("/")
    if ":" in address:
        number = int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
        return IPv6Network((number, length or 128))
    number = int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
    return IPv4Network((number, length or 32))


def _text(head: str, value: str, inverted: bool) -> str:
    return f"{'! ' if inverted else ''}{head} {value}"


def _options(words: Sequence[str]) -> list[Option]:
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
