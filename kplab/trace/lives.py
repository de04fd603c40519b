"""Trace messages of one namespace -> `Life`: one skb's way through the hooks of one network namespace.

nf_tables' trace id is a hash of the skb's address (nf_tables_trace.c), so it comes back. Another life has begun
when a message shows other headers than NAT could have made of the first, when a base chain comes a second time,
or when a hook follows that cannot: PREROUTING leads to FORWARD or INPUT, FORWARD and OUTPUT to POSTROUTING. Where
there are virtual servers, INPUT leads to OUTPUT: IPVS sends the very skb on to the real server.

iptables-legacy's TRACE has no id at all: its lines are grouped by the packet's own numbers and the same order.
A life's lines of both kinds come through different sockets; hook and priority put them in order again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kplab.model.nft import NftChain
from kplab.model.packet import Headers
from kplab.trace.events import Hook, KernelEvent, LegacyTrace, NftTrace
from kplab.trace.identity import Key, key_of, read

HOOKS: tuple[Hook, ...] = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")

_NEXT: dict[Hook, frozenset[Hook]] = {
    "PREROUTING": frozenset({"PREROUTING", "INPUT", "FORWARD"}),
    "INPUT": frozenset({"INPUT"}),
    "FORWARD": frozenset({"FORWARD", "POSTROUTING"}),
    "OUTPUT": frozenset({"OUTPUT", "POSTROUTING"}),
    "POSTROUTING": frozenset({"POSTROUTING"}),
}

_PRIORITY = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_FIRST, _LAST = -1000, 1000


@dataclass(slots=True)
class Visit:
    """One base chain's part of a life: its headers on entry, and what the kernel reported in it."""

    table: str
    chain: str
    family: str
    hook: Hook
    headers: Headers
    lab: bool
    """Whether the chain is the lab's own tracing."""
    legacy: bool = False
    events: list[KernelEvent] = field(default_factory=list)
    base: NftChain | None = None
    """The base chain as nft listed it; None for iptables' and the lab's own."""

    @property
    def is_nat(self) -> bool:
        """Whether only a connection's first packet comes here."""
        return self.table == "nat" if self.base is None else self.base.type == "nat"

    @property
    def priority(self) -> int:
        """The chain's place in its hook (include/uapi/linux/netfilter_ipv4.h); the lab's are first and last."""
        if self.base is not None:
            return self.base.priority or 0
        if self.lab:
            return _LAST if self.chain.endswith("-last") else _FIRST
        if self.table == "nat":
            return -100 if self.hook in ("PREROUTING", "OUTPUT") else 100
        return _PRIORITY.get(self.table, 0)


_CONNTRACK_HOOKS = ("PREROUTING", "OUTPUT")
_CONNTRACK = -200
"""NF_IP_PRI_CONNTRACK."""


@dataclass(slots=True)
class Life:
    """One skb's way through one namespace's hooks."""

    node: str
    key: Key
    visits: list[Visit] = field(default_factory=list)

    @property
    def local(self) -> bool:
        """Whether one of the namespace's own sockets sent it."""
        return self.visits[0].hook == "OUTPUT"

    @property
    def iif(self) -> str | None:
        """The interface that it came in by, if the trace says."""
        return self._interface("iif")

    @property
    def oif(self) -> str | None:
        """The interface that it was to leave by, if the trace says."""
        return self._interface("oif")

    @property
    def stamp(self) -> int:
        """When its first message was read."""
        return self.visits[0].events[0].stamp

    def hooks(self) -> list[Hook]:
        """Return the hooks passed, in order."""
        return list(dict.fromkeys(visit.hook for visit in self.visits))

    def at(self, hook: Hook) -> list[Visit]:
        """Return the visits of a hook, in order."""
        return [visit for visit in self.visits if visit.hook == hook]

    @property
    def is_shown_tracked(self) -> bool:
        """Whether nf_tables' trace tells of it behind the hook in which conntrack takes packets in."""
        return any(
            isinstance(message, NftTrace) and (visit.hook not in _CONNTRACK_HOOKS or visit.priority > _CONNTRACK)
            for visit in self.visits
            for message in messages_of(visit)
        )

    def _interface(self, side: str) -> str | None:
        names = (getattr(event.what, side) for visit in self.visits for event in visit.events)
        return next((name for name in names if name), None)


def messages_of(visit: Visit) -> list[NftTrace | LegacyTrace]:
    """Return a visit's messages; it is made of nothing else."""
    return [event.what for event in visit.events if isinstance(event.what, NftTrace | LegacyTrace)]


def hook_of(chain: str) -> Hook | None:
    """Return the hook that a base chain's name stands for: iptables' own, or "prerouting-first" and the like."""
    name = chain.partition("-")[0].upper()
    return next((hook for hook in HOOKS if hook == name), None)


