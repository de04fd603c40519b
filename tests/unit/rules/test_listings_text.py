"""What `nft list table` and `ipset list` print, made of JSON and of `ipset save`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kplab.rules.ipset_list import list_ipsets
from kplab.rules.nft_json import parse_nft
from kplab.rules.nft_listing import duration, element_of_line, list_table, priority_text

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
_UNTOLD = re.compile(r"\n\tcomment \".*|\n\t\tcomment \"helper for.*|dynamic,")
"""What `nft -j` of 1.0.6 does not tell: comments of tables and chains, and a set's flag dynamic."""


@pytest.mark.parametrize("listed", sorted(GOLDEN.glob("*/nftables.nft")), ids=lambda path: path.parent.name)
def test_a_table_is_listed_as_nft_lists_it(listed: Path) -> None:
    """Every scenario of the real kube-proxy's, word for word but for what nft's JSON leaves out."""
    tables = parse_nft(listed.with_name("nftables.nft.json").read_text()).tables

    ours = " ".join(" ".join(list_table(table).lines) for table in tables.values())

    assert ours.split() == _UNTOLD.sub("", listed.read_text()).split()


def test_everything_stands_where_the_listing_says() -> None:
    """Chains, rules, sets and elements are found by name and number."""
    tables = parse_nft((GOLDEN / "fifty-services" / "nftables.nft.json").read_text()).tables
    table = tables["ip", "kube-proxy"]

    listing = list_table(table)

    assert listing.lines[listing.chains["services"]] == "    chain services {"
    assert listing.lines[listing.sets["service-ips"]] == "    map service-ips {"
    for name, chain in table.chains.items():
        assert [listing.lines[at].strip() for at in listing.rules[name]] == [rule.text for rule in chain.rules]
    for name, held in table.sets.items():
        texts = [element_of_line(listing.lines[at]) for at in listing.elements[name]]
        assert texts == [element.text for element in held.elements]


@pytest.mark.parametrize(
    ("priority", "hook", "text"),
    [
        (-100, "prerouting", "dstnat"), (-110, "prerouting", "dstnat - 10"), (-100, "output", "-100"),
        (0, "input", "filter"), (5, "forward", "filter + 5"), (100, "postrouting", "srcnat"), (100, "input", "100"),
    ],
)  # fmt: skip
def test_priorities_have_nft_s_names(priority: int, hook: str, text: str) -> None:
    """By name within 10 of it, where the hook has that name."""
    assert priority_text(priority, hook) == text


def test_durations_have_nft_s_units() -> None:
    """Days to seconds, without those that are none."""
    assert [duration(seconds) for seconds in (10800, 90, 86400, 0)] == ["3h", "1m30s", "1d", "0s"]


def test_ipsets_are_listed_with_their_members() -> None:
    """In the order of the save, with the number of entries; a line of another form is left out."""
    saved = (
        "create KUBE-A hash:ip,port family inet hashsize 1024 maxelem 65536\n"
        "add KUBE-A 10.96.0.42,tcp:80\nadd KUBE-A 10.96.0.10,udp:53 timeout 3\n"
        "create KUBE-B bitmap:port range 0-65535\n"
        "add NOBODY 1\nwhat is this\n"
    )

    listing = list_ipsets(saved)

    assert listing.lines == [
        "Name: KUBE-A", "Type: hash:ip,port", "Header: family inet hashsize 1024 maxelem 65536", "Number of entries: 2",
        "Members:", "10.96.0.42,tcp:80", "10.96.0.10,udp:53 timeout 3", "",
        "Name: KUBE-B", "Type: bitmap:port", "Header: range 0-65535", "Number of entries: 0", "Members:", "",
    ]  # fmt: skip
    assert (listing.sets, listing.members["KUBE-A"]) == ({"KUBE-A": 0, "KUBE-B": 8}, range(5, 7))
