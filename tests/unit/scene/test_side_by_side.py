"""Two modes side by side: which hop stands beside which, what is counted by then, and what is said to differ."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.scene.differences import difference
from kplab.scene.moments import InStep
from kplab.scene.side_by_side import Row, Story, align, row_of
from kplab.trace.compare import column, name_of
from kplab.trace.compare_tally import Tally, tallies, total
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

pytestmark = pytest.mark.unit

DATA = Path(__file__).parents[2] / "data" / "recordings"
CURLS = ("lab-nft-curl", "lab-nftables-curl", "lab-ebpf-curl", "lab-userspace-curl", "lab-ipvs-syn")


@cache
def story(name: str) -> Story:
    """A recorded mode's story."""
    recording = read_trace(DATA / f"{name}.kptrace")
    facts = recording.facts
    return Story(name_of(facts.mode, facts.backend), facts.sandbox, tell(recording), recording.topology)


def rows(left: str, right: str) -> tuple[Row, ...]:
    """Both aligned."""
    return align(story(left).journey, story(right).journey)


def beside(left: str, right: str, what: str) -> tuple[str, str, Row]:
    """What stands in both columns in the first row of that name: "node-a KUBE-SERVICES", "" for nothing."""
    row = next(row for row in rows(left, right) if row.what == what)
    return _told(story(left), row.left), _told(story(right), row.right), row


def _told(one: Story, index: int | None) -> str:
    return "" if index is None else f"{one.journey.hops[index].node} {one.journey.hops[index].kind}"


def said(left: str, right: str, what: str, nth: int = 0) -> str:
    """What is said to differ in the nth row of that name."""
    row = [row for row in rows(left, right) if row.what == what][nth]
    return difference(row, story(left), story(right)).text


@pytest.mark.parametrize("right", CURLS)
@pytest.mark.parametrize("left", CURLS)
def test_every_hop_is_in_one_row_in_its_order(left: str, right: str) -> None:
    """None is lost, doubled or moved; `at` is the latest hop of each."""
    aligned = rows(left, right)

    assert [row.left for row in aligned if row.left is not None] == list(range(len(story(left).journey.hops)))
    assert [row.right for row in aligned if row.right is not None] == list(range(len(story(right).journey.hops)))
    assert all(row.left is not None or row.right is not None for row in aligned)
    assert aligned[-1].at == (len(story(left).journey.hops) - 1, len(story(right).journey.hops) - 1)
    assert all(a.at[0] <= b.at[0] and a.at[1] <= b.at[1] for a, b in pairwise(aligned))


def test_a_journey_beside_itself_differs_nowhere() -> None:
    """Each hop stands beside itself, and nothing is said to differ."""
    one = story("lab-nft-curl")
    aligned = align(one.journey, one.journey)

    assert all(row.left == row.right for row in aligned)
    assert all(difference(row, one, one).same for row in aligned)


def test_a_list_walked_stands_beside_a_lookup() -> None:
    """KUBE-SERVICES of iptables mode beside nftables' map of Services, and the line says what each cost."""
    assert said("lab-nft-curl", "lab-nftables-curl", "nat rules at PREROUTING", 1) == (
        "iptables-nft: 16 rules | nftables: 2 rules, 1 lookup among 19"
    )
    assert "goes on" in said("lab-nft-curl", "lab-nftables-curl", "nat rules at PREROUTING", 3)


def test_the_same_thing_stands_beside_itself() -> None:
    """DNAT beside DNAT, delivery beside delivery, reverse NAT beside reverse NAT."""
    for what, place in (
        ("DNAT", "node-a DNAT"),
        ("reverse NAT", "node-a reverse NAT"),
        ("delivered", "web-2 delivered"),
    ):
        assert beside("lab-nft-curl", "lab-nftables-curl", what)[:2] == (place, place)


def test_what_only_one_mode_does_has_nothing_beside_it() -> None:
    """The socket call of ebpf mode comes before there is a packet; its packets then meet no DNAT."""
    left, right, row = beside("lab-nft-curl", "lab-ebpf-curl", "socket call")
    assert (left, right, row.at[0]) == ("", "client socket", -1)
    assert beside("lab-nft-curl", "lab-ebpf-curl", "DNAT")[1] == ""
    assert "before there is a packet" in said("lab-nft-curl", "lab-ebpf-curl", "socket call")
    assert said("lab-nft-curl", "lab-ebpf-curl", "PREROUTING") == (
        "destination: iptables-nft: 10.96.0.42:80 | ebpf: 10.244.1.11:8080"
    )


