"""The layers that a packet expression may hold: scapy's own names and fields.

scapy itself lives on the privileged side; this table lets a typing mistake be named at once, without it. A
unit test compares it with the installed scapy. Kinds: "u8" … an unsigned number of that many bits; "ip4",
"ip6" an address; "flags" letters or a number; "bytes" text or bytes; "options" TCP options as (name, value)
pairs; "addresses" a list of IPv6 addresses.
"""

from __future__ import annotations

_ICMP6 = "type:u8 code:u8 cksum:u16"

_TABLE = {
    "IP": "version:u4 ihl:u4 tos:u8 len:u16 id:u16 flags:flags frag:u13 ttl:u8 proto:u8 chksum:u16 src:ip4 dst:ip4",
    "IPv6": "version:u4 tc:u8 fl:u20 plen:u16 nh:u8 hlim:u8 src:ip6 dst:ip6",
    "TCP": "sport:u16 dport:u16 seq:u32 ack:u32 dataofs:u4 reserved:u3 flags:flags window:u16 chksum:u16 urgptr:u16 "
    "options:options",
    "UDP": "sport:u16 dport:u16 len:u16 chksum:u16",
    "ICMP": "type:u8 code:u8 chksum:u16 id:u16 seq:u16 ts_ori:u32 ts_rx:u32 ts_tx:u32 gw:ip4 ptr:u8 reserved:u8 "
    "length:u8 addr_mask:ip4 nexthopmtu:u16",
    "IPv6ExtHdrHopByHop": "nh:u8 len:u8 autopad:u8",
    "IPv6ExtHdrDestOpt": "nh:u8 len:u8 autopad:u8",
    "IPv6ExtHdrFragment": "nh:u8 res1:u8 offset:u13 res2:u2 m:u1 id:u32",
    "IPv6ExtHdrRouting": "nh:u8 len:u8 type:u8 segleft:u8 reserved:u32 addresses:addresses",
    "ICMPv6EchoRequest": f"{_ICMP6} id:u16 seq:u16 data:bytes",
    "ICMPv6EchoReply": f"{_ICMP6} id:u16 seq:u16 data:bytes",
    "ICMPv6DestUnreach": f"{_ICMP6} length:u8 unused:u24",
    "ICMPv6PacketTooBig": f"{_ICMP6} mtu:u32",
    "ICMPv6TimeExceeded": f"{_ICMP6} length:u8 unused:u24",
    "ICMPv6ParamProblem": f"{_ICMP6} ptr:u32",
    "Raw": "load:bytes",
}

LAYERS: dict[str, dict[str, str]] = {
    layer: dict(field.split(":") for field in fields.split()) for layer, fields in _TABLE.items()
}
"""Layer -> field -> kind, in scapy's order."""

NETWORK_LAYERS = ("IP", "IPv6")
TRANSPORT_LAYERS = tuple(name for name in LAYERS if name not in (*NETWORK_LAYERS, "Raw"))

TCP_FLAG_LETTERS = "FSRPAUECN"
IP_FLAG_LETTERS = ("MF", "DF", "evil")