BaseChains = Mapping[tuple[str, str, str], NftChain]
"""Base chains of nf_tables' own, by family, table and name."""


def find_lives(
    node: str,
    events: Iterable[KernelEvent],
    lab_chains: frozenset[tuple[str, str]],
    bases: BaseChains | None = None,
    *,
    ipvs: bool = False,
) -> list[Life]:
    """Return the lives that one namespace's trace messages tell of, each socket's in its own order.

    `ipvs` says whether the namespace has virtual servers.
    """
    nft, legacy = _NftReader(node, lab_chains, bases or {}, ipvs=ipvs), _LegacyReader(node)
    for event in events:
        if isinstance(event.what, NftTrace):
            nft.read(event, event.what)
        elif isinstance(event.what, LegacyTrace):
            legacy.read(event, event.what)
    return _merge(nft.lives, legacy.lives)


class _NftReader:
    """Groups nf_tables' trace messages of one namespace."""

    def __init__(self, node: str, lab_chains: frozenset[tuple[str, str]], bases: BaseChains, *, ipvs: bool) -> None:
        self.node = node
        self.ipvs = ipvs
        self.lab_chains = lab_chains
        self.bases = bases
        self.lives: list[Life] = []
        self.open: dict[int, Life] = {}

    def read(self, event: KernelEvent, what: NftTrace) -> None:
        life = self.open.get(what.trace_id)
        if not what.packet:
            if life is not None:
                life.visits[-1].events.append(event)
            return
        headers = read(what.packet)
        if headers is None:
            return
        key = key_of(headers, what.packet)
        base = self.bases.get((what.family, what.table, what.chain))
        named = base.hook if base is not None and base.hook else what.chain
        hook = hook_of(named) or (life.visits[-1].hook if life else "PREROUTING")
        if life is None or life.key != key or not _may_follow(life, what, hook, headers, ipvs=self.ipvs):
            life = self.open[what.trace_id] = Life(self.node, key)
            self.lives.append(life)
        lab = (what.table, what.chain) in self.lab_chains
        life.visits.append(Visit(what.table, what.chain, what.family, hook, headers, lab, events=[event], base=base))


def _may_follow(life: Life, what: NftTrace, hook: Hook, headers: Headers, *, ipvs: bool) -> bool:
    last = life.visits[-1]
    if ipvs and hook == "OUTPUT" and last.hook in ("INPUT", "OUTPUT") and headers.dst != last.headers.dst:
        # IPVS sends the skb through OUTPUT; a packet of the node's own passes OUTPUT a second time (ip_vs_nat_xmit).
        return (headers.src, headers.sport) == (last.headers.src, last.headers.sport)
    since = [v for v in life.visits if not ipvs or v.headers.dst == headers.dst]
    if any((v.family, v.table, v.chain) == (what.family, what.table, what.chain) for v in since):
        return False
    return hook in _NEXT[last.hook]


class _LegacyReader:
    """Groups iptables-legacy's TRACE lines of one namespace."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.lives: list[Life] = []
        self.open: dict[Key, Life] = {}

    def read(self, event: KernelEvent, what: LegacyTrace) -> None:
        headers = read(what.packet)
        if headers is None:
            return
        key = key_of(headers, what.packet)
        life = self.open.get(key)
        last = life.visits[-1] if life else None
        if last and (last.table, last.hook) == (what.table, what.hook) and not _ended(last):
            last.events.append(event)
            return
        visit = Visit(what.table, what.hook, what.family, what.hook, headers, lab=False, legacy=True, events=[event])
        if life is None or last is None or not _comes_after(last, visit):
            life = self.open[key] = Life(self.node, key)
            self.lives.append(life)
        life.visits.append(visit)


def _ended(visit: Visit) -> bool:
    """Whether the base chain's policy was reported: nothing of this visit comes after it."""
    what = visit.events[-1].what
    return isinstance(what, LegacyTrace) and what.kind == "policy"


def _comes_after(last: Visit, visit: Visit) -> bool:
    if visit.hook == last.hook:
        return visit.priority > last.priority
    return visit.hook in _NEXT[last.hook] or (last.hook == "PREROUTING" and visit.hook == "POSTROUTING")


def _merge(nft: list[Life], legacy: list[Life]) -> list[Life]:
    """Put both kinds of lines of one skb together: same numbers, same way in, in each socket's order."""
    rest = list(legacy)
    for life in nft:
        same = (other for other in rest if other.key == life.key and set(other.hooks()) <= set(life.hooks()))
        match = next(same, None)
        if match is not None:
            rest.remove(match)
            order = {hook: place for place, hook in enumerate(life.hooks())}
            life.visits += match.visits
            life.visits.sort(key=lambda visit: (order[visit.hook], visit.priority))
    return nft + rest
