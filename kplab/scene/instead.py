"""What iptables mode would have tried where another mode asked once: the list, and how far down it the Service stands.

Worked out by kplab's own compiler from the recording's manifest. The real kube-proxy writes the same rules in an order
that changes with every sync.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from itertools import pairwise
from typing import NamedTuple

from kplab.errors import KplabError
from kplab.model.bpf_maps import SERVICES
from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig
from kplab.model.loader import parse_cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.iptables import compile_iptables
from kplab.modes.program import RuleLine
from kplab.scene.frame import Asked
from kplab.trace.recording import Recording

_MAPS = frozenset({"service-ips", "service-nodeports", SERVICES})
"""Maps that tell which Service an address is of."""
_PORTS = frozenset({"th dport", "dport"})
_ADDRESSES = frozenset({"ip daddr", "ip6 daddr", "address"})
_PROTOCOLS = frozenset({"meta l4proto", "proto"})


_SERVER = re.compile(r"^(?:TCP|UDP|SCTP) ", re.MULTILINE)


class Frontend(NamedTuple):
    """What was asked for; without an address it is a NodePort."""

    address: str
    protocol: str
    port: str


@dataclass(frozen=True, slots=True)
class Instead:
    """The rules that iptables mode would have tried to find the same Service."""

    tried: int
    chain: str
    """Where it would have found it: KUBE-SERVICES or KUBE-NODEPORTS."""
    held: int
    """How many rules KUBE-SERVICES holds."""


class IptablesMode:
    """The same cluster in iptables mode, compiled when the first lookup is shown."""

    def __init__(self, recording: Recording) -> None:
        self.servers = {state.node: len(_SERVER.findall(state.ipvs_stats[0])) for state in recording.nodes}
        """How many virtual servers each node has, among which IPVS finds one."""
        self._manifest = recording.manifest
        self._node = recording.nodes[0].node if recording.nodes else ""
        self._lists: dict[Family, tuple[list[RuleLine], list[RuleLine]]] = {}

    def instead_of(self, asked: Asked) -> Instead | None:
        """Return what it would have tried; None where this was not the search for a Service, or it has none here."""
        wanted = frontend_of(asked)
        if wanted is None or self._cluster is None:
            return None
        services, node_ports = self._of(6 if ":" in wanted.address else 4)
        found = _position(services, wanted, needs_address=True)
        if found:
            return Instead(found, "KUBE-SERVICES", len(services))
        found = _position(node_ports, wanted, needs_address=False)
        return Instead(len(services) + found, "KUBE-NODEPORTS", len(services)) if found else None

    @cached_property
    def _cluster(self) -> Cluster | None:
        try:
            return parse_cluster(self._manifest, "the recording's manifest") if self._manifest else None
        except KplabError:
            return None

    def _of(self, family: Family) -> tuple[list[RuleLine], list[RuleLine]]:
        """Return the rules of KUBE-SERVICES and of KUBE-NODEPORTS."""
        if family not in self._lists and self._cluster is not None:
            program = compile_iptables(self._cluster, ProxyConfig(), self._node, family, NodeFacts())
            nat = next(table for table in program.tables if table.name == "nat")
            rules = [*nat.rules, *nat.last_rules]
            self._lists[family] = (
                [rule for rule in rules if rule.chain == "KUBE-SERVICES"],
                [rule for rule in rules if rule.chain == "KUBE-NODEPORTS"],
            )
        return self._lists.get(family, ([], []))


def frontend_of(asked: Asked) -> Frontend | None:
    """Return the address that a lookup or IPVS was asked for a Service by; None for a lookup of another kind."""
    if asked.ipvs is not None:
        protocol, _, end = asked.ipvs.virtual_server.partition(" ")
        address, _, port = end.rpartition(":")
        return Frontend(address.strip("[]"), protocol.lower(), port)
    if asked.lookup is None or asked.lookup.map not in _MAPS or asked.lookup.element is None:
        return None
    fields = {field.name: field.value for field in asked.fields}
    if fields.get("backend_slot", "0") != "0":
        return None

    def value(names: frozenset[str]) -> str:
        return next((fields[name] for name in names if name in fields), "")

    address = value(_ADDRESSES)
    unspecified = bool(address) and ip_address(address).is_unspecified
    return Frontend("" if unspecified else address, value(_PROTOCOLS).lower(), value(_PORTS))


def _position(rules: list[RuleLine], wanted: Frontend, *, needs_address: bool) -> int:
    """Return the 1-based number of the first rule for an address and port; 0 for none."""
    for number, rule in enumerate(rules, 1):
        words = rule.text.split()
        options = dict(pairwise(words))
        address = options.get("-d", "")
        if (options.get("-p"), options.get("--dport")) != (wanted.protocol, wanted.port):
            continue
        if address == wanted.address if needs_address else not address:
            return number
    return 0
