"""The lab's own rules, which make the kernel tell a packet's way. They are never shown as kube-proxy's.

A table of its own, `inet kplab-trace`, in each node's namespace. At the two hooks where a packet enters the node it
sets nf_trace on the skb; at each hook a first and a last chain show, by the one message of their only rule, the
packet's headers when it came to the hook and when it left it: DNAT is what changed between `prerouting-first` and
`prerouting-last`. An accept ends its own base chain only (nf_hook_slow goes on with the next), so nothing is let
through that another chain would stop; without it a chain's end would give two messages.

skb->nf_trace is one bit, whoever set it: nf_tables' trace and iptables-legacy's (ipt_do_table in
net/ipv4/netfilter/ip_tables.c) both look at it, so iptables-legacy needs no TRACE rule.
"""

from __future__ import annotations

from kplab.model.topology import Role
from kplab.trace.recording import Backend

TABLE = "kplab-trace"
FIRST, LAST = -500, 500
"""Priorities: before raw (-300), after the source NAT (100) and security (50)."""

HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
MARKING = ("prerouting", "output")
"""Where a packet enters a node: from a link, or from one of the node's own sockets."""

TRACED_ROLES: frozenset[Role] = frozenset({"node"})
"""The namespaces that hold kube-proxy's rules."""

_COMMENT = "kplab: the lab's own tracing, not kube-proxy's"
_NEIGHBOURS = "{ 130-137, 143 }"
"""ICMPv6 of neighbour and router discovery and multicast listeners; never a part of a question."""


def lab_chains() -> tuple[tuple[str, str], ...]:
    """Return the (table, chain) pairs of `tracing_ruleset`, for `NodeState.lab_chains`."""
    return tuple((TABLE, f"{hook}-{end}") for hook in HOOKS for end in ("first", "last"))


def tracing_ruleset(role: Role, backend: Backend) -> str:
    """Return the text for `nft -f -` in a namespace of that role; "" where nothing is traced.

    It is the same for both back-ends, and may be applied again: it replaces itself.
    """
    del backend  # one bit serves both; a parameter because a further back-end may want rules of its own
    if role not in TRACED_ROLES:
        return ""
    chains = [_chain(hook, end, priority) for hook in HOOKS for end, priority in (("first", FIRST), ("last", LAST))]
    head = f'table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n  comment "{_COMMENT}"\n'
    return head + "".join(chains) + "}\n"


def _chain(hook: str, end: str, priority: int) -> str:
    rules = ["accept"]
    if end == "first" and hook in MARKING:
        rules = ["ip protocol igmp return", f"icmpv6 type {_NEIGHBOURS} return", "meta nftrace set 1 accept"]
    lines = [f"type filter hook {hook} priority {priority}; policy accept;"]
    lines += [f'{rule} comment "{_COMMENT}"' for rule in rules]
    return f"  chain {hook}-{end} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"
