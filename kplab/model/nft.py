"""What `nft -a -j list` prints of nf_tables' own rules, taken apart (libnftables-json(5)).

Expressions and statements are closed unions; what we have no model of is `NotUnderstood` with its JSON, which is said
and never guessed. A rule keeps its text, as `nft list` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

Value = str | int
"""A constant, or what a packet has: addresses, protocols and states by name as nft prints them, ports and marks as
numbers."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Constant:
    """A value written in the rule."""

    value: Value


@dataclass(frozen=True, slots=True)
class Prefix:
    """`10.244.0.0/16`."""

    network: Network


@dataclass(frozen=True, slots=True)
class Range:
    """`8000-8080`, both ends included."""

    low: Value
    high: Value


@dataclass(frozen=True, slots=True)
class Payload:
    """A header's field: `ip saddr`, `th dport`. `protocol` is "ip", "ip6", "th", "tcp", "udp", "icmp"."""

    protocol: str
    field: str


@dataclass(frozen=True, slots=True)
class Meta:
    """`meta l4proto`, `meta mark`, `iifname`."""

    key: str


@dataclass(frozen=True, slots=True)
class Ct:
    """`ct state`, `ct status`, `ct mark`."""

    key: str


@dataclass(frozen=True, slots=True)
class Fib:
    """`fib daddr type`: what the node's routing table says of an address."""

    flags: tuple[str, ...]
    result: str


@dataclass(frozen=True, slots=True)
class Numgen:
    """`numgen random mod 3`: a number that only the kernel knows."""

    mode: str
    mod: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Concat:
    """`ip daddr . meta l4proto . th dport`."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """`meta mark & 0x4000`; `op` is "&", "|", "^", "<<" or ">>"."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class SetName:
    """`@cluster-ips`: a set or map of the same table."""

    name: str


@dataclass(frozen=True, slots=True)
class MapValue:
    """`KEY map DATA`: the value that a map gives for a key."""

    key: Expression
    data: SetName | Elements


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """An expression or statement that we have no model of; `text` is its JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`accept`, `drop`, `continue`, `return`, `jump X`, `goto X`."""

    word: Literal["accept", "drop", "continue", "return", "jump", "goto"]
    chain: str = ""

    @property
    def text(self) -> str:
        """As the kernel's trace says it: "goto reject-chain"."""
        return f"{self.word} {self.chain}".rstrip()


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set or map."""

    key: tuple[Constant | Prefix | Range, ...]
    """One a column; a set of one column has one."""
    value: Verdict | tuple[Value, ...] | None = None
    """A map's value: a verdict, or one value a column; None in a set."""
    comment: str | None = None
    text: str = ""
    """As nft lists it: `10.96.0.42 . tcp . 80 : goto service-…`."""


class Elements:
    """The elements of a set or map, found by key.

    A map of kube-proxy's may hold 24,000 elements of which a packet meets one, so an element is read when it is hit,
    and its key is looked up as the kernel does it: in a hash table. Elements with prefixes and ranges are few, and
    tried in turn.
    """

    __slots__ = ("_index", "_key_of", "_loose", "_raw", "_read")

    def __init__(self, raw: Sequence[Any], read: Callable[[Any], Element], key_of: Callable[[Any], Any]) -> None:
        """`read` takes one item of `raw` apart; `key_of` gives its key as plain values, None if it is none."""
        self._raw = tuple(raw)
        self._read = read
        self._key_of = key_of
        self._index: dict[Any, Any] | None = None
        self._loose: list[Any] = []

    def _indexed(self) -> dict[Any, Any]:
        """Return the elements by key; made when the first packet asks."""
        if self._index is None:
            self._index = {}
            for item in self._raw:
                key = self._key_of(item)
                if key is None:
                    self._loose.append(item)
                else:
                    self._index[key] = item
        return self._index

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Element]:
        return (self._read(item) for item in self._raw)

    def exact(self, key: tuple[Value, ...]) -> Element | None:
        """Return the element with this very key, or None."""
        item = self._indexed().get(key)
        return None if item is None else self._read(item)

    def loose(self) -> Iterator[Element]:
        """Return the elements whose keys are prefixes and ranges."""
        self._indexed()
        return (self._read(item) for item in self._loose)

    def plain_keys(self) -> Iterator[tuple[Value, ...]]:
        """Return the plain keys."""
        return iter(self._indexed())


