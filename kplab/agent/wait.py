"""Waiting on descriptors, noticing that the other side has gone, and letting go of many at once."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterable


def readable(descriptors: Iterable[int], seconds: float) -> set[int]:
    """Return those that can be read (or have ended) within so many seconds; poll(2), so any number will do."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}


def gone(descriptor: int) -> bool:
    """Tell whether the peer of a socket has closed it, whatever still waits to be read."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))


def close_together(descriptors: Iterable[int]) -> None:
    """Close descriptors side by side.

    Closing a packet socket waits for a grace period of RCU (packet_release in net/packet/af_packet.c); one after the
    other a lab's would take a quarter of a second, together they share the wait.
    """
    closers = [threading.Thread(target=os.close, args=(descriptor,)) for descriptor in descriptors]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
