"""One question put to the kernel: state before, packet or client, events until it is quiet, state after."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import assert_never

from msgspec import structs

from kplab.agent.lab import Lab
from kplab.agent.proxies import read_reports
from kplab.agent.wait import gone, readable
from kplab.errors import LabError, UsageError
from kplab.lab.clients import RunningClient, start_client
from kplab.model.packet import ClientSpec, PacketSpec
from kplab.protocol.messages import Send
from kplab.trace.events import KernelEvent, Lost, Sent, Served
from kplab.trace.recording import Recording


def record(lab: Lab, request: Send, hangup: int) -> Recording:
    """Send what was asked for, and return everything that the kernel said.

    `hangup` is the requester's socket: when it closes, nobody waits any more.

    Raises:
        UnknownNameError: no such sender. UsageError: the packet cannot be built. LabError, CaptureError.
    """
    place = lab.namespace(request.sender)
    if place.role == "underlay":
        raise UsageError(
            "send from underlay", "it is a switch: it has no addresses", "send from a pod, a node or outside"
        )
    lab.tracing.ensure(lab.nodes(), lab.sender.forget)
    spec = request.spec
    packet = b""
    match spec:
        case PacketSpec():
            packet = lab.sender.prepare(spec, request.sender)
        case ClientSpec():
            pass
        case _:
            assert_never(spec)
    before = [lab.reader.read(node.name) for node in lab.nodes()]
    exchange = _Exchange(lab, request, hangup)
    try:
        if isinstance(spec, PacketSpec):
            exchange.packet(packet)
        else:
            exchange.client(spec)
    finally:
        lab.watch.rest()
    running = {proxy.node: proxy.pid for proxy in lab.proxies if proxy.alive}
    after = [
        structs.replace(
            lab.reader.after(state),
            processes=(("kube-proxy", running[state.node]),) if state.node in running else (),
        )
        for state in before
    ]
    exchange.events += lab.choices.events(lab.watch, after)
    return Recording(
        facts=structs.replace(lab.facts, taken_at=datetime.now(UTC).isoformat(timespec="milliseconds")),
        topology=lab.topology,
        spec=spec,
        sender=request.sender,
        nodes=tuple(after),
        events=tuple(exchange.events),
        manifest=lab.manifest,
    )


class _Exchange:
    """Gathers the events of one exchange."""

    def __init__(self, lab: Lab, request: Send, hangup: int) -> None:
        self._lab = lab
        self._request = request
        self._hangup = hangup
        self.events: list[KernelEvent] = []

    def packet(self, packet: bytes) -> None:
        """Hand a made packet over, and gather until it is quiet."""
        self._begin()
        handed = self._lab.sender.hand_over(packet, self._request.sender)
        self.events.append(self._lab.watch.note(self._request.sender, Sent(handed.packet, error=handed.error)))
        self._gather(None)

    def client(self, spec: ClientSpec) -> None:
        """Run a real client, and gather until it has ended and it is quiet."""
        self._begin()
        client = start_client(spec, self._request.sender, self._request.limit)
        self.events.append(self._lab.watch.note(self._request.sender, Sent(note=f"{spec.client} {spec.target}")))
        try:
            self._gather(client)
        finally:
            done = self._lab.watch.note(self._request.sender, client.finish())
        self.events.append(done)

    def _begin(self) -> None:
        self._lab.helpers.nursery.read()
        self._proxied()
        self._lab.sockets.discard()
        self._lab.choices.discard()
        self._lab.watch.begin()

    def _gather(self, client: RunningClient | None) -> None:
        """Read events until `settle` seconds bring none, or `limit` is over; a client's end is waited for."""
        lab, request = self._lab, self._request
        deadline = time.monotonic() + request.limit
        # A client gives up by itself at `limit`; it is given a moment to say so.
        last = deadline if client is None else deadline + 1.0
        quiet_from = time.monotonic()
        while True:
            running = client is not None and not client.done
            until = last if running else min(deadline, quiet_from + request.settle)
            rest = until - time.monotonic()
            if rest <= 0:
                break
            reports = [lab.helpers.nursery.reports, *(proxy.reports for proxy in lab.proxies if proxy.alive)]
            watched = [*lab.watch.filenos(), *lab.sockets.filenos(), *reports, self._hangup]
            ready = readable([*watched, *(client.filenos() if client else ())], rest)
            if self._hangup in ready:
                if gone(self._hangup):
                    raise LabError("watch the packet", "whoever asked for it has gone")
                time.sleep(0.001)  # the next request waits in the socket: it stays readable
            if client:
                client.read()
            if self._take():
                quiet_from = time.monotonic()
        self._take()

    def _take(self) -> bool:
        """Read what has come; tell whether anything had."""
        events = self._lab.watch.drain()
        self.events += events
        reports = self._lab.helpers.nursery.read()
        self.events += [event for report in reports if (event := self._served(report))]
        proxied = self._proxied()
        calls = self._lab.sockets.events(self._lab.watch)
        self.events += [*proxied, *calls]
        return bool(events or reports or proxied or calls)

    def _proxied(self) -> list[KernelEvent]:
        """Take what kube-proxy says of connections that it took itself (userspace mode)."""
        found = []
        for proxy in self._lab.proxies:
            if proxy.alive:
                read_reports(proxy)
            found += [self._lab.watch.note(proxy.node, what, stamp) for what, stamp in proxy.proxied]
            proxy.proxied.clear()
        return found

    def _served(self, report: dict[str, object]) -> KernelEvent | None:
        note: Callable[..., KernelEvent] = self._lab.watch.note
        match report["event"]:
            case "served":
                told = Served(report["protocol"], report["local"], report["peer"], report["note"])  # type: ignore[arg-type]
                return note(str(report["name"]), told, report["stamp"])
            case "lost":
                return note(str(report["name"]), Lost("served", int(str(report["count"]))))
        return None
