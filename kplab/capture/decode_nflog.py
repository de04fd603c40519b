"""iptables-legacy's TRACE, as nfnetlink_log carries it, decoded.

Attributes are enum nfulnl_attr_type of include/uapi/linux/netfilter/nfnetlink_log.h; the prefix is written by
trace_packet in net/ipv4/netfilter/ip_tables.c: `TRACE: nat:KUBE-SERVICES:rule:1 `.

Facts for whoever groups them:

* One socket is one network namespace; its messages carry a sequence number and arrive in order.
* Every message has the packet (up to `nflog.SNAP` bytes) and the mark as they were *before* the rule's target did
  anything; nf_tables' trace has the mark after it.
* There is no trace id: group by the packet's own fields and by order.
* `rule` is logged for each rule that matched, `return` at the end of a user-defined chain, `policy` at that of a base
  chain. The number of a `return` or `policy` is that of the chain's (invisible) last rule. A `-j RETURN` without any
  match, anywhere in a chain, is logged as `return` (in a base chain `policy`, and the policy itself follows) with its
  own number.
* The kernel finds each number by counting from the table's start: with 32,000 rules a packet takes it over 1 ms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, cast

from kplab.capture.decode_nftrace import interface_name
from kplab.capture.netlink import NFPROTO_NAMES, NetlinkMessage, attributes, number, text
from kplab.trace.events import Hook, LegacyTrace

NFULNL_MSG_PACKET = 0

_PACKET_HDR, _MARK, _INDEV, _OUTDEV, _PAYLOAD, _PREFIX, _SEQ = 1, 2, 4, 5, 9, 10, 12

_HOOKS: tuple[Hook, ...] = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
"""enum nf_inet_hooks."""

_TRACE = re.compile(r"TRACE: ([^:]+):(.+):(rule|return|policy):(\d+) ?$")


def decode_nflog(message: NetlinkMessage, interfaces: Mapping[int, str]) -> LegacyTrace | None:
    """Return the event of an NFULNL_MSG_PACKET; None for one that an NFLOG rule sent (LOG goes elsewhere)."""
    found = attributes(message.body)
    trace = _TRACE.match(text(found.get(_PREFIX, b"")))
    header = found.get(_PACKET_HDR, b"")
    if trace is None or len(header) < 3 or header[2] >= len(_HOOKS):
        return None
    table, chain, kind, rule = trace.groups()
    return LegacyTrace(
        family=NFPROTO_NAMES.get(message.family, str(message.family)),
        table=table,
        chain=chain,
        kind=cast("Literal['rule', 'return', 'policy']", kind),
        number=int(rule),
        hook=_HOOKS[header[2]],
        mark=number(found.get(_MARK)) or 0,
        iif=interface_name(found.get(_INDEV), interfaces),
        oif=interface_name(found.get(_OUTDEV), interfaces),
        packet=found.get(_PAYLOAD, b""),
    )


def sequence(message: NetlinkMessage) -> int | None:
    """Return the message's number in its group, or None (NFULA_SEQ, asked for with NFULNL_CFG_F_SEQ)."""
    return number(attributes(message.body).get(_SEQ))
