"""`kplab compare` on a real kernel, and rules that were left in the other back-end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kplab.cli.compare import compare, read_options
from kplab.model.expression import parse_expression
from kplab.session.live import LiveSession
from kplab.trace.journey import tell

pytestmark = pytest.mark.kernel

COLUMNS = ["iptables-nft", "iptables-legacy", "userspace"]


def test_the_same_packet_through_several_modes(tmp_path: Path) -> None:
    """Each mode has its column: what was tried, who translated, how often it left the kernel, and a time."""
    file = tmp_path / "compared.json"
    options = read_options(
        "http://10.96.0.42", modes="iptables,userspace", backends="nft,legacy", manifest=None, sender="client",
        client=None, form="json", output=file, rounds=15, sizes="10",
    )  # fmt: skip

    assert compare(options) == 0
    told = json.loads(file.read_text())
    columns = {each["name"]: each for each in told["columns"]}
    assert list(columns) == COLUMNS
    assert told["left_out"] == []
    for each in columns.values():
        assert (each["complete"], each["findings"], each["not_timed"]) == (True, [], "")
        assert each["rules_tried"] > 16
        assert each["first_packet"]["rounds"] + each["first_packet"]["missed"] == 15
        assert 0 < each["first_packet"]["low_us"] <= each["first_packet"]["median_us"]
        assert each["first_packet"]["median_us"] < each["first_packet"]["from_call_us"]
        assert "ended with status 0" in each["outcome"]
    assert [each["left_kernel"] for each in columns.values()] == [0, 0, 1]
    assert [(each["services"], each["column"]["name"]) for each in told["sizes"]] == [(10, name) for name in COLUMNS]


def test_both_back_ends_of_iptables_side_by_side(tmp_path: Path) -> None:
    """The same rules tried in the same order, by either back-end, and each by the name that was typed."""
    file = tmp_path / "compared.json"
    options = read_options(
        'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")', modes="iptables,iptables-legacy", backends="nft",
        manifest=None, sender="client", client=None, form="json", output=file, rounds=2, sizes="",
    )  # fmt: skip

    assert compare(options) == 0
    nft, legacy = json.loads(file.read_text())["columns"]
    assert (nft["name"], legacy["name"]) == ("iptables-nft", "iptables-legacy")
    assert (nft["lookups"], legacy["lookups"], legacy["complete"], legacy["findings"]) == (0, 0, True, [])
    assert [line.split(":")[:2] for line in nft["translations"]] == [
        line.split(":")[:2] for line in legacy["translations"]
    ]
    assert min(nft["first_rules"], legacy["first_rules"]) > 16


def test_a_mode_that_takes_too_long_is_left_out_and_nothing_of_it_stays(tmp_path: Path) -> None:
    """Its time is up while its lab is being built: the answer says so, and the agent is gone."""
    file = tmp_path / "compared.json"
    options = read_options(
        "http://10.96.0.42", modes="nftables", backends="nft", manifest=None, sender="client", client=None,
        form="json", output=file, rounds=2, sizes="", limit=0.3,
    )  # fmt: skip
    before = children()

    assert compare(options) == 1
    told = json.loads(file.read_text())
    assert told["columns"] == []
    assert told["left_out"][0]["reason"].startswith("it was not done within 0.3 s")
    assert children() == before


def children() -> set[str]:
    """Return the children of our process."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_rules_left_in_the_other_back_end_are_found(start: Callable[..., LiveSession]) -> None:
    """A rule of iptables-legacy beside those of iptables-nft is named in the journey, with its node."""
    lab = start("iptables", "nft")
    rule = ("iptables-legacy", "-t", "nat", "-A", "POSTROUTING", "-p", "udp", "--dport", "9", "-j", "ACCEPT")
    assert lab.execute("node-a", rule).status == 0
    journey = tell(lab.send(parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")'), "client"))

    (finding,) = journey.findings
    assert finding.startswith("node-a: IPv4 rules stand in both back-ends at once")
    assert "1 in iptables-legacy (chains: POSTROUTING)" in finding
