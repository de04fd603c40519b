"""Frames: whole, split anywhere, and broken in every way."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kplab.errors import ProtocolError
from kplab.model.packet import ClientSpec, Field, Layer, Octets, PacketSpec
from kplab.protocol.frames import agent_side, encode, user_side
from kplab.protocol.messages import (
    MAX_FRAME,
    Done,
    Down,
    Exec,
    Failed,
    Hello,
    Send,
    ShellData,
    Status,
    ToAgent,
    Up,
)

pytestmark = pytest.mark.unit

text = st.text(max_size=40)
number = st.integers(min_value=0, max_value=2**63 - 1)
value = st.one_of(
    st.integers(-(2**63), 2**63 - 1), text, st.booleans(), st.none(), st.builds(Octets, st.binary(max_size=30))
)
layers = st.lists(
    st.builds(Layer, name=text, fields=st.lists(st.builds(Field, text, value), max_size=3).map(tuple)), max_size=3
).map(tuple)
spec = st.one_of(
    st.builds(PacketSpec, expression=text, layers=layers),
    st.builds(ClientSpec, client=st.sampled_from(["curl", "tcp", "udp"]), target=text),
)
message: st.SearchStrategy[ToAgent] = st.one_of(
    st.builds(Hello, id=number, boot_id=text, host_netns=number),
    st.builds(Up, id=number, manifest=text, with_proxy=st.booleans()),
    st.builds(Send, id=number, spec=spec, sender=text),
    st.builds(Exec, id=number, namespace=text, argv=st.lists(text, max_size=3).map(tuple)),
    st.builds(ShellData, id=number, data=st.binary(max_size=50)),
    st.builds(Status, id=number),
    st.builds(Down, id=number),
)


@given(st.lists(message, max_size=5), st.lists(st.integers(1, 60), max_size=60))
def test_messages_survive_any_cut(messages: list[ToAgent], cuts: list[int]) -> None:
    """However the bytes are cut on their way, the same messages come out in the same order."""
    stream = b"".join(encode(each) for each in messages)
    decoder = agent_side()
    received: list[ToAgent] = []
    position = 0
    for cut in [*cuts, len(stream)]:
        received += decoder.feed(stream[position : position + cut])
        position += cut
    received += decoder.feed(stream[position:])

    assert received == messages
    assert decoder.pending == 0


@given(st.binary(max_size=300))
def test_garbage_is_a_protocol_error(garbage: bytes) -> None:
    """A frame of arbitrary bytes is a message or a ProtocolError, never another exception."""
    try:
        messages = agent_side().feed(struct.pack(">I", len(garbage)) + garbage)
    except ProtocolError:
        return

    assert [msgspec.msgpack.decode(garbage)["type"]] == [type(m).__struct_config__.tag for m in messages]


@settings(max_examples=50)
@given(message, st.data())
def test_one_changed_byte_never_escapes_as_another_exception(original: ToAgent, data: st.DataObject) -> None:
    """Flipping any byte of a good frame gives a message, an unfinished frame, or a ProtocolError."""
    frame = bytearray(encode(original))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    try:
        messages = agent_side().feed(bytes(frame))
    except ProtocolError:
        return

    assert len(messages) <= 1


def test_too_long_a_frame_is_refused_from_its_header() -> None:
    """A length above MAX_FRAME is refused at once: the bytes are not waited for."""
    with pytest.raises(ProtocolError, match="announces"):
        agent_side().feed(struct.pack(">I", MAX_FRAME + 1))


def test_too_long_a_message_is_refused_when_sent() -> None:
    """A message that would not fit a frame is refused by its sender."""
    with pytest.raises(ProtocolError, match="at most"):
        encode(ShellData(data=b"x" * (MAX_FRAME + 1)))


def test_a_frame_of_the_other_side_is_refused() -> None:
    """The agent does not take an agent's message, nor the user's side a user's."""
    with pytest.raises(ProtocolError):
        agent_side().feed(encode(Failed(error="LabError", tried="x", happened="", hint="")))
    with pytest.raises(ProtocolError):
        user_side().feed(encode(Down()))


def test_broken_text_is_a_protocol_error() -> None:
    """Text that is not UTF-8 is refused as a message, not raised as a UnicodeDecodeError."""
    body = msgspec.msgpack.encode({"type": "done", "id": 1})
    broken = body.replace(b"done", b"do\xff\xff")

    with pytest.raises(ProtocolError):
        user_side().feed(struct.pack(">I", len(broken)) + broken)


def test_an_unfinished_frame_is_kept() -> None:
    """A frame's beginning is held until its end has come."""
    frame = encode(Done(id=7))
    decoder = user_side()

    assert decoder.feed(frame[:-1]) == []
    assert decoder.pending == len(frame) - 1
    assert decoder.feed(frame[-1:]) == [Done(id=7)]
