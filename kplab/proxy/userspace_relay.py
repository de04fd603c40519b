"""The proxying that gave kube-proxy its name: take a connection, open another to an endpoint, copy bytes both ways.

After pkg/proxy/userspace/proxysocket.go of Kubernetes v1.25: endpoints are tried in turn with growing limits; a UDP
client keeps its endpoint until nothing has come for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, cast

from kplab.proxy.userspace_balance import RoundRobin

DIAL_LIMITS = (0.25, 0.5, 1.0, 2.0)
"""Seconds, one try each (endpointDialTimeouts)."""
UDP_IDLE = 0.25
"""Seconds after which a UDP client is forgotten (`--udp-timeout`)."""
PIECE = 65536
BACKLOG = 1024

Tell = Callable[[str, str, str, str, str], None]
"""Told each connection: protocol, accepted from, accepted on, dialled from, dialled to."""


class TcpPort:
    """One TCP service port: a listening socket, and the connections that came by it."""

    def __init__(self, port: int, balance: RoundRobin, tell: Tell) -> None:
        """Raises OSError: the port cannot be had."""
        self._balance = balance
        self._tell = tell
        self._socket = socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104 - as the old one did
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Accept from now on."""
        self._server = await asyncio.start_server(self._accepted, sock=self._socket)

    def close(self) -> None:
        """Accept no more; connections that stand go on."""
        if self._server:
            self._server.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Either end may reset at any moment; that ends these two connections, not the proxy.
        with contextlib.suppress(OSError):
            await self._proxy(reader, writer)
        writer.close()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = writer.get_extra_info("peername")
        dialled = await self._dial(client[0])
        if dialled is None:
            return
        back, forth = dialled
        self._tell(
            "TCP", text(client), text(writer.get_extra_info("sockname")),
            text(forth.get_extra_info("sockname")), text(forth.get_extra_info("peername")),
        )  # fmt: skip
        try:
            await asyncio.gather(_copy(reader, forth), _copy(back, writer))
        finally:
            forth.close()

    async def _dial(self, client: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        loop = asyncio.get_running_loop()
        for number, limit in enumerate(DIAL_LIMITS):
            endpoint = self._balance.choose(client, loop.time(), forget=number > 0)
            if endpoint is None:
                return None
            host, _, port = endpoint.rpartition(":")
            with contextlib.suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(host, int(port)), limit)
        return None


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then end the sink's half."""
    while data := await source.read(PIECE):
        sink.write(data)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()


class UdpPort(asyncio.DatagramProtocol):
    """One UDP service port: a socket, and a connected one for each client."""

    def __init__(self, port: int, balance: RoundRobin, tell: Tell) -> None:
        """Raises OSError: the port cannot be had."""
        self._balance = balance
        self._tell = tell
        self._port = port
        self._clients: dict[tuple[Any, ...], _UdpClient] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._dials: set[asyncio.Task[None]] = set()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("0.0.0.0", port))  # noqa: S104 - as the old one did

    async def start(self) -> None:
        """Take datagrams from now on."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=self._socket)

    def close(self) -> None:
        """Take no more, and forget every client."""
        for client in list(self._clients.values()):
            client.end()
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are sent by."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """Send it on by the client's own socket; a new client gets one."""
        known = self._clients.get(addr)
        if known is not None:
            known.forward(data)
            return
        task = asyncio.ensure_future(self._dial(data, addr))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, data: bytes, addr: tuple[Any, ...]) -> None:
        loop = asyncio.get_running_loop()
        endpoint = self._balance.choose(str(addr[0]), loop.time())
        if endpoint is None:
            return
        host, _, port = endpoint.rpartition(":")
        client = _UdpClient(lambda answer: self._answer(answer, addr), lambda: self._clients.pop(addr, None))
        with contextlib.suppress(OSError):
            transport, _ = await loop.create_datagram_endpoint(lambda: client, remote_addr=(host, int(port)))
            self._clients[addr] = client
            mine = text(transport.get_extra_info("sockname"))
            self._tell("UDP", text(addr), f"0.0.0.0:{self._port}", mine, endpoint)
            client.forward(data)

    def _answer(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.sendto(data, addr)


class _UdpClient(asyncio.DatagramProtocol):
    """One client's socket towards its endpoint."""

    def __init__(self, answer: Callable[[bytes], None], forget: Callable[[], object]) -> None:
        self._answer = answer
        self._forget = forget
        self._transport: asyncio.DatagramTransport | None = None
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def forward(self, data: bytes) -> None:
        if self._transport:
            self._transport.sendto(data)
        self._rest()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._answer(data)
        self._rest()

    def end(self) -> None:
        self._forget()
        if self._idle:
            self._idle.cancel()
        if self._transport:
            self._transport.close()

    def _rest(self) -> None:
        if self._idle:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(UDP_IDLE, self.end)


def text(address: tuple[Any, ...]) -> str:
    """Return "10.244.1.10:8080"."""
    return f"{address[0]}:{address[1]}"
