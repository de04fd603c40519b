"""Conntrack entries, read from lines and from events."""

from __future__ import annotations

import pytest

from kplab.trace.entries import find_entries, is_rewritten, read_line
from kplab.trace.events import CtChange, KernelEvent, Tuple

pytestmark = pytest.mark.unit

TCP = (
    "ipv4     2 tcp      6 59 SYN_RECV src=10.244.1.5 dst=10.96.0.42 sport=40000 dport=80 src=10.244.2.10 "
    "dst=10.244.1.5 sport=8080 dport=40000 [ASSURED] mark=0 use=1 id=77"
)
UDP = (
    "ipv4     2 udp      17 29 src=10.244.1.5 dst=10.96.0.10 sport=5000 dport=53 [UNREPLIED] src=10.244.1.20 "
    "dst=10.244.1.5 sport=53 dport=5000 mark=0 use=1 id=78"
)
ICMP = (
    "ipv4     2 icmp     1 29 src=10.244.1.5 dst=10.96.0.42 type=8 code=0 id=3 src=10.96.0.42 dst=10.244.1.5 type=0 "
    "code=0 id=3 mark=0 use=1 id=79"
)
SIX = (
    "ipv6     10 tcp      6 431999 ESTABLISHED src=fd00::5 dst=fd00:96::42 sport=1 dport=80 src=fd00::10 dst=fd00::5 "
    "sport=8080 dport=1 [ASSURED] mark=0 use=1 id=80"
)


def test_a_tcp_line() -> None:
    """Both tuples, the state, and the entry's id at the line's end."""
    assert read_line(TCP) == (
        77,
        Tuple("10.244.1.5", "10.96.0.42", "tcp", 40000, 80),
        Tuple("10.244.2.10", "10.244.1.5", "tcp", 8080, 40000),
        "SYN_RECV",
    )


def test_an_icmp_lines_own_ids_are_not_the_entrys() -> None:
    """An echo has an id in each tuple, and the entry has one."""
    number, original, reply, state = read_line(ICMP) or (None, None, None, None)

    assert (number, state) == (79, None)
    assert original is not None
    assert reply is not None
    assert (original.icmp, reply.icmp) == ((8, 0, 3), (0, 0, 3))


@pytest.mark.parametrize(("line", "number", "state"), [(UDP, 78, None), (SIX, 80, "ESTABLISHED")])
def test_other_lines(line: str, number: int, state: str | None) -> None:
    """UDP has no state; IPv6 is read alike."""
    found = read_line(line)

    assert found is not None
    assert (found[0], found[3]) == (number, state)


@pytest.mark.parametrize("line", ["", "conntrack v1.4.7 (conntrack-tools): 3 flow entries", "src= dst="])
def test_what_is_no_entry(line: str) -> None:
    """Anything else is passed over."""
    assert read_line(line) is None


def change(kind: str, number: int = 77, state: str | None = "SYN_SENT", status: int = 0) -> KernelEvent:
    """An event about the entry of `TCP`."""
    _, original, reply, _ = read_line(TCP) or (None, None, None, None)
    assert original is not None
    assert reply is not None
    named = "new" if kind == "new" else "destroy" if kind == "destroy" else "update"
    return KernelEvent(1, 1, "node-a", CtChange(named, number, original, reply, status, state))  # type: ignore[arg-type]


def test_events_and_lines_of_one_entry_are_joined_by_id() -> None:
    """The line is kept verbatim; the events stay with it."""
    entries = find_entries("node-a", [change("new"), change("update", state="SYN_RECV")], (), (TCP,))
    entry = entries.by_id[77]

    assert entry.line == TCP
    assert [what.change for _, what in entry.changes] == ["new", "update"]
    assert is_rewritten(entry)


def test_an_entry_that_was_gone_before_it_was_listed_gets_a_line_in_the_same_form() -> None:
    """It is made up from the event, and can be read like a listed one."""
    entries = find_entries("node-a", [change("new"), change("destroy", state="CLOSE")], (), ())
    line = entries.by_id[77].line

    assert read_line(line) is not None
    assert "CLOSE src=10.244.1.5 dst=10.96.0.42 sport=40000 dport=80 [UNREPLIED] src=10.244.2.10" in line


def test_a_packet_finds_its_entry_in_both_directions() -> None:
    """The reply tuple is the answer as it comes in."""
    entries = find_entries("node-a", (), (), (TCP, UDP))
    asked = entries.find(("tcp", "10.244.1.5", 40000, "10.96.0.42", 80))
    answered = entries.find(("tcp", "10.244.2.10", 8080, "10.244.1.5", 40000))

    assert asked is not None
    assert answered is not None
    assert (asked[0].id, asked[1], answered[0].id, answered[1]) == (77, "request", 77, "reply")
    assert entries.find(("tcp", "10.244.1.5", 40001, "10.96.0.42", 80)) is None
