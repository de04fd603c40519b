"""IPVS's own part of a story: which virtual server a packet met, and which real server it went to.

IPVS stands at INPUT (priority 99; for the node's own processes at OUTPUT, -99), and writes the real server into the
packet by its own table; no rule is asked. Of all this it tells nothing, so it is rebuilt: from the packet's headers
before and after, and from `ipvsadm`'s listings read before and after the packet. Where the lab's kernel is a guest's, a
probe saw the entry being made for what the scheduler chose; then the choice itself is seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from kplab.errors import UsageError
from kplab.model.journey import Flow, IpvsChoice, RealServer
from kplab.rules.ipvsadm import Connection, HeldReal, HeldServer, parse_connections, parse_list
from kplab.trace.events import IpvsConnection, KernelEvent
from kplab.trace.recording import NodeState

_ITS_OWN = "It is the node's own, and a NodePort's virtual server stands at it: IPVS takes the packet at INPUT."


def virtual_server(state: NodeState | None, proto: str, place: str) -> HeldServer | None:
    """Return the node's virtual server at a place like "10.96.0.42:80", as it was before the packet; None: none."""
    return next((each for each in _servers(state, 0) if (each.protocol.lower(), text_of(each)) == (proto, place)), None)


def answers_at(state: NodeState | None, address: str) -> bool:
    """Tell whether some virtual server of the node has this address."""
    return any(server.address == address for server in _servers(state, 0))


def bound(state: NodeState | None, address: str) -> str:
    """Return what to add to the sentence of a route to this node, if a virtual server has the address; else ""."""
    if state is None or not answers_at(state, address):
        return ""
    route = next((line for line in state.local_routes if line.split()[:2] == ["local", address]), None)
    if route is not None and " dev kube-ipvs0 " not in f"{route} ":
        return f" {_ITS_OWN}"
    named = f" (table local: `{' '.join(route.split())}`)" if route is not None else ""
    return (
        f" An address of a Service is bound to kube-ipvs0, a dummy device that is never up{named}; that makes it "
        "local, and brings the packet to INPUT, where IPVS takes it."
    )


def choice_of(state: NodeState | None, before: Flow, after: Flow) -> IpvsChoice | None:
    """Return what IPVS did to a request that went from `before` to `after`; None where it was not IPVS."""
    server = virtual_server(state, before.proto, before.dst)
    if state is None or server is None or after.dst not in [text_of(real) for real in server.reals]:
        return None
    later = next((each for each in _servers(state, 1) if _key(each) == _key(server)), server)
    counts = {text_of(real): real for real in later.reals}
    made = _connection(state, 1, before, after)
    return IpvsChoice(
        virtual_server=f"{server.protocol} {text_of(server)}",
        scheduler=server.scheduler,
        candidates=tuple(_candidate(real, counts.get(text_of(real), real)) for real in server.reals),
        chosen=after.dst,
        connection=made.line if made else None,
        template=_template_line(state, 1, server, before),
    )


def seen_choice(events: Iterable[KernelEvent], node: str, before: Flow, after: Flow) -> KernelEvent | None:
    """Return the kernel's own word on the choice for a connection: its entry as it was made; None without a probe."""
    wanted = IpvsConnection(_protocol(before), before.src, before.dst, after.dst)
    return next((event for event in events if event.node == node and event.what == wanted), None)


def request_sentence(
    state: NodeState, hook: str, choice: IpvsChoice, before: Flow, *, first: bool, seen: bool = False
) -> str:
    """Return the sentence of IPVS's hop; `first`: of a connection's first packet, for which it chose.

    `seen`: a probe saw the entry being made.
    """
    count = len(choice.candidates)
    servers = "one real server" if count == 1 else f"{count} real servers"
    start = f"IPVS at {hook}: {choice.virtual_server} is a virtual server of this node, with {servers}"
    known = any(each.client == before.src and each.virtual == before.dst for each in _connections(state, 0))
    how = "It has an entry for this connection, so nothing is chosen anew"
    if first and not known:
        how = _how_chosen(state, choice, before)
    said = f"{start}. {how}: {choice.chosen}"
    onward = " The packet goes on through OUTPUT and POSTROUTING; FORWARD never sees it." if hook == "INPUT" else ""
    witness = " A kprobe on ip_vs_conn_new saw the entry being made." if seen else ""
    return f"{said}. IPVS writes it into the destination; no rule was asked.{witness}{onward}"


