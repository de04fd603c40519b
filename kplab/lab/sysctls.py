"""Sysctls of the lab's namespaces, by role. Only such as each network namespace has for itself."""

from __future__ import annotations

BASE = (
    # Addresses work at once: no duplicate address detection, nobody to solicit a router from.
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.all.router_solicitations", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    ("net.ipv6.conf.all.accept_ra", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    # A new namespace takes IPv4's values from the machine's first one; a lab is the same on every machine.
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    # ICMP errors are part of the lesson (REJECT answers with one), and the kernel limits them to one a second a host.
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
    # A made SYN is never followed by an ACK: its SYN-ACK is sent once, and does not come again in a later question.
    ("net.ipv4.tcp_synack_retries", "0"),
)

_FORWARDING = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv6.conf.default.forwarding", "1"),
)

POD = (*BASE, ("net.ipv4.ip_forward", "0"))
ROUTER = (*BASE, *_FORWARDING)
NODE = ROUTER
UNDERLAY = (
    # A switch: it has no addresses, and says nothing of its own.
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    # Frames that it switches are not shown to its own iptables.
    ("net.bridge.bridge-nf-call-iptables", "0"),
    ("net.bridge.bridge-nf-call-ip6tables", "0"),
    ("net.bridge.bridge-nf-call-arptables", "0"),
)
