"""A pod's server, on this machine's loopback."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kplab.lab.names import interface_name
from kplab.lab.servers import PodServer

pytestmark = pytest.mark.unit


class EndedError(Exception):
    """Raised in the server's loop to end it."""


@pytest.fixture
def served() -> Iterator[tuple[dict[str, int], list[dict[str, Any]]]]:
    """A server with one port of each kind; its ports by kind, and what it reported."""
    told: list[dict[str, Any]] = []
    server = PodServer("web-1", "node-a", told.append)
    ports: dict[str, int] = {}
    for kind, protocol in (("http", "TCP"), ("tcp-echo", "TCP"), ("udp-echo", "UDP")):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            ports[kind] = probe.getsockname()[1]
        server.listen(protocol, ports[kind], kind)  # type: ignore[arg-type]
    woken, wake = socket.socketpair()
    selector: selectors.BaseSelector = server._selector

    def stop(*_: object) -> None:
        raise EndedError

    selector.register(woken, selectors.EVENT_READ, (stop, ""))

    def run() -> None:
        with contextlib.suppress(EndedError):
            server.serve()

    thread = threading.Thread(target=run)
    thread.start()
    yield ports, told
    wake.send(b"x")
    thread.join(5)
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    selector.close()
    wake.close()


def everything(sock: socket.socket) -> bytes:
    """Read to the end."""
    data = b""
    while chunk := sock.recv(4096):
        data += chunk
    return data


def test_http_names_pod_node_and_peer(served: tuple[dict[str, int], list[dict[str, Any]]]) -> None:
    """The answer says which pod on which node answered, and whom it saw; so does the report."""
    ports, told = served
    with socket.create_connection(("127.0.0.1", ports["http"]), 5) as sock:
        peer = "{}:{}".format(*sock.getsockname())
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        sock.sendall(b"\r\n")
        head, _, body = everything(sock).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 OK")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.decode().splitlines()[:3] == ["pod: web-1", "node: node-a", f"peer: {peer}"]
    assert told[0]["peer"] == peer
    assert told[0]["local"] == f"127.0.0.1:{ports['http']}"


def test_tcp_echoes_until_its_peer_ends(served: tuple[dict[str, int], list[dict[str, Any]]]) -> None:
    """What is sent comes back, and the peer's end is answered with our own."""
    ports, _ = served
    with socket.create_connection(("127.0.0.1", ports["tcp-echo"]), 5) as sock:
        sock.sendall(b"hello\n")
        sock.shutdown(socket.SHUT_WR)

        assert everything(sock) == b"hello\n"


def test_udp_answers_from_the_address_that_was_asked(served: tuple[dict[str, int], list[dict[str, Any]]]) -> None:
    """A server of thousands of addresses answers from the right one: here 127.0.0.9."""
    ports, told = served
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.9", ports["udp-echo"]))
        sock.send(b"hi")

        assert sock.recv(100) == b"hi"
    assert told[0]["local"] == f"127.0.0.9:{ports['udp-echo']}"


def test_a_peer_that_resets_ends_only_its_own_connection(served: tuple[dict[str, int], list[dict[str, Any]]]) -> None:
    """After a reset, the server answers the next one."""
    ports, _ = served
    rude = socket.create_connection(("127.0.0.1", ports["http"]), 5)
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    rude.sendall(b"GET")
    rude.close()

    with socket.create_connection(("127.0.0.1", ports["http"]), 5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert everything(sock).startswith(b"HTTP/1.1 200")


def test_interface_names_fit_the_kernel() -> None:
    """Short names stay; long ones end in a hash, so that two of them differ."""
    names = [interface_name("veth-", f"a-very-long-pod-name-{n}") for n in range(20)]

    assert interface_name("veth-", "web-1") == "veth-web-1"
    assert all(len(name) <= 15 for name in names)
    assert len(set(names)) == 20
