"""Short, odd and random bytes: counted, never a crash."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kplab.capture.decode_conntrack import decode_conntrack
from kplab.capture.decode_nflog import decode_nflog, sequence
from kplab.capture.decode_nftrace import decode_nft_trace
from kplab.capture.decode_ruleset import decode_new_generation
from kplab.capture.frames import decode_frame
from kplab.capture.netlink import (
    NETLINK_NETFILTER,
    NetlinkMessage,
    attribute,
    attributes,
    error_of,
    messages,
    number,
    request,
    text,
)
from kplab.errors import CaptureError

if TYPE_CHECKING:
    from tests.unit.capture.conftest import Recorded

pytestmark = pytest.mark.unit

Read = Callable[[str], "Recorded"]
SOURCES = ("nft-trace", "nflog", "conntrack", "ruleset")
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def decode_all(data: bytes) -> None:
    """Give one datagram to every decoder."""
    for message in messages(data):
        for decode in (
            lambda one: decode_nft_trace(one, {}),
            lambda one: decode_nflog(one, {}),
            decode_conntrack,
            decode_new_generation,
            sequence,
        ):
            try:
                decode(message)
            except CaptureError:
                continue


@RELAXED
@given(st.binary(max_size=400))
def test_random_bytes_are_refused_or_decoded(data: bytes) -> None:
    """No bytes whatever make a decoder raise anything but CaptureError."""
    with contextlib.suppress(CaptureError):
        decode_all(data)


@RELAXED
@given(st.data())
def test_damaged_messages_are_refused_or_decoded(recorded: Read, data: st.DataObject) -> None:
    """A real message with some of its bytes changed or cut off raises nothing but CaptureError."""
    source = data.draw(st.sampled_from(SOURCES))
    datagram = bytearray(data.draw(st.sampled_from(recorded(source).datagrams)))
    for place in data.draw(st.lists(st.integers(0, len(datagram) - 1), max_size=6)):
        datagram[place] = data.draw(st.integers(0, 255))
    whole = bytes(datagram)[: data.draw(st.integers(0, len(datagram)))]
    with contextlib.suppress(CaptureError):
        decode_all(whole)


@RELAXED
@given(st.binary(max_size=60), st.integers(0, 255))
def test_any_frame_is_decoded_or_left_out(frame: bytes, kind: int) -> None:
    """A frame shorter than its Ethernet header is left out, and nothing else is."""
    event = decode_frame(frame, "eth0", kind)
    assert (event is None) == (len(frame) < 14)


def test_unknown_attributes_are_passed_over(recorded: Read) -> None:
    """An attribute of a later kernel changes nothing."""
    given_bytes = recorded("nft-trace")
    message = given_bytes.messages()[0]
    more = NetlinkMessage(message.subsystem, message.kind, message.flags, message.family, 0,
                          message.body + attribute(4000, b"something new"))  # fmt: skip
    assert decode_nft_trace(more, given_bytes.interfaces) == decode_nft_trace(message, given_bytes.interfaces)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"\x01\x02\x03", "too short"),
        (struct.pack("=IHHII", 4, 0, 0, 0, 0), "impossible length"),
        (struct.pack("=IHHII", 200, 0, 0, 0, 0), "impossible length"),
        (struct.pack("=IHHII", 18, 0x0A11, 0, 0, 0) + b"\0\0", "nfgenmsg"),
    ],
)
def test_a_malformed_message_says_what_is_wrong(data: bytes, word: str) -> None:
    """Each way of being malformed has its own words."""
    with pytest.raises(CaptureError, match=word):
        list(messages(data))


def test_messages_of_one_datagram_are_taken_apart_at_four_bytes() -> None:
    """A message's end is padded, and the next begins after that."""
    first = request(0x0A11, 0, 2, attribute(1, b"ab\0"))
    second = request(0x0102, 0, 10, attribute(3, b"\0\0\0\7"), res_id=5)
    one, two = messages(first + second)
    assert (one.subsystem, one.kind, one.family, text(attributes(one.body)[1])) == (10, 17, 2, "ab")
    assert (two.subsystem, two.kind, two.family, two.res_id, number(attributes(two.body)[3])) == (1, 2, 10, 5, 7)


def test_an_error_is_read_and_an_acknowledgement_is_not_one() -> None:
    """The kernel answers with -errno, or 0 for "done"."""
    refused = error_of(struct.pack("=i", -1))
    assert refused is not None
    assert refused.errno == 1
    assert error_of(struct.pack("=i", 0)) is None
    assert error_of(b"") is None
    assert NETLINK_NETFILTER == 12
