"""What the kernel holds, as `iptables-save` prints it, taken apart.

A rule keeps its own text: what a student reads is what the kernel printed. `matches` is a closed union; a
match that we do not know is `NotUnderstood`, which is said and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

Network = IPv4Network | IPv6Network
Side = Literal["source", "destination"]


@dataclass(frozen=True, slots=True)
class AddressMatch:
    """`-s`, `-d`."""

    side: Side
    network: Network
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceMatch:
    """`-i`, `-o`; a trailing + stands for any ending."""

    side: Literal["in", "out"]
    name: str
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class ProtocolMatch:
    """`-p tcp`; the protocol's name, or its number in decimal."""

    protocol: str
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class PortMatch:
    """`--sport`, `--dport`, and multiport's lists; inclusive ranges. `side` "either" is multiport --ports."""

    side: Literal["source", "destination", "either"]
    ranges: tuple[tuple[int, int], ...]
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class TcpFlagsMatch:
    """`--tcp-flags MASK COMP` (and `--syn`), in scapy's letters."""

    mask: str
    set: str
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class IcmpMatch:
    """`-m icmp --icmp-type 8/0`, `-m icmp6 --icmpv6-type`; a code of None is any code, a type of None any type."""

    type: int | None
    code: int | None = None
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class MarkMatch:
    """`-m mark --mark VALUE/MASK`."""

    value: int
    mask: int = 0xFFFFFFFF
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class CtStateMatch:
    """`-m conntrack --ctstate NEW,…` and `-m state --state …`; the pseudo-states SNAT and DNAT included."""

    states: frozenset[str]
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class AddrTypeMatch:
    """`-m addrtype --dst-type LOCAL`."""

    side: Side
    types: frozenset[str]
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class StatisticMatch:
    """`-m statistic --mode random --probability P`, or `--mode nth` (probability is then None)."""

    mode: Literal["random", "nth"]
    probability: float | None = None
    every: int | None = None
    packet: int | None = None
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class RecentMatch:
    """`-m recent`: `check` is "rcheck", "update", "set" or "remove". A "set" matches whatever it is asked."""

    check: Literal["rcheck", "update", "set", "remove"]
    name: str
    seconds: int | None = None
    side: Side = "source"
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class SetMatch:
    """`-m set --match-set NAME dst,dst`."""

    name: str
    directions: tuple[Literal["src", "dst"], ...]
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class PhysdevMatch:
    """`-m physdev --physdev-is-in`."""

    option: str
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class CommentMatch:
    """`-m comment --comment TEXT`: always matches."""

    text: str


@dataclass(frozen=True, slots=True)
class NfacctMatch:
    """`-m nfacct --nfacct-name NAME`: counts, and always matches."""

    name: str


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A match that we have no model of; `text` is its part of the rule."""

    text: str


Match = (
    AddressMatch | InterfaceMatch | ProtocolMatch | PortMatch | TcpFlagsMatch | IcmpMatch | MarkMatch | CtStateMatch
    | AddrTypeMatch | StatisticMatch | RecentMatch | SetMatch | PhysdevMatch | CommentMatch | NfacctMatch
    | NotUnderstood
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule does: `name` is "" (nothing: only counts), a built-in target, or a chain."""

    name: str
    goto: bool = False
    options: tuple[tuple[str, str], ...] = ()
    """("to-destination", "10.244.1.10:8080"), ("set-xmark", "0x4000/0x4000"), ("reject-with", …)."""

    def option(self, name: str) -> str | None:
        """Return an option's value, or None."""
        return dict(self.options).get(name)


@dataclass(frozen=True, slots=True)
class Rule:
    """One `-A` line. `number` is 1-based in its chain."""

    chain: str
    number: int
    text: str
    matches: tuple[Match, ...]
    target: Target
    handle: int | None = None

    @property
    def comment(self) -> str | None:
        """The text of `-m comment`, or None."""
        return next((m.text for m in self.matches if isinstance(m, CommentMatch)), None)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; `policy` is None for a user-defined one."""

    name: str
    policy: str | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One table; chains in the order in which they were printed."""

    name: str
    chains: dict[str, Chain]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All tables of one family in one back-end of one node."""

    family: Literal[4, 6]
    backend: Literal["nft", "legacy"]
    tables: dict[str, Table]

    def chain(self, table: str, name: str) -> Chain | None:
        """Return a chain, or None."""
        found = self.tables.get(table)
        return found.chains.get(name) if found else None