def _how_chosen(state: NodeState, choice: IpvsChoice, before: Flow) -> str:
    """Say who chose: the scheduler, or the client's template of an earlier connection."""
    server = virtual_server(state, before.proto, before.dst)
    chooses = f"the scheduler {choice.scheduler} chooses"
    if server is None or server.persistent is None:
        return f"T{chooses[1:]}"
    keeps = f"A client keeps its real server for {server.persistent} s (ClientIP affinity)"
    if _template_line(state, 0, server, before) is not None:
        return f"{keeps}: the scheduler is not asked, for the template of an earlier connection holds this client's"
    return f"{keeps}; this one has none yet, so {chooses}"


def nobody_to_choose(state: NodeState | None, hook: str, flow: Flow) -> str | None:
    """Return the sentence of a packet for a virtual server without a real server that may be chosen; else None."""
    server = virtual_server(state, flow.proto, flow.dst) if hook in ("INPUT", "OUTPUT") else None
    if server is None or any(real.weight > 0 for real in server.reals):
        return None
    why = "real servers of weight 0 only" if server.reals else "no real server: the Service has no endpoints"
    return (
        f"IPVS at {hook}: {server.protocol} {text_of(server)} is a virtual server of this node, with {why}. The "
        f"scheduler {server.scheduler} finds nobody, so IPVS itself refuses the packet with an ICMP port unreachable; "
        "no rule did."
    )


def turned_back(state: NodeState | None, hook: str, before: Flow, after: Flow) -> str | None:
    """Return the sentence of an answer whose source IPVS turned back; None where it was not IPVS."""
    server = virtual_server(state, after.proto, after.src)
    if server is None or before.dst != after.dst or before.src not in [text_of(real) for real in server.reals]:
        return None
    return (
        f"reverse NAT at {hook}: the source {before.src} becomes {after.src} again, the address that was asked. IPVS "
        "does it, by its own entry for the connection (`ipvsadm -L -n -c` shows it); no rule is involved, and "
        "conntrack's entry only follows."
    )


def text_of(place: HeldServer | HeldReal) -> str:
    """Return "10.96.0.42:80", "[fd00::1]:80"."""
    return f"[{place.address}]:{place.port}" if ":" in place.address else f"{place.address}:{place.port}"


def _protocol(flow: Flow) -> Literal["TCP", "UDP", "SCTP"]:
    return "UDP" if flow.proto == "udp" else "SCTP" if flow.proto == "sctp" else "TCP"


def _template_line(state: NodeState, when: int, server: HeldServer, before: Flow) -> str | None:
    """The entry by which ClientIP affinity keeps this client's choice: its client has port 0."""
    if server.persistent is None:
        return None
    client = f"{before.src.rpartition(':')[0]}:0"
    found = (each for each in _connections(state, when) if (each.client, each.virtual) == (client, before.dst))
    return next((each.line for each in found), None)


def _candidate(before: HeldReal, after: HeldReal) -> RealServer:
    return RealServer(
        address=text_of(before),
        weight=before.weight,
        active_before=before.active,
        active_after=after.active,
        inactive_before=before.inactive,
        inactive_after=after.inactive,
    )


def _key(server: HeldServer) -> tuple[str, str, int]:
    return server.protocol, server.address, server.port


def _servers(state: NodeState | None, when: int) -> tuple[HeldServer, ...]:
    """The listing before (0) or after (1); what cannot be read tells nothing."""
    try:
        return parse_list(state.ipvs_stats[when]) if state else ()
    except (UsageError, ValueError):
        return ()


def _connections(state: NodeState, when: int) -> tuple[Connection, ...]:
    return parse_connections(state.ipvs_connections[when])


def _connection(state: NodeState, when: int, before: Flow, after: Flow) -> Connection | None:
    wanted = (before.src, before.dst, after.dst)
    found = (each for each in _connections(state, when) if (each.client, each.virtual, each.destination) == wanted)
    return next(found, None)
