"""What a kernel sent decodes to what it meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from kplab.capture.decode_conntrack import decode_conntrack
from kplab.capture.decode_nflog import decode_nflog, sequence
from kplab.capture.decode_nftrace import decode_nft_trace
from kplab.capture.decode_ruleset import decode_new_generation
from kplab.capture.netlink import NetlinkMessage
from kplab.trace.events import What

if TYPE_CHECKING:
    from tests.unit.capture.conftest import Recorded

pytestmark = pytest.mark.unit

Read = Callable[[str], "Recorded"]
Json = Callable[[object], dict[str, Any] | None]
Decoder = Callable[[NetlinkMessage, Mapping[int, str]], What | None]

DECODERS: dict[str, Decoder] = {
    "nft-trace": decode_nft_trace,
    "nflog": decode_nflog,
    "conntrack": lambda message, _: decode_conntrack(message),
    "ruleset": lambda message, _: decode_new_generation(message),
}


@pytest.mark.parametrize("source", DECODERS)
def test_recorded_bytes_decode_to_the_events_beside_them(recorded: Read, as_json: Json, source: str) -> None:
    """Each datagram that a kernel sent gives the event in the JSON file beside it."""
    given = recorded(source)
    assert len(given.datagrams) == len(given.events) > 0
    decode = DECODERS[source]
    assert [as_json(decode(message, given.interfaces)) for message in given.messages()] == given.events


def test_a_packet_comes_once_a_base_chain_and_then_with_its_conntrack_entry(recorded: Read) -> None:
    """Headers, interfaces and conntrack's part come together, and never in a policy message that follows another."""
    given = recorded("nft-trace")
    events = [decode_nft_trace(message, given.interfaces) for message in given.messages()]
    for event in events:
        if event.packet:
            assert event.iif or event.oif
        else:
            assert (event.iif, event.oif, event.ct_id, event.ct_state) == (None, None, None, None)
    assert any(event.ct_id for event in events)


def test_the_end_of_a_chain_is_a_return_without_a_handle(recorded: Read) -> None:
    """Linux 6.18 calls a chain's end a rule without a handle; we say "return", and a rule always has a handle."""
    given = recorded("nft-trace")
    events = [decode_nft_trace(message, given.interfaces) for message in given.messages()]
    kinds = {(event.kind, event.handle is None) for event in events}
    assert kinds == {("rule", False), ("return", True), ("policy", True)}


def test_an_interface_that_has_no_name_keeps_its_number(recorded: Read) -> None:
    """A mapping that lacks an index does not lose the message."""
    message = recorded("nft-trace").messages()[0]
    assert (decode_nft_trace(message, {}).oif or "").removeprefix("if").isdigit()


def test_nflog_messages_are_numbered(recorded: Read) -> None:
    """Each has a sequence number, and they rise: this is how a gap is seen."""
    numbers = [sequence(message) for message in recorded("nflog").messages()]
    assert None not in numbers
    assert numbers == sorted(numbers, key=lambda one: one or 0)
    assert len(set(numbers)) == len(numbers)


def test_what_an_nflog_rule_sent_is_not_a_trace(recorded: Read) -> None:
    """A message in our group whose prefix is not TRACE's is left out."""
    given = recorded("nflog")
    assert None in [decode_nflog(message, given.interfaces) for message in given.messages()]
