"""Starts the pods' servers, and reads what they report.

The nursery is a process forked from the agent while that is still small, and forks each server from itself: a
server costs its own few pages, not the agent's libraries.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from typing import Any, NoReturn

from kplab.errors import LabError
from kplab.lab.netns import NAMES, enter_for_good
from kplab.lab.servers import Kind, PodServer


class Nursery:
    """Forks the pods' servers. Make it early: what the process holds by then, every server holds.

    `reports` is the descriptor to wait on before `read`.
    """

    def __init__(self) -> None:
        self._orders, orders = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.reports, reports = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._rest = b""
        self.alive = True
        """Set to False by whoever reaps."""
        self.pid = os.fork()
        if self.pid == 0:
            self._orders.close()
            os.close(self.reports)
            _nurse(orders, reports)
        orders.close()
        os.close(reports)

    def start(self, name: str, node: str, listeners: list[tuple[str, int, Kind]]) -> None:
        """Have a server started in the namespace `name`; its report "ready" or "failed" comes later."""
        self._orders.send(json.dumps({"name": name, "node": node, "listeners": listeners}).encode())

    def read(self) -> list[dict[str, Any]]:
        """Return the reports that have come; never blocks.

        Each has `name`, `pid`, `stamp` (ns of CLOCK_REALTIME) and `event`: "ready", "failed" (with `why`), "served"
        (with `protocol`, `local`, `peer`, `note`) or "lost" (with `count`).
        """
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reports, 65536):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]


def _nurse(orders: socket.socket, reports: int) -> NoReturn:
    """The nursery's own process. Each server is orphaned at once, so that the agent, pid 1, is told of its end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while order := orders.recv(65536):
        between = os.fork()
        if between == 0:
            if os.fork() == 0:
                orders.close()
                _be_server(json.loads(order), reports)
            os._exit(0)
        os.waitpid(between, 0)
    os._exit(0)


def _be_server(order: dict[str, Any], reports: int) -> NoReturn:
    name = order["name"]
    lost = 0

    def say(report: dict[str, Any]) -> None:
        nonlocal lost
        told = {"event": "served", "name": name, "pid": os.getpid(), "stamp": time.time_ns(), **report}
        try:
            if lost:
                os.write(reports, _line({**told, "event": "lost", "count": lost}))
                lost = 0
            os.write(reports, _line(told))
        except BlockingIOError:
            lost += 1

    try:
        enter_for_good(NAMES / name)
        server = PodServer(name, order["node"], say)
        for protocol, port, kind in order["listeners"]:
            server.listen(protocol, port, kind)
        say({"event": "ready"})
        server.serve()
    except (OSError, LabError) as error:
        say({"event": "failed", "why": str(error)})
    os._exit(1)


def _line(report: dict[str, Any]) -> bytes:
    # Shorter than PIPE_BUF (4096), so the kernel keeps each line whole.
    return json.dumps(report).encode() + b"\n"
