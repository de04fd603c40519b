"""Comparisons made of recorded journeys: what is counted, how it is written, and what is found besides."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from kplab.trace.both_backends import both_backends
from kplab.trace.compare import Column, Comparison, LeftOut, Point, clock_of, column, timing
from kplab.trace.compare_svg import comparison_svg
from kplab.trace.compare_text import comparison_lines
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
from kplab.trace.recording import NodeState, Save

pytestmark = pytest.mark.unit

DATA = Path(__file__).parents[2] / "data" / "recordings"


def recorded(name: str) -> Column:
    """The column of a recorded journey, with made-up times."""
    recording = read_trace(DATA / f"{name}.kptrace")
    return column(recording, tell(recording), timing([10_000, 20_000, 30_000, 40_000, 50_000], 1))


def comparison(*columns: Column, sizes: tuple[Point, ...] = ()) -> Comparison:
    """These columns side by side."""
    return Comparison(
        packet="curl http://10.96.0.42",
        sender="client",
        columns=columns,
        left_out=(LeftOut("ipvs", "no such\nkernel"),),
        sizes=sizes,
    )


def test_iptables_mode_rewrites_in_the_kernel() -> None:
    """One translation each way, one conntrack entry on the node, and no process in the way."""
    found = recorded("lab-nft-other-node")

    assert (found.name, found.left_kernel, found.lookups, found.ipvs_entries) == ("iptables-nft", 0, 0, 0)
    assert [line.split(":")[0:2] for line in found.translations] == [
        ["request", " DNAT at node-a PREROUTING"],
        ["reply", " reverse NAT at node-a POSTROUTING"],
    ]
    assert found.rules_tried > 16
    assert found.conntrack_entries == 2
    assert found.delivered_to == "web-3"


def test_userspace_mode_leaves_the_kernel() -> None:
    """Two connections on the same node: two entries, and one process between them."""
    found = recorded("lab-userspace-curl")

    assert (found.name, found.left_kernel) == ("userspace", 1)
    assert found.conntrack_entries >= 2
    assert any("proxy at node-a" in line for line in found.translations)


def test_each_rule_is_counted_once() -> None:
    """Rules tried are those that matched and those passed over: the 16 of KUBE-SERVICES are in there once."""
    recording = read_trace(DATA / "lab-nft-other-node.kptrace")
    journey = tell(recording)
    walked = [hop for hop in journey.hops if hop.kind in ("rule", "chain")]
    matched = sum(hop.rule is not None for hop in walked)
    passed_over = sum(len(hop.skipped) for hop in walked)

    assert column(recording, journey, None).rules_tried == matched + passed_over


def test_times_have_a_median_and_quartiles_in_microseconds() -> None:
    """Stamps are nanoseconds; fewer than two rounds say nothing."""
    time = timing([10_000, 20_000, 30_000, 40_000, 50_000], 1)

    assert time is not None
    assert (time.rounds, time.low_us, time.median_us, time.high_us, time.missed) == (5, 20.0, 30.0, 40.0, 1)
    assert timing([10_000], 9) is None


def test_the_text_has_a_column_a_mode_and_names_what_was_left_out() -> None:
    """A table, translations, and a line for a mode that could not run."""
    lines = list(comparison_lines(comparison(recorded("lab-nft-curl"), recorded("lab-userspace-curl"))))

    assert lines[2].split() == ["iptables-nft", "userspace"]
    assert "left the kernel" in "\n".join(lines)
    assert "  ipvs: no such kernel" in lines
    assert not any("different sandboxes" in line for line in lines)


def test_six_columns_are_readable_in_80_cells() -> None:
    """The table is parted, its labels said again; no line is longer, and no address is broken."""
    six = [
        replace(recorded("lab-nft-curl"), name=f"iptables-mode-{n}", outcome="10.96.0.42:80 " * 20) for n in range(6)
    ]
    lines = list(comparison_lines(comparison(*six), 80))

    assert max(len(line) for line in lines) <= 80
    assert [line for line in lines if line.startswith("first packet: rules tried")] != []
    assert sum(line.startswith("first packet: rules tried") for line in lines) == 2
    assert sum(line.startswith("kernel") for line in comparison_lines(comparison(*six), 200)) == 1
    assert all(f"iptables-mode-{n}" in "\n".join(lines) for n in range(6))
    assert "\n".join(lines).count("10.96.0.42:80") >= 120


def test_the_time_from_the_call_stands_beside_the_wires() -> None:
    """What a mode does in connect() is in it; a comparison made without has none."""
    with_call = timing([10_000, 20_000, 30_000], 0, [15_000, 25_000, 35_000])

    assert with_call is not None
    assert (with_call.median_us, with_call.from_call_us) == (20.0, 25.0)
    assert recorded("lab-nft-curl").first_packet is not None
    lines = "\n".join(comparison_lines(comparison(replace(recorded("lab-nft-curl"), first_packet=with_call))))
    assert "25.0 us" in lines


def test_what_was_done_before_an_interruption_says_so() -> None:
    """Nobody takes a part for the whole."""
    lines = list(comparison_lines(replace(comparison(recorded("lab-nft-curl")), interrupted=True)))

    assert lines[1] == "INTERRUPTED: this is what was done until then"


def test_times_of_a_guest_are_never_to_be_divided() -> None:
    """A column from another kernel's clock is marked, in text and by a panel of its own in the chart."""
    here = recorded("lab-nft-curl")
    guest = replace(here, name="ipvs", sandbox="microvm (TCG)")
    sizes = tuple(Point(services=n, column=each) for n in (10, 100) for each in (here, guest))

    assert any("different sandboxes" in line for line in comparison_lines(comparison(here, guest)))
    chart = comparison_svg(comparison(here, guest, sizes=sizes))
    assert "(microvm (TCG))" in chart
    assert chart.count("from the guest: never in one ratio with the others") == 1
    assert f"({here.sandbox})" in chart
    assert clock_of("namespaces, as root") == clock_of("namespaces")


def test_the_chart_is_well_formed_and_has_a_point_for_each_size() -> None:
    """An SVG: for each mode and size a point in every panel that has something to show."""
    here = recorded("lab-nft-curl")
    sizes = tuple(Point(services=n, column=replace(here, first_rules=n)) for n in (10, 100, 1000))
    root = ElementTree.fromstring(comparison_svg(comparison(here, sizes=sizes)))  # noqa: S314 - our own text

    assert len(root.findall(".//{*}circle")) == 6
    assert "iptables-nft 1,000 rules" in ElementTree.tostring(root, encoding="unicode")
    lines = list(comparison_lines(comparison(here, sizes=sizes)))
    assert [line.split()[3] for line in lines if line.split()[1:3] == ["rules", "tried"]] == ["10", "100", "1000"]


def test_rules_in_both_back_ends_are_named() -> None:
    """Only where both have rules of one family; chains alone are not rules."""
    nft = Save(4, "nft", "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j KUBE-SERVICES\nCOMMIT\n")
    empty = Save(4, "legacy", "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n")
    left = Save(4, "legacy", "*nat\n:PREROUTING ACCEPT [0:0]\n-A KUBE-SEP-X -j DNAT\n-A PREROUTING -j X\nCOMMIT\n")

    assert both_backends([NodeState(node="node-a", saves=(nft, empty))]) == ()
    (found,) = both_backends([NodeState(node="node-a", saves=(nft, left)), NodeState(node="node-b", saves=(nft,))])
    assert found.startswith("node-a: IPv4 rules stand in both back-ends at once, 1 in iptables-nft and 2 in iptables-")
    assert "KUBE-SEP-X, PREROUTING" in found
