"""Whatever a dump holds, reading it ends in rules or in one clear message."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kplab.errors import UsageError
from kplab.model.packet import Headers
from kplab.model.ruleset import Rule
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.iptables_save import parse_iptables_save
from kplab.rules.options import read_rule
from kplab.trace.matching import Met, NodeView, Probe, Unknowable, Unmet, try_match
from kplab.trace.walk_effects import apply

pytestmark = pytest.mark.unit

DUMP = (Path(__file__).parents[2] / "data" / "golden" / "lb-source-ranges" / "ipvs.iptables-save").read_text()
WORDS = [
    *sorted({word for line in DUMP.splitlines() for word in line.split()}),
    "!", "-m", "-j", "-g", "-s", "-d", "-i", "-o", "-p", "-f", "-c", "", '"', '"a b"', "\\", "--", "-", "0", "-1",
    "99999999999999999999", "10.0.0.1/33", "::/129", "0x", "/", ":", ",", "recent", "statistic", "multiport", "icmp",
    "icmp6", "physdev", "connmark", "tcp", "--mode", "--every", "--probability", "--dports", "--sport", "--tcp-flags",
    "--syn", "--icmp-type", "--mark", "--rcheck", "--seconds", "--name", "--mask", "--ctdir", "nan", "é", "\x00",
]  # fmt: skip
SPACE = NodeView.read(["10.0.0.1"])
PACKETS = [
    Probe(Headers(4, "10.0.0.1", "10.0.0.2", "tcp", sport=1, dport=2, flags="S"), node=SPACE),
    Probe(Headers(6, "fd00::1", "fd00::2", "icmpv6", icmp_type=128, icmp_code=0), node=SPACE),
    Probe(Headers(4, "10.0.0.1", "10.0.0.2", "udp", fragment=True)),
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_any_words_are_read_and_judged(words: list[str]) -> None:
    """No option, however it is cut, raises: reading ends in matches, and judging them in one of three answers."""
    matches, _ = read_rule(" ".join(["-A X", *words]))
    for match in matches:
        for packet in PACKETS:
            assert isinstance(try_match(match, packet), Met | Unmet | Unknowable)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_dump_is_read_or_refused(data: st.DataObject) -> None:
    """Cut a dump anywhere, and put anything in: rules, or UsageError."""
    at = data.draw(st.integers(0, len(DUMP)))
    middle = data.draw(st.text(max_size=20))
    text = DUMP[:at] + middle + DUMP[data.draw(st.integers(at, len(DUMP))) :]
    try:
        kept = [
            r for t in parse_iptables_save(text, 4, "nft").tables.values() for c in t.chains.values() for r in c.rules
        ]
    except UsageError as error:
        message = str(error)
    else:
        message = "line" if all(rule.text.startswith("-A") for rule in kept) else "rules that nobody wrote"
    assert message.startswith("line")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="create add AB:,./ipnethash0123\n", max_size=60))
def test_any_sets_are_read_or_refused(text: str) -> None:
    """Sets by name, or UsageError."""
    try:
        found = parse_ipset_save(text)
    except UsageError as error:
        found = {}
        message = str(error)
    else:
        message = "line"
    assert message.startswith("line")
    assert all(name == each.name for name, each in found.items())


@pytest.mark.parametrize("options", ["--set-xmark many", "--set-xmark", "--or-mark 09", "--set-mark /"])
def test_a_mark_that_cannot_be_read_is_unknown_from_there_on(options: str) -> None:
    """The walk goes on, and does not pretend to know the mark."""
    rule = Rule("X", 1, f"-A X -j MARK {options}", read_rule)
    assert not apply(rule.target, PACKETS[0]).mark_known


def test_line_ends_of_another_system_are_taken_off() -> None:
    """A dump that came by way of Windows reads the same."""
    windows = parse_iptables_save(DUMP.replace("\n", "\r\n"), 4, "nft")
    assert windows == parse_iptables_save(DUMP, 4, "nft")