Expression = (
    Constant | Prefix | Range | Payload | Meta | Ct | Fib | Numgen | Concat | Binary | SetName | MapValue | Elements
    | NotUnderstood
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compare:
    """`LEFT OP RIGHT`; `op` is "==", "!=", "<", ">", "<=", ">=" or "in" (bits, of which one is enough)."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """`KEY vmap DATA`: without an element for the key the rule does not match."""

    key: Expression
    data: SetName | Elements


@dataclass(frozen=True, slots=True)
class Reject:
    """`reject`; `answer` is "icmp port-unreachable", "tcp reset"."""

    answer: str


@dataclass(frozen=True, slots=True)
class SetField:
    """`meta mark set VALUE`."""

    key: Expression
    value: Expression


@dataclass(frozen=True, slots=True)
class Nat:
    """`dnat to`, `snat to`, `masquerade`, `redirect`; without `address` none is written."""

    kind: Literal["dnat", "snat", "masquerade", "redirect"]
    address: Expression | None = None
    port: Expression | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """`update @affinity-… { ip saddr }`: adds the key, or starts its time anew; always goes on."""

    op: str
    key: Expression
    set: str


@dataclass(frozen=True, slots=True)
class Passive:
    """A statement that decides nothing: counter, log, notrack, comment."""

    name: str


Statement = Compare | VerdictMap | Verdict | Reject | SetField | Nat | Update | Passive | NotUnderstood


class NftRule:
    """One rule; `number` is 1-based in its chain. Its statements and text are worked out at first use.

    Two rules are equal when chain, number and handle are, and what was printed of them.
    """

    __slots__ = ("_raw", "_read", "_statements", "_text", "_write", "chain", "comment", "handle", "number")

    def __init__(
        self,
        chain: str,
        number: int,
        handle: int | None,
        comment: str | None,
        raw: Any,
        read: Callable[[Any], tuple[Statement, ...]],
        write: Callable[[Any], str],
    ) -> None:
        """`read` takes the rule's "expr" apart and `write` prints it; neither fails."""
        self.chain = chain
        self.number = number
        self.handle = handle
        self.comment = comment
        self._raw = raw
        self._read = read
        self._write = write
        self._statements: tuple[Statement, ...] | None = None
        self._text: str | None = None

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What the rule does, in the order in which the kernel does it."""
        if self._statements is None:
            self._statements = self._read(self._raw)
        return self._statements

    @property
    def text(self) -> str:
        """The rule as `nft list` prints it, comment included."""
        if self._text is None:
            comment = f' comment "{self.comment}"' if self.comment is not None else ""
            self._text = self._write(self._raw) + comment
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NftRule):
            return NotImplemented
        return (self.chain, self.number, self.handle, self.comment, self._raw) == (
            other.chain, other.number, other.handle, other.comment, other._raw,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash((self.chain, self.number, self.handle))

    def __repr__(self) -> str:
        return f"NftRule({self.chain!r}, {self.number}, {self.text!r}, handle={self.handle})"


@dataclass(frozen=True, slots=True)
class NftChain:
    """A chain; a base chain has a hook, a priority, a type and a policy."""

    name: str
    rules: tuple[NftRule, ...] = ()
    type: str | None = None
    hook: str | None = None
    """"prerouting", "input", "forward", "output", "postrouting"."""
    priority: int | None = None
    policy: str | None = None
    comment: str | None = None

    def by_handle(self, handle: int) -> NftRule | None:
        """Return the rule with this handle, or None."""
        return next((rule for rule in self.rules if rule.handle == handle), None)


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set or a map; `values` is None for a set, "verdict" or a type for a map."""

    name: str
    type: tuple[str, ...]
    elements: Elements
    values: str | None = None
    flags: tuple[str, ...] = ()
    timeout: int | None = None
    comment: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class NftTable:
    """One table."""

    family: str
    """"ip", "ip6", "inet"."""
    name: str
    chains: Mapping[str, NftChain] = field(default_factory=dict)
    sets: Mapping[str, NftSet] = field(default_factory=dict)
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class NftRuleset:
    """Tables by family and name."""

    tables: Mapping[tuple[str, str], NftTable] = field(default_factory=dict)

    def table(self, family: str, name: str) -> NftTable | None:
        """Return a table, or None."""
        return self.tables.get((family, name))
