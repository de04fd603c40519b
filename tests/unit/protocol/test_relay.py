"""Several connections over one descriptor arrive whole, each by itself, and end on both sides."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kplab.protocol.relay import Relay
from kplab.protocol.streams import HEADER, LONGEST, Unpacker, pack

pytestmark = pytest.mark.unit


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(min_size=1, max_size=300))), st.integers(1, 50))
def test_frames_survive_any_cutting(frames: list[tuple[int, bytes]], step: int) -> None:
    """Whatever the pieces that the bytes come in, the same streams come out."""
    sent = b"".join(pack(number, data) for number, data in frames)
    unpacker = Unpacker()
    found = [each for start in range(0, len(sent), step) for each in unpacker.feed(sent[start : start + step])]

    assert found == frames


def test_what_is_long_goes_in_pieces() -> None:
    """No frame is longer than the longest, and nothing is lost."""
    data = bytes(range(256)) * 1024
    pieces = Unpacker().feed(pack(3, data))

    assert max(len(piece) for _, piece in pieces) == LONGEST
    assert b"".join(piece for _, piece in pieces) == data


def test_a_frame_that_is_too_long_is_refused() -> None:
    """A stream whose place is lost is not guessed at."""
    with pytest.raises(ValueError, match="none has more"):
        Unpacker().feed(HEADER.pack(1, LONGEST + 1))


def test_two_connections_over_one_pair() -> None:
    """What goes in at one end comes out at the other, per connection; a close is passed on."""
    with contextlib.ExitStack() as stack:

        def pair() -> tuple[socket.socket, socket.socket]:
            made = socket.socketpair()
            for each in made:
                stack.enter_context(each)
            return made

        outside, inside = pair()
        arrived: list[socket.socket] = []

        def connect() -> socket.socket:
            ours, theirs = pair()
            ours.setblocking(False)
            arrived.append(ours)
            return theirs

        near, far = Relay(outside.fileno()), Relay(inside.fileno(), connect)
        clients = []
        for word in (b"first", b"second"):
            client, carried = pair()
            near.add(carried)
            client.send(word)
            near.turn()
            far.turn()
            clients.append(client)
        assert [each.recv(100) for each in arrived] == [b"first", b"second"]

        arrived[1].send(b"answer")
        far.turn()
        near.turn()
        assert clients[1].recv(100) == b"answer"

        clients[0].close()
        near.turn()
        far.turn()
        assert arrived[0].recv(100) == b""

        outside.close()
        far.turn()
        assert far.ended
