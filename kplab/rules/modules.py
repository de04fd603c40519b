"""The options of one `-m` match -> matches of the model; iptables-extensions(8) is the source of each spelling.

A match has one reader. An option that a reader does not know becomes `NotUnderstood` beside the options that it
does know: all options of a match must hold together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from kplab.model.ruleset import (
    AddrTypeMatch,
    CommentMatch,
    ConnmarkMatch,
    CtStateMatch,
    IcmpMatch,
    MarkMatch,
    Match,
    NfacctMatch,
    NotUnderstood,
    PhysdevMatch,
    PortMatch,
    RecentMatch,
    SetMatch,
    StatisticMatch,
    TcpFlagsMatch,
)


class Option(NamedTuple):
    """One option as written: `! --dport 80` is ("--dport", ["80"], True)."""

    name: str
    values: list[str]
    inverted: bool


def read_module(module: str, options: list[Option]) -> list[Match]:
    """Read one `-m MODULE …`; never fails."""
    reader = _READERS.get(module)
    if reader is None:
        return [_unknown(module, options)]
    try:
        return reader(module, options)
    except (ValueError, LookupError):
        return [_unknown(module, options)]


def _unknown(module: str, options: list[Option]) -> NotUnderstood:
    words = ["-m", module]
    for option in options:
        words += ["!"] if option.inverted else []
        words += [option.name, *option.values]
    return NotUnderstood(" ".join(words))


def _comment(module: str, options: list[Option]) -> list[Match]:
    return [CommentMatch(options[0].values[0])]


_SERVICES = {"http": 80, "https": 443, "domain": 53, "ssh": 22}
"""Names that people write; iptables-save prints numbers."""


def _port(text: str, otherwise: int) -> int:
    return _SERVICES[text] if text in _SERVICES else int(text) if text else otherwise


def _range(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    first = _port(low, 0)
    return (first, _port(high, 65535) if colon else first)


_SOURCE_PORT = ("--sport", "--source-port", "--sports", "--source-ports")
_DESTINATION_PORT = ("--dport", "--destination-port", "--dports", "--destination-ports")
_FLAG_LETTERS = {"FIN": "F", "SYN": "S", "RST": "R", "PSH": "P", "ACK": "A", "URG": "U", "ALL": "FSRPAU", "NONE": ""}


def _letters(text: str) -> str:
    return "".join(_FLAG_LETTERS[name] for name in text.split(","))


def _ports(module: str, options: list[Option]) -> list[Match]:
    """tcp, udp, sctp, dccp, udplite and multiport: single ports and lists read alike."""
    found: list[Match] = []
    for option in options:
        if option.name in _SOURCE_PORT or option.name in _DESTINATION_PORT or option.name == "--ports":
            side: Literal["source", "destination", "either"] = (
                "source" if option.name in _SOURCE_PORT else "either" if option.name == "--ports" else "destination"
            )
            ranges = tuple(_range(part) for part in option.values[0].split(","))
            found.append(PortMatch(side, ranges, option.inverted))
        elif option.name == "--tcp-flags" and module == "tcp":
            mask, wanted = option.values
            found.append(TcpFlagsMatch(_letters(mask), _letters(wanted), option.inverted))
        elif option.name == "--syn" and module == "tcp":
            found.append(TcpFlagsMatch("FSRA", "S", option.inverted))
        else:
            found.append(_unknown(module, [option]))
    return found


_ICMP_NAMES = {"echo-reply": "0", "pong": "0", "echo-request": "8", "ping": "8", "destination-unreachable": "3",
               "time-exceeded": "11", "ttl-exceeded": "11", "parameter-problem": "12", "redirect": "5"}  # fmt: skip
_ICMPV6_NAMES = {"echo-request": "128", "ping": "128", "echo-reply": "129", "pong": "129",
                 "destination-unreachable": "1", "packet-too-big": "2", "time-exceeded": "3", "ttl-exceeded": "3",
                 "parameter-problem": "4", "router-solicitation": "133", "router-advertisement": "134",
                 "neighbour-solicitation": "135", "neighbor-solicitation": "135", "neighbour-advertisement": "136",
                 "neighbor-advertisement": "136", "redirect": "137"}  # fmt: skip


def _icmp(module: str, options: list[Option]) -> list[Match]:
    names = _ICMP_NAMES if module == "icmp" else _ICMPV6_NAMES
    found: list[Match] = []
    for option in options:
        value = names.get(option.values[0], option.values[0])
        if value == "any":
            found.append(IcmpMatch(None, None, option.inverted))
            continue
        kind, slash, code = value.partition("/")
        found.append(IcmpMatch(int(kind), int(code) if slash else None, option.inverted))
    return found


def _masked(text: str) -> tuple[int, int]:
    """Read "0x4000/0x4000"; without a mask all bits count."""
    value, slash, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if slash else 0xFFFFFFFF


def _mark(module: str, options: list[Option]) -> list[Match]:
    (option,) = options
    value, mask = _masked(option.values[0])
    return [
        MarkMatch(value, mask, option.inverted) if module == "mark" else ConnmarkMatch(value, mask, option.inverted)
    ]


def _conntrack(module: str, options: list[Option]) -> list[Match]:
    found: list[Match] = []
    for option in options:
        if option.name in ("--ctstate", "--state"):
            found.append(CtStateMatch(frozenset(option.values[0].split(",")), option.inverted))
        else:
            found.append(_unknown(module, [option]))
    return found


def _addrtype(module: str, options: list[Option]) -> list[Match]:
    """--limit-iface-in and -out change what every other option asks, so with them nothing is understood."""
    found: list[Match] = []
    for option in options:
        side: Literal["source", "destination"] = "source" if option.name == "--src-type" else "destination"
        if option.name not in ("--src-type", "--dst-type"):
            return [_unknown(module, options)]
        found.append(AddrTypeMatch(side, frozenset(option.values[0].split(",")), option.inverted))
    return found


def _statistic(module: str, options: list[Option]) -> list[Match]:
    given = {option.name: option for option in options}
    if given["--mode"].values[0] == "random":
        draw = given["--probability"]
        return [StatisticMatch("random", probability=float(draw.values[0]), inverted=draw.inverted)]
    every = given["--every"]
    packet = int(given["--packet"].values[0]) if "--packet" in given else 0
    return [StatisticMatch("nth", every=int(every.values[0]), packet=packet, inverted=every.inverted)]


_RECENT_CHECKS: dict[str, Literal["rcheck", "update", "set", "remove"]] = {
    "--rcheck": "rcheck", "--update": "update", "--set": "set", "--remove": "remove",
}  # fmt: skip
_RECENT_PLAIN = ("--seconds", "--reap", "--name", "--mask", "--rsource", "--rdest")
_WHOLE_ADDRESS = ("255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")


def _recent(module: str, options: list[Option]) -> list[Match]:
    given = {option.name: option for option in options}
    check = next((option for option in options if option.name in _RECENT_CHECKS), None)
    if check is None:
        return [_unknown(module, options)]
    further = [option for option in options if option.name not in _RECENT_CHECKS and option.name not in _RECENT_PLAIN]
    masked = "--mask" in given and given["--mask"].values[0] not in _WHOLE_ADDRESS
    if masked or (further and check.inverted):
        return [_unknown(module, options)]
    match = RecentMatch(
        check=_RECENT_CHECKS[check.name],
        name=given["--name"].values[0] if "--name" in given else "DEFAULT",
        seconds=int(given["--seconds"].values[0]) if "--seconds" in given else None,
        side="destination" if "--rdest" in given else "source",
        inverted=check.inverted,
    )
    return [match, *(_unknown(module, [option]) for option in further)]


_SET_HARMLESS = ("--return-nomatch", "--update-counters", "--update-subcounters")


def _set(module: str, options: list[Option]) -> list[Match]:
    found: list[Match] = []
    for option in options:
        if option.name == "--match-set":
            name, wanted = option.values
            directions: list[Literal["src", "dst"]] = []
            for word in wanted.split(","):
                if word not in ("src", "dst"):
                    raise ValueError(word)
                directions.append("src" if word == "src" else "dst")
            found.append(SetMatch(name, tuple(directions), option.inverted))
        elif option.name not in _SET_HARMLESS:
            found.append(_unknown(module, [option]))
    return found


def _physdev(module: str, options: list[Option]) -> list[Match]:
    return [
        PhysdevMatch(option.name.lstrip("-"), option.values[0] if option.values else "", option.inverted)
        for option in options
    ]


def _nfacct(module: str, options: list[Option]) -> list[Match]:
    return [NfacctMatch(options[0].values[0])]


_READERS: dict[str, Callable[[str, list[Option]], list[Match]]] = {
    "comment": _comment, "tcp": _ports, "udp": _ports, "sctp": _ports, "dccp": _ports, "udplite": _ports,
    "multiport": _ports, "icmp": _icmp, "icmp6": _icmp, "icmpv6": _icmp, "mark": _mark, "connmark": _mark,
    "conntrack": _conntrack, "state": _conntrack, "addrtype": _addrtype, "statistic": _statistic, "recent": _recent,
    "set": _set, "physdev": _physdev, "nfacct": _nfacct,
}  # fmt: skip
