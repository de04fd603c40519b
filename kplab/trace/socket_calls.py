"""Which socket calls of a recording are the client's own, and what BPF programs made of the address that it asked for.

A connection whose address was translated in connect() begins with a packet to the backend: nothing on any wire says
what the client asked for. The program's own report does.
"""

from __future__ import annotations

from kplab.trace.events import KernelEvent, SocketCall
from kplab.trace.recording import Recording

Call = tuple[KernelEvent, SocketCall]

FORWARD = ("connect", "sendmsg")
"""Calls that name an address to go to; the others ask for one."""


def calls_of(recording: Recording, host: str, port: int | None) -> list[Call]:
    """Return the sender's calls on sockets that asked for an address, in the order of time; port None is any."""
    mine = [
        (event, event.what)
        for event in recording.events
        if isinstance(event.what, SocketCall) and event.node == recording.sender
    ]
    asked = {call.cookie for _, call in mine if call.call in FORWARD and _is(call.asked, host, port)}
    return sorted((pair for pair in mine if pair[1].cookie in asked), key=lambda pair: pair[0].stamp)


def answers_of(recording: Recording, host: str, port: int | None) -> set[tuple[str, int | None]]:
    """Return the addresses (host, port) that packets of a client that asked for this one may be sent to."""
    found: set[tuple[str, int | None]] = {(host, port)}
    for _, call in calls_of(recording, host, port):
        if call.call in FORWARD:
            address, _, number = call.answered.rpartition(":")
            found.add((address, int(number)))
    return found


def _is(end: str, host: str, port: int | None) -> bool:
    address, _, number = end.rpartition(":")
    return address == host and port in (None, int(number))
