"""nf_tables' trace messages, decoded.

Attributes are enum nft_trace_attributes of include/uapi/linux/netfilter/nf_tables.h; the kernel writes them in
net/netfilter/nf_tables_trace.c.

Facts for whoever groups them:

* One socket is one network namespace, and gets the messages of one packet in the order of its way, because a packet
  is worked on by one CPU at a time. Two packets on two CPUs interleave: group by `trace_id` first.
* `trace_id` is a hash of the skb's address, so another packet may have it as soon as the first is gone.
* `packet`, `iif` and `oif` come with a packet's first message in each base chain (`info->packet_dumped`), whatever its
  kind: rule, return or policy. So a message with `packet` begins a visit of a base chain, and these are the headers
  at that moment: the state *before* what the rules of that visit do.
* A rule that matched and goes on has the verdict "continue"; a rule that did not match is never reported.
* A jump is a "rule" message with the verdict "jump X" in the chain that jumps; a RETURN that matched is a "rule"
  message with the verdict "return".
* The end of a chain, where no rule decided, is a message of kind "return" with the verdict "continue" and no handle.
  Linux 6.18 writes it as NFT_TRACETYPE_RULE without NFTA_TRACE_RULE_HANDLE; older kernels as NFT_TRACETYPE_RETURN.
  In a base chain a "policy" message follows it at once; a base chain left by accept or drop has neither.
* An empty base chain gives these two messages too.
* `ct_*` come with `packet` and only there. Before conntrack's hook (priority -200) there is none, and the id is that
  of `conntrack -o id`.
* `mark` comes with every message, as it is after the rule.
* One packet's DNAT is seen as the difference between two `packet`s of one hook; nothing says "DNAT".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Literal

from kplab.capture.netlink import NFPROTO_NAMES, Attributes, NetlinkMessage, attributes, number, text
from kplab.errors import CaptureError
from kplab.trace.events import NftTrace

NFT_MSG_TRACE = 17

_TABLE, _CHAIN, _RULE_HANDLE, _TYPE, _VERDICT, _ID = 1, 2, 3, 4, 5, 6
_NETWORK_HEADER, _TRANSPORT_HEADER, _IIF, _OIF = 8, 9, 10, 12
_MARK, _NFPROTO, _POLICY = 14, 15, 16
_CT_ID, _CT_DIRECTION, _CT_STATUS, _CT_STATE = 18, 19, 20, 21  # from Linux 6.16
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2

_KINDS: dict[int, Literal["rule", "return", "policy"]] = {1: "policy", 2: "return", 3: "rule"}
_NFT_VERDICTS = {-1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"}
_NF_VERDICTS = {0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat"}
_CT_STATES = {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"}
"""NF_CT_STATE_BIT (nf_conntrack_common.h)."""

_TRANSPORTS = frozenset({1, 6, 17, 33, 58, 132, 136})
"""Protocols after which no further IPv6 header comes."""


def decode_nft_trace(message: NetlinkMessage, interfaces: Mapping[int, str]) -> NftTrace:
    """Return the event of an NFT_MSG_TRACE. `interfaces` gives names to the namespace's interface indexes.

    Raises:
        CaptureError: the message lacks an identity, a table, a chain or a kind that we know.
    """
    found = attributes(message.body)
    kind = _kind(found)
    trace_id = number(found.get(_ID))
    if kind is None or trace_id is None or _TABLE not in found or _CHAIN not in found:
        raise CaptureError("a trace message lacks table, chain, kind or id", message.body.hex())
    direction = found.get(_CT_DIRECTION)
    state = number(found.get(_CT_STATE))
    return NftTrace(
        trace_id=trace_id,
        family=NFPROTO_NAMES.get(message.family, str(message.family)),
        table=text(found[_TABLE]),
        chain=text(found[_CHAIN]),
        kind=kind,
        verdict=_verdict(kind, found),
        handle=number(found.get(_RULE_HANDLE)),
        mark=number(found.get(_MARK)) or 0,
        iif=interface_name(found.get(_IIF), interfaces),
        oif=interface_name(found.get(_OIF), interfaces),
        packet=_joined(found.get(_NETWORK_HEADER, b""), found.get(_TRANSPORT_HEADER, b"")),
        ct_id=number(found.get(_CT_ID)),
        ct_direction=None if not direction else ("reply" if direction[0] else "original"),
        ct_state=None if state is None else _CT_STATES.get(state, f"{state:#x}"),
        ct_status=number(found.get(_CT_STATUS)),
    )


def interface_name(index: bytes | None, interfaces: Mapping[int, str]) -> str | None:
    """Return an interface's name; "if7" for an index that is not (or no longer) in the namespace."""
    value = number(index)
    return None if not value else interfaces.get(value, f"if{value}")


def _kind(found: Attributes) -> Literal["rule", "return", "policy"] | None:
    kind = _KINDS.get(number(found.get(_TYPE)) or 0)
    return "return" if kind == "rule" and _RULE_HANDLE not in found else kind


def _verdict(kind: str, found: Attributes) -> str:
    if kind == "policy":
        return _NF_VERDICTS.get((number(found.get(_POLICY)) or 0) & 0xFF, "drop")
    nested = attributes(found.get(_VERDICT, b""))
    payload = nested.get(_VERDICT_CODE, b"")
    if len(payload) != 4:
        return "return" if kind == "return" else "continue"
    code = int(struct.unpack("!i", payload)[0])
    name = _NFT_VERDICTS.get(code)
    if name in ("jump", "goto"):
        return f"{name} {text(nested.get(_VERDICT_CHAIN, b''))}"
    # The upper half of a netfilter verdict holds an errno (drop) or a queue's number.
    return name or _NF_VERDICTS.get(code & 0xFF, str(code))


def _joined(network: bytes, transport: bytes) -> bytes:
    """Return both headers as they stood in the packet.

    The kernel gives at most 40 bytes of the first (NFT_TRACETYPE_NETWORK_HSIZE) and 20 of the second, so after
    long IPv4 options, or IPv6 extension headers, the second does not follow the first and is left out.
    """
    if not network or not transport:
        return network
    version = network[0] >> 4
    if version == 4 and len(network) == (network[0] & 0xF) * 4:
        return network + transport
    if version == 6 and len(network) == 40 and network[6] in _TRANSPORTS:
        return network + transport
    return network
