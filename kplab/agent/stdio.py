"""The channel inside a container: the agent's standard input and output, which its engine carries to the user's side.

A child carries the bytes, forked before anything large is loaded. The input's end is the end of the lab: it comes when
kplab hangs up, is killed, or its engine's client is.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from dataclasses import dataclass

from kplab.protocol.stdio import carry

_LIMIT = 1.0
"""Seconds that the agent's end waits for its last words to be carried."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """The channel, and who carries it."""

    channel: socket.socket
    carrier: int

    def hand_on(self) -> None:
        """Wait until what was said last has been carried: the carrier dies with the agent, and this would be lost."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)
            descriptor = os.pidfd_open(self.carrier)  # an OSError here: it has ended, and has been reaped
            select.select([descriptor], [], [], _LIMIT)


def channel_on_stdio() -> Stdio:
    """Return the channel; what the agent prints itself goes nowhere from then on, so that it cannot disturb it."""
    ours, theirs = socket.socketpair()
    carrier = os.fork()
    if carrier == 0:
        ours.close()
        try:
            carry(0, 1, theirs)
        finally:
            os._exit(0)
    theirs.close()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    return Stdio(ours, carrier)
