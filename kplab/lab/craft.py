"""Turns layers into a packet's bytes by scapy, in a process of its own.

scapy costs a fifth of a second and 45 MB to import. Its process is forked while the agent is small, and imports
scapy when it is told that there is time; so neither the lab's start nor the first packet waits for it, and the
agent does not carry it.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any, NoReturn

from kplab.errors import LabError, UsageError

WARM = b"warm"
_LONGEST = 200_000
"""Bytes of one order or answer; an IP packet has at most 65,535."""


class Crafter:
    """Asks the scapy process for packets."""

    def __init__(self) -> None:
        self.alive = True
        """Set to False by whoever reaps."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            _work(theirs)
        theirs.close()

    def warm(self) -> None:
        """Have scapy imported, without waiting for it."""
        self._socket.send(WARM)

    def craft(self, layers: list[tuple[str, dict[str, Any]]]) -> bytes:
        """Return the packet's bytes: layers by scapy's names, outermost first, lengths and checksums filled in.

        Raises:
            UsageError: scapy refuses a value.
            LabError: the scapy process is gone.
        """
        import msgspec

        try:
            self._socket.send(msgspec.msgpack.encode(layers))
            answer = self._socket.recv(_LONGEST)
        except OSError as error:
            raise LabError(
                "build the packet", f"the scapy process is gone ({error})", "end the lab, and start it anew"
            ) from error
        if not answer:
            raise LabError("build the packet", "the scapy process is gone", "end the lab, and start it anew")
        if answer[:1] == b"!":
            raise UsageError("build the packet", answer[1:].decode(), "look at the value that it names")
        return answer[1:]


def _work(orders: socket.socket) -> NoReturn:
    """The scapy process: answers with "=" and the packet's bytes, or with "!" and what is wrong."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # scapy keeps files in the user's folders; a lab leaves none.
    os.environ.update(HOME="/run/kplab", XDG_CONFIG_HOME="/run/kplab", XDG_CACHE_HOME="/run/kplab")
    while order := orders.recv(_LONGEST):
        if order == WARM:
            os.nice(10)
            _classes()
            continue
        import msgspec

        try:
            answer = b"=" + build_packet(msgspec.msgpack.decode(order))
        # scapy reports a bad value by whatever its packing raised.
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, OSError, ArithmeticError) as error:
            answer = b"!" + f"{type(error).__name__}: {error}".encode()
        except _scapy_errors() as error:
            answer = b"!" + str(error).encode()
        orders.send(answer)
    os._exit(0)


def build_packet(layers: list[tuple[str, dict[str, Any]]]) -> bytes:
    """Return the bytes of a stack of layers. Raises whatever scapy raises for a bad value."""
    classes = _classes()
    packet: Any = None
    for name, fields in layers:
        layer = classes[name](**{field: _value(field, value) for field, value in fields.items()})
        packet = layer if packet is None else packet / layer
    return bytes(packet)


def _value(field: str, value: Any) -> Any:
    """Scapy wants TCP's options as tuples; the wire brings lists."""
    if field == "options" and isinstance(value, list):
        return [_tuples(each) for each in value]
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _scapy_errors() -> type[Exception]:
    from scapy.error import Scapy_Exception

    chosen: type[Exception] = Scapy_Exception
    return chosen


def _classes() -> dict[str, Any]:
    """The layers that may be built, by name: nothing else of scapy's can be reached."""
    import logging

    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    from scapy.layers import inet, inet6
    from scapy.packet import Raw

    from kplab.model.layers import LAYERS

    known = {"Raw": Raw}
    known |= {name: getattr(inet, name) for name in ("IP", "TCP", "UDP", "ICMP")}
    known |= {name: getattr(inet6, name) for name in LAYERS if name not in known}
    return known
