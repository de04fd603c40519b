"""What kube-proxy's fixed rules of ipvs mode are for: they ask ipsets, and leave the choice to IPVS.

The rules and sets are those of pkg/proxy/ipvs/proxier.go and pkg/proxy/ipvs/ipset.go. The sets' names begin with
`KUBE-6-` for IPv6, and are cut to 31 characters.
"""

from __future__ import annotations

from kplab.model.journey import Lookup
from kplab.model.packet import Headers
from kplab.model.ruleset import Rule

_CHAINS = {
    ("nat", "KUBE-LOAD-BALANCER"): "the chain that marks what came to a load balancer's address",
    ("filter", "KUBE-IPVS-FILTER"): "the chain that refuses what is for a Service's address, but for none of its ports",
    ("filter", "KUBE-IPVS-OUT-FILTER"): (
        "the chain that drops what this node itself sends to a load balancer whose source ranges leave it out"
    ),
    ("filter", "KUBE-NODE-PORT"): "the chain that accepts health check node ports",
}
"""What the chains are for that only ipvs mode has, by table and name."""

_FOR_PORT = {
    "CLUSTER-IP": "ClusterIP",
    "EXTERNAL-IP": "external IP",
    "EXTERNAL-IP-LOCAL": "external IP with externalTrafficPolicy Local",
    "LOAD-BALANCER": "load balancer's IP",
    "LOAD-BALANCER-LOCAL": "load balancer's IP with externalTrafficPolicy Local",
}
"""What a member of a set of addresses and ports is, by the set's name without KUBE- or KUBE-6-."""


def found_in_set(lookup: Lookup | None) -> str:
    """Say which member of an ipset a rule found, as the start of a sentence; "" where it asked for none."""
    if lookup is None or lookup.element is None:
        return ""
    members = "1 member" if lookup.elements == 1 else f"{lookup.elements} members"
    return f"one lookup in the set {lookup.map} ({members}) found {lookup.element}; "


def ipvs_meaning(rule: Rule, table: str, headers: Headers, lookup: Lookup | None) -> str | None:
    """Return what a rule of ipvs mode is for, and what comes of it; None for a rule that is not of that mode."""
    target, chain = rule.target.name, rule.chain
    asked = _plain_name(lookup.map) if lookup is not None else ""
    if asked == "LOOP-BACK":
        return (
            "the pod is sent to itself (hairpin), so its source becomes this node's address (MASQUERADE): else it "
            "would answer itself, past IPVS"
        )
    if chain.startswith("KUBE-IPVS-"):
        return _access(rule, headers, asked)
    if chain in ("KUBE-SOURCE-RANGES-FIREWALL", "KUBE-PROXY-FIREWALL"):
        return _ranges(rule, headers, asked)
    if target == "KUBE-NODE-PORT" and table == "nat":
        return (
            f"{headers.dst} is an address of this node, its own or one that kube-ipvs0 holds, so it is asked whether "
            "the port is a NodePort"
        )
    if target == "KUBE-MARK-MASQ" and (asked or chain == "KUBE-LOAD-BALANCER"):
        return _marking(rule, headers, asked)
    if target == "ACCEPT" and asked in _FOR_PORT and table == "nat":
        return (
            f"it is for a Service's {_FOR_PORT[asked]}, so nat lets it go as it is: not a rule, but IPVS will choose "
            "the endpoint"
        )
    if target == "RETURN" and chain in ("KUBE-NODE-PORT", "KUBE-LOAD-BALANCER"):
        return "externalTrafficPolicy is Local, so it is not marked: the endpoint shall see who asked"
    if (table, target) in _CHAINS:
        who = "it is for a load balancer's IP, so the packet" if asked else "every packet"
        return f"{who} goes on to {target}, {_CHAINS[table, target]}"
    return None


def _plain_name(name: str) -> str:
    return name.removeprefix("KUBE-").removeprefix("6-")


def _access(rule: Rule, headers: Headers, asked: str) -> str | None:
    """KUBE-IPVS-FILTER and KUBE-IPVS-OUT-FILTER."""
    if rule.target.name == "RETURN":
        what = f"it is for a port of a Service's {_FOR_PORT[asked]}" if asked in _FOR_PORT else "its port may be asked"
        return f"{what}, so it may pass; back to the chain that called"
    if rule.target.name == "REJECT":
        return (
            f"{headers.dst} is a Service's address on kube-ipvs0, and no set held it with this port, so it is rejected "
            f"with {rule.target.option('reject-with') or 'an ICMP error'}"
        )
    if rule.target.name == "DROP":
        return (
            f"this node itself asks the load balancer {headers.src}, whose loadBalancerSourceRanges leave it out, so "
            "it is dropped, and nobody is told"
        )
    return None


def _ranges(rule: Rule, headers: Headers, asked: str) -> str | None:
    """The chains that hold loadBalancerSourceRanges; iptables mode has the first of them too."""
    target = rule.target.name
    if target == "DROP" and rule.chain == "KUBE-SOURCE-RANGES-FIREWALL":
        return f"the source {headers.src} is in none of the loadBalancerSourceRanges, so it is dropped; nobody is told"
    if target == "RETURN" and asked:
        return f"the source {headers.src} is in the loadBalancerSourceRanges; back to the chain that called"
    if target == "KUBE-SOURCE-RANGES-FIREWALL":
        return "the Service names loadBalancerSourceRanges, so the source is looked at"
    return None


def _marking(rule: Rule, headers: Headers, asked: str) -> str:
    back = "so it is marked: its source will be rewritten, and the answer comes back through this node"
    if asked == "CLUSTER-IP" and "src,dst" in rule.text:
        return f"this node's own process asks a Service by the Service's address, {back}"
    if asked == "CLUSTER-IP":
        return f"the sender {headers.src} is no pod, {back}"
    if asked.startswith("NODE-PORT"):
        return f"{headers.dport} is a NodePort whose endpoint may be on another node, {back}"
    return f"it came to an external address and may go on to another node, {back}"