def test_where_ways_part_both_hooks_are_named() -> None:
    """In userspace and ipvs mode packets go through INPUT; IPVS's choice stands beside nftables' DNAT."""
    assert said("lab-nft-curl", "lab-userspace-curl", "FORWARD | INPUT").startswith(
        "here they part: iptables-nft: FORW"
    )
    assert beside("lab-ipvs-syn", "lab-nftables-curl", "IPVS | DNAT")[:2] == ("node-a IPVS", "node-a DNAT")
    assert any(row.what == "filter rules at OUTPUT | FORWARD" for row in rows("lab-ipvs-syn", "lab-nftables-curl"))


def test_nat_never_stands_beside_filter() -> None:
    """Rules for one purpose are compared with rules for the same one."""
    assert [
        row.what for row in rows("lab-ipvs-syn", "lab-nftables-curl") if "nat" in row.what and "filter" in row.what
    ] == []


def test_an_askers_packet_stands_beside_the_askers() -> None:
    """The connection that the proxy process opens of its own has nothing beside it."""
    aligned = rows("lab-nft-curl", "lab-userspace-curl")
    hops = story("lab-userspace-curl").journey.hops
    second = next(hop.packet for hop in hops if hop.kind == "proxy")
    own = [row for row in aligned if row.right is not None and hops[row.right].packet == second]

    assert own
    assert all(row.left is None for row in own)


def test_beside_nothing_a_journey_goes_alone() -> None:
    """A mode that failed has no hops; the other's are all there."""
    nothing = Journey(mode="ipvs", packet="", sender="", complete=True, lost=0, outcome="", hops=())
    step = InStep(story("lab-nft-curl"), Story("ipvs", "", nothing, Topology((), ())))

    assert len(step.rows) == len(story("lab-nft-curl").journey.hops)
    moment = step.moment(4)
    assert moment is not None
    assert (moment.right.hop, moment.right.acting, moment.right.tally) == (None, False, Tally())
    assert InStep(*[Story("a", "", nothing, Topology((), ()))] * 2).moment(0) is None


def test_counts_end_at_the_tables_numbers() -> None:
    """The running counts grow, and the last ones are the column's of `kplab compare`."""
    for name in CURLS:
        recording = read_trace(DATA / f"{name}.kptrace")
        told = column(recording, story(name).journey, None)
        last = total(story(name).journey.hops)
        assert (last.rules, last.lookups, last.conntrack, last.ipvs) == (
            told.rules_tried, told.lookups, told.conntrack_entries, told.ipvs_entries
        )  # fmt: skip
        counted = tallies(story(name).journey.hops)
        assert all(a.rules <= b.rules and a.rewritten <= b.rewritten for a, b in pairwise(counted))


def test_the_next_difference_is_found_both_ways() -> None:
    """Rows that are the same in both are passed over; at the last one it stays."""
    step = InStep(story("lab-nft-curl"), story("lab-nftables-curl"))
    first = step.next_difference(0, 1)

    moment = step.moment(first)
    assert moment is not None
    assert not moment.difference.same
    assert step.rows[first].what == "filter rules at PREROUTING"
    assert step.next_difference(first, -1) == first
    assert step.next_difference(step.next_difference(first, 1), -1) == first


def test_the_place_is_found_again_by_a_hop() -> None:
    """After another mode was chosen for one column, the other column's hop is where it was."""
    aligned = rows("lab-nft-curl", "lab-ebpf-curl")
    number = next(n for n, row in enumerate(aligned) if row.left == 7)

    assert row_of(aligned, 0, 7) == number


def test_evidence_that_differs_is_said() -> None:
    """The same step, seen in one and rebuilt in the other, is a difference."""
    one = story("lab-nft-curl")
    hops = tuple(msgspec.structs.replace(hop, evidence="rebuilt") for hop in one.journey.hops)
    other = Story("other", "", msgspec.structs.replace(one.journey, hops=hops), one.topology)
    row = align(one.journey, other.journey)[0]

    assert difference(row, one, other).text == "iptables-nft: seen, other: rebuilt, the step is the same"
