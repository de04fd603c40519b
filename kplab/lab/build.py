"""Makes a topology in the kernel: namespaces, veth pairs, the bridge, addresses, routes.

Veth pairs are made with both ends at their places, so no link ever has to be moved. pyroute2 does the talking;
it is imported here only, and late: its import takes as long as the whole lab.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from kplab.errors import LabError
from kplab.lab.netns import NetworkNamespaces
from kplab.lab.plan import BRIDGE
from kplab.model.topology import Link, Namespace, Route, Topology

if TYPE_CHECKING:
    from pyroute2.iproute.linux import IPRoute

LOOPBACK = 1
"""The loopback's index in every network namespace."""
IFA_F_NODAD = 2
"""linux/if_addr.h."""
RTN_LOCAL, RT_TABLE_LOCAL, RT_SCOPE_HOST, RT_SCOPE_LINK = 2, 255, 254, 253
"""linux/rtnetlink.h."""


def make_namespaces(topology: Topology, namespaces: NetworkNamespaces) -> None:
    """Make every namespace, empty but for its sysctls.

    Raises:
        LabError: the kernel refused.
    """
    for ns in topology.namespaces:
        namespaces.create(ns.name, dict(ns.sysctls))


def make_links(topology: Topology, namespaces: NetworkNamespaces) -> None:
    """Make every link, and give every namespace its addresses and routes; all is up and answers afterwards.

    Raises:
        LabError: the kernel refused; the message names the namespace.
    """
    from pyroute2.iproute.linux import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    where = ""
    try:
        for ns in topology.namespaces:
            if ns.role == "underlay":
                where = ns.name
                with namespaces.entered(ns.name), IPRoute() as netlink:
                    _make_bridge(netlink)
        for ns in topology.namespaces:
            where = ns.name
            with namespaces.entered(ns.name), IPRoute() as netlink:
                for link in topology.links:
                    if link.a.namespace == ns.name:
                        _make_pair(netlink, link, namespaces)
        for ns in topology.namespaces:
            where = ns.name
            with namespaces.entered(ns.name), IPRoute() as netlink:
                _configure(netlink, ns)
    except NetlinkError as error:
        raise LabError(f"make the links of {where}", str(error)) from error


def _make_bridge(netlink: IPRoute) -> None:
    # Without snooping, neighbour solicitations reach every port at once; without STP, ports forward at once.
    netlink.link("add", ifname=BRIDGE, kind="bridge", br_mcast_snooping=0, br_stp_state=0)


def _make_pair(netlink: IPRoute, link: Link, namespaces: NetworkNamespaces) -> None:
    peer = {"ifname": link.b.interface, "net_ns_fd": namespaces.descriptor(link.b.namespace)}
    netlink.link("add", ifname=link.a.interface, kind="veth", peer=peer)


def _configure(netlink: IPRoute, ns: Namespace) -> None:
    """Bring one namespace up. Underlay ports join the bridge; everybody else gets addresses and routes."""
    index = {dict(link["attrs"])["IFLA_IFNAME"]: link["index"] for link in netlink.get_links()}
    netlink.link("set", index=LOOPBACK, state="up")
    for interface in ns.interfaces:
        if ns.role == "underlay" and interface.name != BRIDGE:
            netlink.link("set", index=index[interface.name], state="up", master=index[BRIDGE])
        else:
            netlink.link("set", index=index[interface.name], state="up")
        for address in interface.addresses:
            plain, length = address.split("/")
            # Else an IPv6 address is tentative until a kernel worker has run, and no route may prefer it.
            flags = IFA_F_NODAD if ":" in plain else 0
            netlink.addr("add", index=index[interface.name], address=plain, prefixlen=int(length), flags=flags)
    for route in ns.routes:
        netlink.route("add", **_route_arguments(route, index))


def _route_arguments(route: Route, index: dict[str, int]) -> dict[str, Any]:
    family = socket.AF_INET6 if ":" in route.destination else socket.AF_INET
    arguments: dict[str, Any] = {"family": family, "dst": route.destination, "oif": index[route.device]}
    if route.via:
        arguments["gateway"] = route.via
    elif family == socket.AF_INET:
        arguments["scope"] = RT_SCOPE_LINK
    if route.source:
        arguments["prefsrc"] = route.source
    if route.table == "local":
        arguments |= {"table": RT_TABLE_LOCAL, "type": RTN_LOCAL}
        if family == socket.AF_INET:
            arguments["scope"] = RT_SCOPE_HOST
    return arguments
