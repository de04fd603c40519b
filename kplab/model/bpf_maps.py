"""The BPF maps of eBPF mode: names, bytes, and what they mean.

Layouts are those of Cilium's bpf/lib/common.h (struct lb4_key, lb4_service, lb4_backend, lb4_reverse_nat,
ipv4_revnat_tuple, ipv4_revnat_entry), as kplab/lab/bpf/socket_lb.c has them: addresses, ports and `rev_nat_index` in
network order, everything else in the machine's.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

SERVICES = "cilium_lb4_services_v2"
BACKENDS = "cilium_lb4_backends_v3"
REVERSE_NAT = "cilium_lb4_reverse_nat"
REVERSE_SK = "cilium_lb4_reverse_sk"
AFFINITY = "cilium_lb4_affinity"
AFFINITY_MATCH = "cilium_lb_affinity_match"
NODE_IPS = "kplab_node_ips"

BPF_MAPS = frozenset({SERVICES, BACKENDS, REVERSE_NAT, REVERSE_SK, AFFINITY, AFFINITY_MATCH, NODE_IPS})

FLAG_EXTERNAL_IP, FLAG_NODE_PORT, FLAG_AFFINITY, FLAG_LOAD_BALANCER, FLAG_ROUTABLE = 1, 2, 16, 32, 64
"""Bits of a service's `flags` (SVC_FLAG_…)."""
ALGORITHM_RANDOM = 1
"""In the top byte of slot 0's first field."""
PROTOCOLS = {6: "TCP", 17: "UDP"}
NUMBERS = {name: number for number, name in PROTOCOLS.items()}

_SIZES: dict[str, tuple[int, Literal["big", "little"]]] = {
    "dport": (2, "big"), "port": (2, "big"), "backend_slot": (2, sys.byteorder), "backend_id": (4, sys.byteorder),
    "rev_nat_index": (2, "big"), "rev_nat_id": (2, "big"), "cookie": (8, sys.byteorder),
    "client_id": (8, sys.byteorder),
}  # fmt: skip
"""A key's fields that are numbers: how many bytes, and in which order."""

_FLAGS = {
    FLAG_EXTERNAL_IP: "externalIP",
    FLAG_NODE_PORT: "NodePort",
    FLAG_AFFINITY: "affinity",
    FLAG_LOAD_BALANCER: "LoadBalancer",
    FLAG_ROUTABLE: "routable",
}


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key of `cilium_lb4_services_v2`; slot 0 is the frontend, slots 1 to its count hold a backend each."""

    address: str
    port: int
    protocol: str
    slot: int = 0

    def pack(self) -> bytes:
        """Return the 12 bytes: be32 address, be16 dport, u16 backend_slot, u8 proto, u8 scope, 2 bytes of padding."""
        head = _address(self.address) + self.port.to_bytes(2, "big") + self.slot.to_bytes(2, sys.byteorder)
        return head + bytes((NUMBERS[self.protocol], 0, 0, 0))


@dataclass(frozen=True, slots=True)
class ServiceValue:
    """A value of `cilium_lb4_services_v2`. `first` is a backend's id; in slot 0 seconds of affinity and algorithm."""

    first: int
    count: int
    rev_nat: int
    flags: int

    def pack(self) -> bytes:
        """Return the 12 bytes: u32, u16 count, be16 rev_nat_index, u8 flags, u8 flags2, u16 qcount."""
        rev_nat = self.rev_nat.to_bytes(2, "big")
        return struct.pack("=IH", self.first, self.count) + rev_nat + struct.pack("=BBH", self.flags, 0, 0)


def pack_backend(address: str, port: int, protocol: str) -> bytes:
    """Return a value of `cilium_lb4_backends_v3`: be32 address, be16 port, u8 proto, 5 bytes that are 0 here."""
    return _address(address) + port.to_bytes(2, "big") + bytes((NUMBERS[protocol],)) + bytes(5)


def pack_backend_id(number: int) -> bytes:
    """Return a key of `cilium_lb4_backends_v3`: u32."""
    return struct.pack("=I", number)


def pack_reverse_nat(address: str, port: int) -> bytes:
    """Return a value of `cilium_lb4_reverse_nat`: be32 address, be16 port."""
    return _address(address) + port.to_bytes(2, "big")


