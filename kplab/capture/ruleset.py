"""Changes of a namespace's nf_tables ruleset: noticed always, and by whom while a question is asked.

To listen to NFNLGRP_NFTABLES makes the kernel build a message for every rule of a load: 80,000 rules took
`iptables-nft-restore` 1.7 s without and 3.5 s with a listener, though a filter throws all but one away. So we listen
from `listen` to `rest` only, and compare the generation's number besides.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from kplab.capture.bpf import attach_filter, netlink_type_filter
from kplab.capture.decode_ruleset import NFT_MSG_NEWGEN, decode_new_generation
from kplab.capture.handles import ask_generation
from kplab.capture.netlink import (
    NETLINK_ADD_MEMBERSHIP,
    NETLINK_DROP_MEMBERSHIP,
    NFNL_SUBSYS_NFTABLES,
    NFNLGRP_NFTABLES,
    SOL_NETLINK,
    NetlinkMessage,
    open_socket,
)
from kplab.capture.sources import NetlinkSource, Stamped
from kplab.errors import CaptureError
from kplab.trace.events import RulesetChanged

_NEW_GENERATION = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN


class RulesetSource(NetlinkSource):
    """New generations of one namespace's ruleset; see `kplab.capture.sources.Source`."""

    def __init__(self, place: str, listener: socket.socket, asker: socket.socket, clock: Callable[[], int]) -> None:
        super().__init__("ruleset", place, listener, self._decoded, clock)
        self._asker = asker
        self._known = ask_generation(asker)

    def _decoded(self, message: NetlinkMessage, stamp: int) -> Stamped | None:
        if (message.subsystem, message.kind) != (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN):
            return None
        change = decode_new_generation(message)
        self._known = change.generation
        return stamp, change

    def events(self) -> Iterator[Stamped]:
        """Decode what was read; a generation that nobody told us of is told without its author."""
        yield from super().events()
        now = ask_generation(self._asker)
        if now != self._known:
            self._known = now
            yield self._clock(), RulesetChanged(generation=now)

    def clear(self) -> None:
        """Forget what was read, and take the ruleset as it is now."""
        super().clear()
        self._known = ask_generation(self._asker)

    def listen(self) -> None:
        """Have the kernel tell who changes the ruleset, until `rest`."""
        self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)

    def rest(self) -> None:
        """Listen no more, so that loads of rules are quick again."""
        with suppress(OSError):  # the kernel has no such group to leave: then there is nothing to stop
            self._socket.setsockopt(SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, NFNLGRP_NFTABLES)

    def close(self) -> None:
        """Close both sockets."""
        super().close()
        self._asker.close()


def open_ruleset(place: str, clock: Callable[[], int]) -> RulesetSource:
    """Watch the current namespace's ruleset. Raises CaptureError."""
    with ExitStack() as opened:
        listener = opened.enter_context(open_socket(receive_buffer=1 << 20))
        try:
            # The new generation comes in a datagram of its own (nf_tables_gen_notify), the rules' before it.
            attach_filter(listener, netlink_type_filter(_NEW_GENERATION))
        except OSError as error:
            raise CaptureError(f"listen to changes of {place}'s ruleset", str(error)) from error
        source = RulesetSource(place, listener, opened.enter_context(open_socket()), clock)
        opened.pop_all()
    return source
