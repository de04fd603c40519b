"""Waiting on descriptors, and noticing that the other side has gone."""

from __future__ import annotations

import select
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
