"""IPVS's own part of a story: which virtual server a packet met, and which real server it went to.

IPVS stands at INPUT (priority 99; for the node's own processes at OUTPUT, -99), and writes the real server into the
packet by its own table; no rule is asked. It tells of none of this, so it is rebuilt: from the packet's headers
before and after, and from `ipvsadm`'s listings read before and after the packet.
"""

from __future__ import annotations

from kplab.errors import UsageError
from kplab.model.journey import Flow, IpvsChoice, RealServer
from kplab.rules.ipvsadm import Connection, HeldReal, HeldServer, parse_connections, parse_list
from kplab.trace.recording import NodeState

BOUND = (
    " An address of a Service is bound to kube-ipvs0, a dummy device that is never up; that makes it local, and brings "
    "the packet to INPUT, where IPVS takes it."
)
"""What is added to the sentence of a route to a virtual server's address."""


def virtual_server(state: NodeState | None, proto: str, place: str) -> HeldServer | None:
    """Return the node's virtual server at a place like "10.96.0.42:80", as it was before the packet; None: none."""
    return next((each for each in _servers(state, 0) if (each.protocol.lower(), text_of(each)) == (proto, place)), None)


def answers_at(state: NodeState | None, address: str) -> bool:
    """Tell whether some virtual server of the node has this address."""
    return any(server.address == address for server in _servers(state, 0))


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
    )


def request_sentence(state: NodeState, hook: str, choice: IpvsChoice, before: Flow, *, first: bool) -> str:
    """Return the sentence of IPVS's hop; `first`: of a connection's first packet, for which it chose."""
    count = len(choice.candidates)
    servers = "one real server" if count == 1 else f"{count} real servers"
    start = f"IPVS at {hook}: {choice.virtual_server} is a virtual server of this node, with {servers}"
    known = any(each.client == before.src and each.virtual == before.dst for each in _connections(state, 0))
    if first and not known:
        seconds = _persistence(state, choice)
        how = f"The scheduler {choice.scheduler} chooses"
        if seconds is not None:
            how = f"A client keeps its real server for {seconds} s; else the scheduler {choice.scheduler} chooses. Here"
        said = f"{start}. {how} {choice.chosen}"
    else:
        said = f"{start}. It has an entry for this connection, so nothing is chosen anew: {choice.chosen}"
    onward = " The packet goes on through OUTPUT and POSTROUTING; FORWARD never sees it." if hook == "INPUT" else ""
    return f"{said}, and writes it into the destination. No rule was asked.{onward}"


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


def _persistence(state: NodeState, choice: IpvsChoice) -> int | None:
    protocol, _, place = choice.virtual_server.partition(" ")
    server = virtual_server(state, protocol.lower(), place)
    return server.persistent if server else None


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
