"""The sentences of eBPF mode: a socket call, the lookups made inside it, and what became of the address."""

from __future__ import annotations

import re

from kplab.model import bpf_maps as layout
from kplab.trace.events import SocketCall

_HOOKS = {"connect": "connect4", "sendmsg": "sendmsg4", "recvmsg": "recvmsg4", "getpeername": "getpeername4"}
_NAMES = {"connect": "connect()", "sendmsg": "sendto()", "recvmsg": "recvfrom()", "getpeername": "getpeername()"}


def called(call: SocketCall, node: str) -> str:
    """A program calls into the kernel with a Service's address."""
    return (
        f"{call.program} (process {call.pid}) calls {_NAMES[call.call]} with {call.asked}. {node}'s BPF program on "
        f"cgroup/{_HOOKS[call.call]} runs inside the call: there is no packet yet, and no rule is tried."
    )


def looked_up(call: SocketCall, at: int, elements: int) -> str:
    """The n-th lookup of a call (0-based); `elements` is how many the map holds."""
    name, key, value = call.lookups[at]
    among = f"1 lookup in a hash table of {elements}" if elements else "1 lookup in a hash table"
    if name == layout.SERVICES and "backend_slot 0" in key:
        return _frontend(call, at, among)
    if name == layout.SERVICES:
        slot = re.search(r"backend_slot (\d+)", key)
        drawn = (
            "drawn with bpf_get_prandom_u32()"
            if call.protocol == "TCP"
            else "by the socket's cookie, so that a UDP socket keeps its backend"
        )
        return f"{among}: slot {slot.group(1) if slot else '?'}, {drawn}, holds {value.partition(',')[0]}."
    if name == layout.BACKENDS:
        return f"{among}: {key} is {_end(value)}." if value else f"{among}: {key} is gone; the address stays as it is."
    if name == layout.AFFINITY:
        said = f"this client was sent to {value} before" if value else "nothing is known of this client yet"
        return f"The Service has ClientIP affinity, and a client is its network namespace: {among}: {said}."
    if name == layout.AFFINITY_MATCH:
        return f"{among}: {key} {'still belongs to the Service' if value else 'belongs to it no more'}."
    return f"{among}: {value or 'no element'}."


def _frontend(call: SocketCall, at: int, among: str) -> str:
    value = call.lookups[at][2]
    if not value:
        onward = call.lookups[at + 1 :]
        if onward and onward[0][0] == layout.SERVICES:
            return f"{among}: no element, but this is a node's own address, and NodePorts stand under 0.0.0.0."
        return f"{among}: no element. {call.asked} is no Service's address: it stays as it is."
    count = re.match(r"count (\d+)", value)
    number = int(count.group(1)) if count else 0
    if call.call not in ("connect", "sendmsg"):
        return f"{among}: the Service is still there, with the same rev_nat_index: what was noted holds."
    if number == 0:
        return f"{among}: a Service without any backend, so the address stays as it is, and nobody will answer there."
    backends = "1 backend" if number == 1 else f"{number} backends"
    return f"{among} finds the Service, however many there are: {value.partition(',')[0]}, that is {backends}."


def translated(call: SocketCall) -> str:
    """The program has written a backend's address over the Service's."""
    noted = "; ".join(f"{name}[{key}] = {value}" for name, key, value in call.stored)
    return (
        f"The program writes {call.answered} over {call.asked} in the call's address, notes {noted}, and lets the call "
        f"go on. From here on no packet carries {call.asked.rpartition(':')[0]}: no DNAT, no nat chain, and nothing "
        "for conntrack to turn back."
    )


def untouched(call: SocketCall) -> str:
    """The program has changed nothing."""
    return f"The program lets the call go on with {call.answered}, as it was asked for."


def asked_for(call: SocketCall, times: int) -> str:
    """A program asks whom it is connected with (or who sent a datagram), and is told the Service's address."""
    often = f" ({times} times)" if times > 1 else ""
    what = "whom it is connected with" if call.call == "getpeername" else "who sent the datagram"
    if call.asked == call.answered:
        return f"{call.program} asks with {_NAMES[call.call]}{often} {what}: {call.answered}."
    return (
        f"{call.program} asks with {_NAMES[call.call]}{often} {what}. The socket knows {call.asked}; the program on "
        f"cgroup/{_HOOKS[call.call]} finds what was noted under the socket's cookie, and answers {call.answered}. "
        "No packet is involved."
    )


def answered(node: str, what: str, source: str, asked: str) -> str:
    """An answer reaches a socket whose address was translated in connect()."""
    return (
        f"delivered: {node} gets the {what} from {source}, the very address that its socket is connected with. Nobody "
        f"turned a source back: only the program believes that it speaks with {asked}."
    )


def made_packet(destination: str) -> str:
    """A packet made by scapy is handed over whole: no socket call named its destination."""
    return (
        f"{destination} is a Service's address in this node's maps, but nobody asked them: a packet made by scapy goes "
        "through a raw socket, with its address already in it, and no connect() or sendmsg() names one that a program "
        f"could translate. It leaves as it is, and no rule on the way knows {destination.rpartition(':')[0]} either."
    )


def in_ipv6(destination: str) -> str:
    """A Service's IPv6 address: no program is attached to the calls that name one."""
    return (
        f"{destination} is a Service's IPv6 address, and kplab's socket load balancer is for IPv4 alone: no program is "
        "attached to connect6, sendmsg6 and their kin, and there are no cilium_lb6 maps, so nobody translates this. "
        "Cilium has both. See for yourself: bpftool link on the node lists calls of inet4 and udp4, and none of inet6."
    )


def from_outside(sender: str, destination: str) -> str:
    """A client outside the cluster has no socket on any node."""
    return (
        f"{destination} is a Service's address in the nodes' maps, but {sender}'s sockets belong to no node, so no "
        "program on a socket call sees them. Traffic from outside takes a program on the node's link (tc or XDP), with "
        "NAT and connection tables of its own; kplab leaves that out, so nobody translates this."
    )


def _end(value: str) -> str:
    found = re.match(r"address (\S+), port (\d+)", value)
    return f"{found.group(1)}:{found.group(2)}" if found else value
