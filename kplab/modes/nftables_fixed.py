"""What kube-proxy writes in nftables mode whatever Services there are: the table, its hooks, sets, maps and checks.

Follows setupNFTables of pkg/proxy/nftables/proxier.go, v1.36, in its order.
"""

from __future__ import annotations

from kplab.modes.nft_objects import (
    BaseHook,
    NftChain,
    NftElement,
    NftObject,
    NftRule,
    NftSet,
    NftTable,
    Statement,
)
from kplab.modes.nftables_settings import NftSettings

BASE_CHAINS = (
    NftChain("filter-prerouting-pre-dnat", hook=BaseHook("filter", "prerouting", -110)),
    NftChain("filter-output-pre-dnat", hook=BaseHook("filter", "output", -110)),
    NftChain("filter-input", hook=BaseHook("filter", "input", 0)),
    NftChain("filter-forward", hook=BaseHook("filter", "forward", 0)),
    NftChain("filter-output", hook=BaseHook("filter", "output", 0)),
    NftChain("nat-prerouting", hook=BaseHook("nat", "prerouting", -100)),
    NftChain("nat-output", hook=BaseHook("nat", "output", -100)),
    NftChain("nat-postrouting", hook=BaseHook("nat", "postrouting", 100)),
)
"""Where the table hangs. Priorities are written as numbers; -100 is dstnat, 100 srcnat, 0 filter."""

_NEW = "ct state new "
_JUMPS = (
    ("filter-input", _NEW, "nodeport-endpoints-check"),
    ("filter-input", _NEW, "service-endpoints-check"),
    ("filter-forward", _NEW, "service-endpoints-check"),
    ("filter-output", _NEW, "service-endpoints-check"),
    ("filter-prerouting-pre-dnat", _NEW, "firewall-check"),
    ("filter-output-pre-dnat", _NEW, "firewall-check"),
    ("nat-output", "", "services"),
    ("nat-prerouting", "", "services"),
    ("nat-postrouting", "", "masquerading"),
    ("filter-forward", _NEW, "cluster-ips-check"),
    ("filter-output", _NEW, "cluster-ips-check"),
)
_PORT = "meta l4proto . th dport"
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1"}


def fresh_hooks() -> tuple[Statement, ...]:
    """Return what goes before the rest at the first sync after a start: base chains are made anew.

    A priority that another version of kube-proxy wrote could not be changed otherwise.
    """
    return tuple(
        Statement(verb, NftChain(chain.name)) for chain in BASE_CHAINS for verb in ("add", "delete")
    )  # fmt: skip


def frame(settings: NftSettings) -> tuple[Statement, ...]:
    """Return the fixed part, which every full sync writes."""
    written: list[Statement] = []
    for chain in BASE_CHAINS:
        _emptied(written, chain)
    _jumps(written)
    _masquerading(written, settings)
    _cluster_ips(written, settings)
    _node_port_ips(written, settings)
    _no_endpoints(written, settings)
    _firewall(written, settings)
    _services(written, settings)
    return tuple(written)


TABLE_LINE = Statement("add", NftTable("rules for kube-proxy"))
"""The first line of a full sync."""


def _emptied(written: list[Statement], what: NftChain | NftSet) -> None:
    written += (Statement("add", what), Statement("flush", what))


def _add(written: list[Statement], *objects: NftObject) -> None:
    written.extend(Statement("add", what) for what in objects)


def _jumps(written: list[Statement]) -> None:
    made = set()
    for source, match, target in _JUMPS:
        if target not in made:
            made.add(target)
            _emptied(written, NftChain(target))
        _add(written, NftRule(source, f"{match}jump {target}"))


def _masquerading(written: list[Statement], settings: NftSettings) -> None:
    """What is marked, and pods that meet themselves, leave with the node's address."""
    address, ip, mark = settings.address_type, settings.ip, settings.mark
    _add(
        written,
        NftSet(
            "set",
            "hairpin-connections",
            f"{address} . {address} . inet_proto . inet_service",
            "service hairpin connections",
        ),
        NftRule("masquerading", f"mark and {mark} != 0 mark set mark xor {mark} masquerade fully-random"),
        NftRule(
            "masquerading",
            f"ct status dnat {ip} saddr . {ip} daddr . {_PORT} @hairpin-connections masquerade fully-random",
        ),
    )


