"""The check of eBPF mode: the maps lead a Service's address to each of its endpoints, as the program reads them."""

from __future__ import annotations

import sys

from kplab.course.check_findings import Findings
from kplab.course.held_maps import read_map
from kplab.course.lesson import MapService
from kplab.model import bpf_maps as layout
from kplab.rules.ipvsadm import split_address
from kplab.session.base import Session


def map_service(check: MapService, session: Session) -> Findings:
    """Ask the maps as cgroup/connect4 does: the frontend, each of its slots, each slot's backend."""
    services = read_map(session, check.node, layout.SERVICES)
    backends = read_map(session, check.node, layout.BACKENDS)
    protocol, _, place = check.frontend.partition(" ")
    address, port = split_address(place)
    frontend = services.get(layout.ServiceKey(address, port, protocol).pack())
    if frontend is None:
        return Findings((), (f"{check.node}: {layout.SERVICES} has no element for {check.frontend}, slot 0",))
    count = int.from_bytes(frontend[4:6], sys.byteorder)
    reached, missed = [], []
    for slot in range(1, count + 1):
        value = services.get(layout.ServiceKey(address, port, protocol, slot).pack())
        if value is None:
            missed.append(f"slot {slot} of {count} is not in {layout.SERVICES}")
            continue
        backend = backends.get(value[:4])
        number = int.from_bytes(value[:4], sys.byteorder)
        if backend is None:
            missed.append(f"slot {slot} says backend_id {number}, which is not in {layout.BACKENDS}")
            continue
        endpoint = _endpoint(backend)
        reached.append(endpoint)
        if endpoint not in check.endpoints:
            missed.append(f"slot {slot} says backend_id {number}, which is {endpoint}: no endpoint of this Service")
    missed += [f"no slot leads to {each}" for each in check.endpoints if each not in reached]
    missed += [f"{each} has {reached.count(each)} slots" for each in dict.fromkeys(reached) if reached.count(each) > 1]
    line = f"{check.node}: {check.frontend} has count {count}; its slots lead to {', '.join(reached) or 'nobody'}"
    return Findings((line,), tuple(missed))


def _endpoint(backend: bytes) -> str:
    """Return "10.244.1.10:8080" of a value of cilium_lb4_backends_v3."""
    address = ".".join(str(byte) for byte in backend[:4])
    return f"{address}:{int.from_bytes(backend[4:6], 'big')}"