def pack_affinity_match(backend: int, rev_nat: int) -> bytes:
    """Return a key of `cilium_lb_affinity_match`: u32 backend_id, be16 rev_nat_id, padding."""
    return struct.pack("=I", backend) + rev_nat.to_bytes(2, "big") + bytes(2)


def describe_key(name: str, key: bytes) -> str:
    """Return a key with its fields named, like "address 10.96.0.42, dport 80, backend_slot 0, proto TCP"."""
    if name == SERVICES:
        slot = int.from_bytes(key[6:8], sys.byteorder)
        proto = PROTOCOLS.get(key[8], str(key[8]))
        return f"address {_ip(key)}, dport {_port(key)}, backend_slot {slot}, proto {proto}"
    if name == BACKENDS:
        return f"backend_id {_u32(key)}"
    if name == REVERSE_NAT:
        return f"rev_nat_index {int.from_bytes(key[:2], 'big')}"
    if name == REVERSE_SK:
        return f"cookie {_u64(key)}, address {_ip(key[8:])}, port {_port(key[8:])}"
    if name == AFFINITY:
        return f"client_id {_u64(key)} (network namespace), rev_nat_id {int.from_bytes(key[8:10], 'big')}"
    if name == AFFINITY_MATCH:
        return f"backend_id {_u32(key)}, rev_nat_id {int.from_bytes(key[4:6], 'big')}"
    if name == NODE_IPS:
        return f"address {_ip(key)}"
    return key.hex(" ")


def field_bytes(field: str, value: str) -> str:
    """Return one field of `describe_key` as the bytes that it has in the key, in hexadecimal; "" for another text."""
    word = value.partition(" ")[0]
    if field == "address":
        return _address(word).hex(" ")
    if field == "proto":
        return f"{NUMBERS[word]:02x}" if word in NUMBERS else ""
    if not word.isdigit() or field not in _SIZES:
        return ""
    size, order = _SIZES[field]
    return int(word).to_bytes(size, order).hex(" ")


def describe_value(name: str, key: bytes, value: bytes) -> str:
    """Return a value with its fields named; what a service's first field means depends on the key's slot."""
    if name == SERVICES:
        return _describe_service(int.from_bytes(key[6:8], sys.byteorder), value)
    if name == BACKENDS:
        return f"address {_ip(value)}, port {_port(value)}, proto {PROTOCOLS.get(value[6], str(value[6]))}"
    if name == REVERSE_NAT:
        return f"address {_ip(value)}, port {_port(value)}"
    if name == REVERSE_SK:
        return f"address {_ip(value)}, port {_port(value)}, rev_nat_index {int.from_bytes(value[6:8], 'big')}"
    if name == AFFINITY:
        return f"backend_id {int.from_bytes(value[8:12], sys.byteorder)}"
    if name in (AFFINITY_MATCH, NODE_IPS):
        return "present"
    return value.hex(" ")


def dump_line(name: str, key: bytes, value: bytes) -> str:
    """Return an element as `bpftool map dump` prints it, and behind a # the same in words."""
    words = f"{describe_key(name, key)} -> {describe_value(name, key, value)}"
    return f"key: {_bytes(key)}  value: {_bytes(value)}  # {words}"


def _bytes(data: bytes) -> str:
    """Eight bytes, two spaces, eight bytes, as fprint_hex of bpftool does."""
    parts = [data[start : start + 8].hex(" ") for start in range(0, len(data), 8)]
    return "  ".join(parts)


def _describe_service(slot: int, value: bytes) -> str:
    count, rev_nat = int.from_bytes(value[4:6], sys.byteorder), int.from_bytes(value[6:8], "big")
    if slot:
        return f"backend_id {_u32(value)}, rev_nat_index {rev_nat}"
    seconds = _u32(value) & 0xFFFFFF
    names = [word for bit, word in _FLAGS.items() if value[8] & bit]
    flags = f", flags {' '.join(names)}" if names else ""
    return f"count {count}, rev_nat_index {rev_nat}{flags}{f', affinity {seconds} s' if seconds else ''}"


def _address(text: str) -> bytes:
    return IPv4Address(text).packed


def _ip(data: bytes) -> str:
    return str(IPv4Address(bytes(data[:4])))


def _port(data: bytes) -> int:
    return int.from_bytes(data[4:6], "big")


def _u32(data: bytes) -> int:
    return int.from_bytes(data[:4], sys.byteorder)


def _u64(data: bytes) -> int:
    return int.from_bytes(data[:8], sys.byteorder)
