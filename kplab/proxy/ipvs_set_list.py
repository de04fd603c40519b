"""The kernel's ipsets, read by netlink (include/uapi/linux/netfilter/ipset/ip_set.h), members as ipset prints them.

Not by `ipset save`: it looks up /etc/protocols for every member that has a port. Where the processor is emulated, 5,000
members took it 16 s.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from kplab.errors import LabError
from kplab.model.ruleset import IpSet
from kplab.proxy.ipvs_netlink import NETFILTER, Netlink, attributes

_LIST = 6 << 8 | 7
"""NFNL_SUBSYS_IPSET, IPSET_CMD_LIST."""
_QUESTION = struct.pack("=BBHHHB3x", socket.AF_INET, 0, 0, 5, 1, 6)
"""struct nfgenmsg, and IPSET_ATTR_PROTOCOL (1): version 6, which every kernel of today speaks."""
_NAME, _TYPE, _FAMILY, _MEMBERS = 2, 3, 5, 8
_IP, _PORT, _PROTOCOL, _FLAGS, _IP_2, _CIDR_2 = 1, 4, 7, 8, 20, 21
_NO_MATCH = 1 << 2
_PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp"}
TYPES = frozenset({"hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port"})


def read_sets() -> dict[str, IpSet]:
    """Return the sets of IPVS mode's types in this network namespace, by name.

    Raises:
        LabError: the kernel has no ipsets, or does not tell.

    """
    netlink = Netlink(NETFILTER)
    try:
        return sets_of(netlink.dump(_LIST, _QUESTION))
    finally:
        netlink.close()


def sets_of(answers: Iterable[bytes]) -> dict[str, IpSet]:
    """Put the kernel's answers together; a set with many members comes in several, the first of which describes it.

    Members that are marked "nomatch" are somebody else's, and left out.
    """
    kinds: dict[str, tuple[str, int]] = {}
    members: dict[str, set[str]] = {}
    for answer in answers:
        found = dict(attributes(answer[4:]))
        name = _text(found.get(_NAME, b""))
        if _TYPE in found:
            kinds[name] = _text(found[_TYPE]), found.get(_FAMILY, b"\0")[0]
        if name not in kinds:
            raise LabError("read the kernel's ipsets", f"members of a set that was not described: {name}")
        if kinds[name][0] in TYPES:
            mine = members.setdefault(name, set())
            entries = (dict(attributes(data)) for _, data in attributes(found.get(_MEMBERS, b"")))
            mine.update(_member(entry) for entry in entries if not _excepted(entry))
    return {
        name: IpSet(name, kinds[name][0], 6 if kinds[name][1] == socket.AF_INET6 else 4, frozenset(mine))
        for name, mine in members.items()
    }


def _member(found: dict[int, bytes]) -> str:
    """Return one member, like "10.96.0.20,tcp:80,10.1.0.0/16", "30080"."""
    words = [_address(found[_IP])] if _IP in found else []
    if _PORT in found:
        port = str(int.from_bytes(found[_PORT], "big"))
        number = found[_PROTOCOL][0] if _PROTOCOL in found else None
        words.append(port if number is None else f"{_PROTOCOLS.get(number, number)}:{port}")
    if _IP_2 in found:
        address = _address(found[_IP_2])
        length = found[_CIDR_2][0] if _CIDR_2 in found else None
        whole = length is None or length == (128 if ":" in address else 32)
        words.append(address if whole else f"{address}/{length}")
    return ",".join(words)


def _excepted(found: dict[int, bytes]) -> bool:
    """Whether a member is marked "nomatch", which kube-proxy never does."""
    return bool(int.from_bytes(found.get(_FLAGS, b""), "big") & _NO_MATCH)


def _address(nested: bytes) -> str:
    packed = nested[4:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _text(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode()