def _cluster_ips(written: list[Statement], settings: NftSettings) -> None:
    _add(
        written,
        NftSet("set", "cluster-ips", settings.address_type, "Active ClusterIPs"),
        NftRule(
            "cluster-ips-check",
            f"{settings.ip} daddr @cluster-ips reject",
            "Reject traffic to invalid ports of ClusterIPs",
        ),
    )


def _node_port_ips(written: list[Statement], settings: NftSettings) -> None:
    ips = NftSet("set", "nodeport-ips", settings.address_type, "IPs that accept NodePort traffic")
    if settings.node_port_ips is None:
        written += (Statement("add", ips), Statement("delete", ips))
        return
    _emptied(written, ips)
    _add(written, *[NftElement("nodeport-ips", ip) for ip in settings.node_port_ips])


def _no_endpoints(written: list[Statement], settings: NftSettings) -> None:
    services, node_ports, ip = "no-endpoint-services", "no-endpoint-nodeports", settings.ip
    here = f"{ip} daddr != {_LOOPBACK[settings.family]}" if settings.node_port_ips is None else _at_node(ip)
    _add(
        written,
        _by_service(services, "vmap to drop or reject packets to services with no endpoints", settings),
        _by_node_port(node_ports, "vmap to drop or reject packets to service nodeports with no endpoints"),
    )
    _emptied(written, NftChain("reject-chain", f"helper for @{services} / @{node_ports}"))
    _add(
        written,
        NftRule("reject-chain", "reject"),
        NftRule("service-endpoints-check", f"{ip} daddr . {_PORT} vmap @{services}"),
        NftRule("nodeport-endpoints-check", f"{here} {_PORT} vmap @{node_ports}"),
    )


def _firewall(written: list[Statement], settings: NftSettings) -> None:
    _add(
        written,
        _by_service("firewall-ips", "destinations that are subject to LoadBalancerSourceRanges", settings),
        NftRule("firewall-check", f"{settings.ip} daddr . {_PORT} vmap @firewall-ips"),
    )


def _services(written: list[Statement], settings: NftSettings) -> None:
    """Where traffic is taken out of the stream; first, ClusterIP traffic from outside is marked."""
    ip = settings.ip
    _add(
        written,
        _by_service("service-ips", "ClusterIP, ExternalIP and LoadBalancer IP traffic", settings),
        _by_node_port("service-nodeports", "NodePort traffic"),
    )
    mark = f"mark set mark or {settings.mark}"
    if settings.masquerade_all:
        _add(written, NftRule("services", f"{ip} daddr @cluster-ips {mark}", "masquerade all clusterIP traffic"))
    elif settings.detector:
        why = "masquerade clusterIP traffic from outside cluster"
        outside = settings.detector.nft_if_not_local
        _add(written, NftRule("services", f"{ip} daddr @cluster-ips {outside} {mark}", why))
    everywhere = f"fib daddr type local {ip} daddr != {_LOOPBACK[settings.family]}"
    here = everywhere if settings.node_port_ips is None else _at_node(ip)
    _add(
        written,
        NftRule("services", f"{ip} daddr . {_PORT} vmap @service-ips"),
        NftRule("services", f"{here} {_PORT} vmap @service-nodeports"),
    )


def _at_node(ip: str) -> str:
    return f"{ip} daddr @nodeport-ips"


def _by_service(name: str, comment: str, settings: NftSettings) -> NftSet:
    return NftSet("map", name, f"{settings.address_type} . inet_proto . inet_service : verdict", comment)


def _by_node_port(name: str, comment: str) -> NftSet:
    return NftSet("map", name, "inet_proto . inet_service : verdict", comment)
