"""What a comparison asks of each mode's lab, whichever face compares: the numbers of one lab, and made-up clusters."""

from __future__ import annotations

import json

from kplab.model.packet import ClientSpec
from kplab.model.synthetic import large_cluster, large_manifest
from kplab.session.own_program import own_program
from kplab.session.runs import Ran
from kplab.trace.compare import Column, Timing, column, timing

ENDPOINTS = 1
"""Of each Service, in a cluster that is made up for its size: on the client's own node, so that no draw decides how far
the packet goes, and only the number of Services differs."""


def timed_column(ran: Ran, sender: str, rounds: int) -> Column:
    """Return what a mode's lab saw, with the time of `rounds` connections, or why there is none."""
    time, why = _timed(ran, sender, rounds)
    return column(ran.recording, ran.journey, time, why)


def sized_cluster(services: int) -> tuple[str, ClientSpec]:
    """Return the manifest of a cluster of so many Services, and a connection to the last of their list."""
    address = large_cluster(services, ENDPOINTS).services[-1].cluster_ips[0]
    return large_manifest(services, ENDPOINTS), ClientSpec(client="curl", target=f"http://{address}")


def _timed(ran: Ran, sender: str, rounds: int) -> tuple[Timing | None, str]:
    """Time connections to what was asked, with the lab's own tracing taken away; return why not, where it cannot be."""
    session, journey = ran.session, ran.journey
    asked = journey.hops[0].before if journey.hops else None
    if not rounds:
        return None, "no rounds were asked for"
    if asked is None or asked.proto != "tcp":
        return None, "only TCP is timed: it is a connection's first packet"
    for node in [ns.name for ns in session.topology.namespaces if ns.role == "node"]:
        session.execute(node, ("nft", "delete", "table", "inet", "kplab-trace"))
    host, _, port = asked.dst.rpartition(":")
    pods = [ns.name for ns in session.topology.namespaces if ns.role in ("pod", "control-plane")]
    done = session.execute(sender, own_program("kplab.lab.first_packet", host.strip("[]"), port, str(rounds), *pods))
    if done.status != 0:
        return None, f"the measuring program failed: {done.stderr.strip()[-300:]}"
    told = json.loads(done.stdout)
    time = timing(told["nanoseconds"], told["missed"], told["from_call"])
    return time, "" if time else f"in {told['missed']} of {rounds} rounds no first packet came into a pod"
