"""What the kernel holds, as `iptables-save` prints it, taken apart.

A rule keeps its own text: what a student reads is what the kernel printed. `matches` is a closed union; a
match that we do not know is `NotUnderstood`, which is said and never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, Protocol

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
    """`-p tcp`; "tcp", "udp", "icmp", "icmpv6", "sctp", or else the protocol's number in decimal."""

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
class ConnmarkMatch:
    """`-m connmark --mark VALUE/MASK`: the mark of the packet's conntrack entry."""

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
    """`-m physdev --physdev-is-in`; `option` is without its dashes, `value` is "" where it takes none."""

    option: str
    value: str = ""
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
    AddressMatch | InterfaceMatch | ProtocolMatch | PortMatch | TcpFlagsMatch | IcmpMatch | MarkMatch | ConnmarkMatch
    | CtStateMatch | AddrTypeMatch | StatisticMatch | RecentMatch | SetMatch | PhysdevMatch | CommentMatch | NfacctMatch
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


RuleBody = tuple[tuple[Match, ...], Target]
"""What a rule's options say: its matches in the order in which they are tried, and its target."""


class Rule:
    """One `-A` line. `number` is 1-based in its chain; `text` is the line as it was printed, without counters.

    A node can hold 60,000 rules of which a packet meets a hundred, so the options are read at first use.
    Two rules are equal when chain, number, text and handle are.
    """

    __slots__ = ("_body", "_read", "chain", "handle", "number", "text")

    def __init__(
        self, chain: str, number: int, text: str, read: Callable[[str], RuleBody], handle: int | None = None
    ) -> None:
        """`read` takes `text` apart; it never fails, since an option that it cannot read is `NotUnderstood`."""
        self.chain = chain
        self.number = number
        self.text = text
        self.handle = handle
        self._read = read
        self._body: RuleBody | None = None

    @property
    def body(self) -> RuleBody:
        """Matches and target."""
        body = self._body
        if body is None:
            body = self._body = self._read(self.text)
        return body

    @property
    def matches(self) -> tuple[Match, ...]:
        """The conditions, in the order in which the kernel tries them."""
        return self.body[0]

    @property
    def target(self) -> Target:
        """What the rule does when all of them hold."""
        return self.body[1]

    @property
    def comment(self) -> str | None:
        """The text of `-m comment`, or None."""
        return next((m.text for m in self.matches if isinstance(m, CommentMatch)), None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rule):
            return NotImplemented
        return (self.chain, self.number, self.text, self.handle) == (
            other.chain, other.number, other.text, other.handle,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.chain, self.number, self.text))

    def __repr__(self) -> str:
        return f"Rule({self.chain!r}, {self.number}, {self.text!r}, handle={self.handle})"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; `policy` is None for a user-defined one."""

    name: str
    policy: str | None
    rules: tuple[Rule, ...]

    def by_handle(self, handle: int) -> Rule | None:
        """Return the rule that nf_tables knows by this handle, or None."""
        return next((rule for rule in self.rules if rule.handle == handle), None)


class HandlesOfChain(Protocol):
    """Handles of one nf_tables chain in its order: the n-th is the n-th -A line's (trace's `ChainHandles`)."""

    @property
    def family(self) -> str:
        """The family of the table: "ip" or "ip6" for those of iptables-nft."""
        ...

    @property
    def table(self) -> str:
        """The table by iptables' own name: "nat", "filter", "mangle", "raw"."""
        ...

    @property
    def chain(self) -> str:
        """The chain's name."""
        ...

    @property
    def handles(self) -> tuple[int, ...]:
        """One a rule, in order."""
        ...


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


@dataclass(frozen=True, slots=True)
class IpSet:
    """One set of `ipset save`. A member is the text that ipset prints, without timeout, counters and comment."""

    name: str
    type: str
    """"hash:ip,port", "hash:ip,port,net", "bitmap:port", …"""
    family: Literal[4, 6] = 4
    members: frozenset[str] = field(default_factory=frozenset)
    excepted: frozenset[str] = field(default_factory=frozenset)
    """Members with `nomatch`: a hole in a wider network."""
