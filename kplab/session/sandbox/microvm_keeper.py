"""Keeps one guest: a process between kplab and QEMU that neither outlives nor is outlived by what it must not.

    python -m kplab.session.sandbox.microvm_keeper --channel N | --listener N --port N -- QEMU ARGUMENT…

`--port` is the host's end of the guest's serial port. With `--channel` the guest is ended as soon as that connection
closes, for whatever reason; with `--listener` it lives on until it ends by itself, and serves whoever connects, if
they are of the same user; should kplab go before it has connected, nobody wants the guest, and it is ended. When the
keeper is killed, the kernel kills QEMU (PR_SET_PDEATHSIG); and when QEMU ends, the
keeper ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from kplab.protocol.relay import Relay

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


def main(argv: Sequence[str]) -> int:
    """Run QEMU, carry its connections, and end with it."""
    split = argv.index("--")
    options = dict(zip(argv[:split:2], argv[1:split:2], strict=True))
    port = socket.socket(fileno=int(options["--port"]))
    libc = ctypes.CDLL(None)
    own = os.getpid()
    qemu = os.fork()
    if qemu == 0:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _become_qemu(argv[split + 1 :], own)
    ended = os.pidfd_open(qemu)
    # QEMU has its own end; with ours alone open here, its end shows as the end of the stream.
    try:
        if "--channel" in options:
            _serve_one(port, socket.socket(fileno=int(options["--channel"])), ended)
        else:
            _serve_all(port, socket.socket(fileno=int(options["--listener"])), ended)
    finally:
        os.kill(qemu, signal.SIGKILL)
        _, status = os.waitpid(qemu, 0)
    return 0 if os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL) else 1


def _become_qemu(argv: Sequence[str], parent: int) -> NoReturn:
    try:
        if os.getppid() == parent:  # else the keeper died before the signal was asked for
            os.execv(argv[0], list(argv))  # noqa: S606 - the keeper has no shell to save it from
    finally:
        os._exit(127)


def _serve_one(port: socket.socket, channel: socket.socket, ended: int) -> None:
    relay = Relay(port.fileno())
    relay.add(channel)
    over: list[bool] = []
    while not (over or relay.ended or relay.idle):
        relay.turn([(ended, lambda: over.append(True))])


def _serve_all(port: socket.socket, listener: socket.socket, ended: int) -> None:
    relay = Relay(port.fileno())
    over: list[bool] = []
    launcher = os.pidfd_open(os.getppid())
    connected = False

    def end() -> None:
        over.append(True)

    def accept() -> None:
        nonlocal connected
        connected = _accept(listener, relay) or connected

    while not (over or relay.ended):
        watched: list[tuple[int, Callable[[], None]]] = [(ended, end), (listener.fileno(), accept)]
        relay.turn(watched if connected else [*watched, (launcher, end)])


def _accept(listener: socket.socket, relay: Relay) -> bool:
    """Take a connection of the same user's; tell whether there was one."""
    try:
        channel, _ = listener.accept()
    except OSError:
        return False
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    if uid != os.getuid():
        channel.close()
        return False
    relay.add(channel)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
