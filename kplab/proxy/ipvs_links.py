"""Addresses of kube-ipvs0 as rtnetlink requests (include/uapi/linux/rtnetlink.h, if_addr.h), as `ip address` sends."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

from kplab.errors import ApplyError
from kplab.modes.ipvs_program import DEVICE
from kplab.proxy.ipvs_netlink import ROUTE, Netlink

_NEW_ADDRESS, _DELETE_ADDRESS = 20, 21
_CREATE, _EXCLUSIVE = 0x400, 0x200
_HEAD = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, length of the prefix, flags, scope (0: universe), index of the interface."""
_IFA_LOCAL, _IFA_ADDRESS = 2, 1
_DONE_ALREADY = {_NEW_ADDRESS: errno.EEXIST, _DELETE_ADDRESS: errno.EADDRNOTAVAIL}


def add_addresses(addresses: Sequence[str]) -> None:
    """Put each on kube-ipvs0 as a /32 or /128. Raises ApplyError."""
    _change(_NEW_ADDRESS, addresses, _CREATE | _EXCLUSIVE)


def delete_addresses(addresses: Sequence[str]) -> None:
    """Take each from kube-ipvs0. Raises ApplyError."""
    _change(_DELETE_ADDRESS, addresses, 0)


def _change(kind: int, addresses: Sequence[str], flags: int) -> None:
    if not addresses:
        return
    try:
        index = socket.if_nametoindex(DEVICE)
    except OSError as error:
        raise ApplyError(f"change {DEVICE}", str(error)) from error
    route = Netlink(ROUTE)
    try:
        failed = route.change(kind, [request(address, index) for address in addresses], flags)
    finally:
        route.close()
    told = [
        f"{addresses[place]}: {errno.errorcode.get(code, code)}"
        for place, code in failed.items()
        if code != _DONE_ALREADY[kind]
    ]
    if told:
        raise ApplyError(f"change {DEVICE}", "\n".join(told))


def request(address: str, index: int) -> bytes:
    """Return a request about one address of an interface, without the header of netlink."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    attributes = b"".join(struct.pack("=HH", 4 + len(packed), kind) + packed for kind in (_IFA_LOCAL, _IFA_ADDRESS))
    return _HEAD.pack(family, 8 * len(packed), 0, 0, index) + attributes
