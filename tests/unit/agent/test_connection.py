"""The agent's end of a channel: it never blocks, and never dies of what comes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from kplab.agent.connection import Connection, failure
from kplab.agent.proxies import default_config
from kplab.errors import GuardError, ProtocolError
from kplab.model.config import parse_config
from kplab.protocol.frames import encode, user_side
from kplab.protocol.messages import Done, Failed, ShellData, Status

pytestmark = pytest.mark.unit


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the user's end of it."""
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    yield connection, theirs
    connection.close()
    theirs.close()


def test_nothing_there_is_no_end(pair: tuple[Connection, socket.socket]) -> None:
    """Receiving when nothing has come gives nothing, and the peer is not gone."""
    connection, theirs = pair

    assert connection.receive() == []
    theirs.sendall(encode(Status(id=3)))
    assert connection.receive() == [Status(id=3)]
    assert not connection.gone


def test_a_closed_peer_is_gone(pair: tuple[Connection, socket.socket]) -> None:
    """The peer's end is noticed on receiving; sending to it afterwards is lost quietly."""
    connection, theirs = pair
    theirs.close()

    assert connection.receive() == []
    assert connection.gone
    connection.send(Done(id=1))


def test_a_peer_that_does_not_read_blocks_nobody(pair: tuple[Connection, socket.socket]) -> None:
    """What the socket does not take waits, and goes out whole once it does."""
    connection, theirs = pair
    message = ShellData(id=1, data=b"x" * 4_000_000)
    connection.send(message)
    assert connection.unsent

    decoder = user_side()
    received: list[object] = []
    while not received:
        received += decoder.feed(theirs.recv(1 << 20))
        connection.flush()
    assert received == [message]
    assert not connection.unsent


def test_garbage_is_a_protocol_error(pair: tuple[Connection, socket.socket]) -> None:
    """Bytes that are not of the protocol are told apart from a peer's end."""
    connection, theirs = pair
    theirs.sendall(b"\0\0\0\x04junk")

    with pytest.raises(ProtocolError):
        connection.receive()


def test_too_large_an_answer_is_answered_with_why(pair: tuple[Connection, socket.socket]) -> None:
    """An answer that fits no frame becomes a failure with the same number, so that nobody waits for ever."""
    connection, theirs = pair
    connection.send(ShellData(id=9, data=b"x" * (65 * 1024 * 1024)))

    (answer,) = user_side().feed(theirs.recv(1 << 20))
    assert isinstance(answer, Failed)
    assert answer.id == 9


def test_an_error_crosses_by_its_class_and_its_three_texts() -> None:
    """What was tried, what happened and what to do arrive apart."""
    assert failure(GuardError("a", "b", "c"), 5) == Failed(id=5, error="GuardError", tried="a", happened="b", hint="c")


def test_the_labs_own_configuration_is_one_that_kube_proxy_takes() -> None:
    """The default KubeProxyConfiguration parses, and names both families' ranges."""
    config = parse_config(default_config(("10.244.0.0/16", "fd00:10:244::/56"), "iptables"), "test")

    assert config.mode == "iptables"
    assert "10.244.0.0/16" in str(config)
    assert "fd00:10:244::/56" in str(config)
