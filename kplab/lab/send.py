"""Hands a packet to the kernel in the sender's namespace, through a raw IP socket.

The packet's own headers go out as they are (IP_HDRINCL, IPV6_HDRINCL), but OUTPUT, routing and neighbours are the
kernel's own, as for any local process's packet.
"""

from __future__ import annotations

import errno
import os
import random
import socket
from dataclasses import dataclass

from kplab.lab.craft import Crafter
from kplab.lab.fill import fill, source_port
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.run import Runner
from kplab.model.packet import PacketSpec

FIRST_PORT, LAST_PORT = 61000, 65535
"""Source ports of made packets: above net.ipv4.ip_local_port_range's default, so no real client has them."""
TABLE = "kplab-send"
LAB_CHAINS = ((TABLE, "output"),)
"""(table, chain) of our own rules, which are never shown as kube-proxy's."""
IPV6_HDRINCL = 36
"""linux/in6.h."""
_PRIORITY = -600
"""Before tracing and everything else: a dropped RST leaves no trace."""

_RULES = f"""table inet {TABLE}
flush table inet {TABLE}
table inet {TABLE} {{
  comment "kplab: keeps the kernel from refusing the answers to packets that no socket of its own sent"
  set ports {{
    type inet_service
    flags interval
    auto-merge
    elements = {{ {FIRST_PORT}-{LAST_PORT} }}
  }}
  chain output {{
    type filter hook output priority {_PRIORITY}; policy accept;
    tcp flags & rst == rst tcp sport @ports meta skuid 0 accept
    tcp flags & rst == rst tcp sport @ports drop
    meta l4proto {{ icmp, ipv6-icmp }} meta skuid 0 accept
    icmp type destination-unreachable icmp code port-unreachable @th,240,16 >= {FIRST_PORT} drop
    icmpv6 type destination-unreachable icmpv6 code port-unreachable @th,400,16 >= {FIRST_PORT} drop
  }}
}}
"""
# A made packet may be a RST or an ICMP error itself: it has an owner, our raw socket. The kernel's own has none.
# 240 and 400 bits: ICMP's header (8 bytes), the quoted IP header (20 or 40), and into UDP's to its destination port.


@dataclass(frozen=True, slots=True)
class Handed:
    """A packet as it was handed to the kernel, and the errno's name and text where it was refused."""

    packet: bytes
    error: str = ""


class PacketSender:
    """Sends made packets from any namespace of the lab."""

    def __init__(self, namespaces: NetworkNamespaces, crafter: Crafter, runner: Runner, rng: random.Random) -> None:
        self._namespaces = namespaces
        self._crafter = crafter
        self._runner = runner
        self._rng = rng
        self._port = rng.randrange(FIRST_PORT, LAST_PORT)
        self._quiet: dict[str, set[int]] = {}
        """Namespaces that have our rules, with the ports beyond the usual ones that are in them."""

    def prepare(self, spec: PacketSpec, sender: str) -> bytes:
        """Return the packet's bytes, all open fields filled in; the sender's kernel will not reset its connection.

        Raises:
            UsageError: scapy refuses a value. UnknownNameError: no such sender. ProgramError: nft failed.
        """
        with self._namespaces.entered(sender):
            layers = fill(spec, choose_source, self._fresh_port, lambda bits: self._rng.randrange(1, 1 << bits))
            port = source_port(layers)
            if port is not None:
                self._hush(sender, port)
        return self._crafter.craft(layers)

    def hand_over(self, packet: bytes, sender: str) -> Handed:
        """Give a packet to the sender's kernel.

        Raises:
            UnknownNameError: no such sender.
        """
        with self._namespaces.entered(sender):
            try:
                if packet[0] >> 4 == 6:
                    _send6(packet)
                else:
                    _send4(packet)
            except OSError as error:
                name = errno.errorcode.get(error.errno or 0, "?")
                return Handed(packet, f"{name}: {os.strerror(error.errno or 0)}")
        return Handed(packet)

    def forget(self, sender: str) -> None:
        """Load our rules anew before the next packet from there: they may be gone."""
        self._quiet.pop(sender, None)

    def _fresh_port(self) -> int:
        self._port = self._port + 1 if self._port < LAST_PORT else FIRST_PORT
        return self._port

    def _hush(self, sender: str, port: int) -> None:
        """Drop what the sender's kernel would say for a port that no socket of its own has: RSTs, port unreachable."""
        if sender not in self._quiet:
            self._runner.run(["nft", "-f", "-"], _RULES)
            self._quiet[sender] = set()
        if not FIRST_PORT <= port <= LAST_PORT and port not in self._quiet[sender]:
            self._runner.run(["nft", "add", "element", "inet", TABLE, "ports", f"{{ {port} }}"])
            self._quiet[sender].add(port)


def choose_source(destination: str) -> str:
    """Return the source address that the kernel would choose here for a destination.

    Where it knows no route, any address of this namespace: the refusal is the kernel's to tell.
    """
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket only asks for the route; nothing is sent.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            probe.connect((destination, 9))
        except OSError:
            return "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104
        return str(probe.getsockname()[0])


def _send4(packet: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        raw.sendto(packet, (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0))


def _send6(packet: bytes) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        raw.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))
