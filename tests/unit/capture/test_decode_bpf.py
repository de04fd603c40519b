"""Records of the programs' ring -> socket calls."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kplab.capture.decode_bpf import LOOKUPS, SIZE, decode_bpf
from kplab.errors import CaptureError
from kplab.model import bpf_maps as layout

pytestmark = pytest.mark.unit

NOTHING = bytes(40)


def record(call: int = 1, protocol: int = 6, lookups: tuple[bytes, ...] = ()) -> bytes:
    """Return a record as the program writes it, from struct event of socket_lb.c."""
    head = struct.pack("=QQQIBB2x", 7, 54, 4097, 321, call, protocol)
    asked, answered = bytes.fromhex("0a60002a"), bytes.fromhex("0af4010a")
    ends = asked + answered + (80).to_bytes(2, "big") + (8080).to_bytes(2, "big") + bytes(4)
    return head + ends + b"curl".ljust(16, b"\0") + b"".join([*lookups, *[NOTHING] * (LOOKUPS - len(lookups))])


def lookup(number: int, answer: int, key: bytes, value: bytes) -> bytes:
    """Return struct lookup."""
    return struct.pack("=BB6x", number, answer) + key.ljust(16, b"\0") + value.ljust(16, b"\0")


def test_a_call_is_told_with_its_lookups_and_what_it_stored() -> None:
    """Addresses before and after, each lookup with its fields named, one that missed without a value."""
    key = layout.ServiceKey("10.96.0.42", 80, "TCP").pack()
    found = lookup(1, 1, key, layout.ServiceValue(1 << 24, 3, 14, 0).pack())
    missed = lookup(2, 0, layout.pack_backend_id(8), b"")
    stored = lookup(3, 2, bytes(16), bytes.fromhex("0a60002a 0050 000e"))
    event = decode_bpf(record(lookups=(found, NOTHING, missed, stored)))
    call = event.call
    assert (event.monotonic, event.netns, call.call, call.protocol) == (7, 4097, "connect", "TCP")
    assert (call.program, call.pid, call.cookie) == ("curl", 321, 54)
    assert (call.asked, call.answered) == ("10.96.0.42:80", "10.244.1.10:8080")
    assert call.lookups == (
        (layout.SERVICES, "address 10.96.0.42, dport 80, backend_slot 0, proto TCP", "count 3, rev_nat_index 14"),
        (layout.BACKENDS, "backend_id 8", ""),
    )
    assert call.stored[0][0] == layout.REVERSE_SK
    assert call.stored[0][2] == "address 10.96.0.42, port 80, rev_nat_index 14"


@pytest.mark.parametrize("data", [b"", record()[:-1], record(call=9), record(protocol=132)])
def test_a_record_that_is_none_of_ours_is_refused(data: bytes) -> None:
    """Short, of an unknown call, or of a protocol that no program reports."""
    with pytest.raises(CaptureError):
        decode_bpf(data)


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    """Whatever is in a record, it is decoded or refused."""
    try:
        decode_bpf(data)
    except CaptureError:
        return
