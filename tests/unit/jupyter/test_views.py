"""A journey's other forms: walks, tables, chains, conntrack."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from kplab.errors import NotInstalledError, UnknownNameError, UsageError
from kplab.jupyter.chains import find_chains, graph_of, light
from kplab.jupyter.conntrack import read_conntrack
from kplab.jupyter.graph import ChainGraph
from kplab.jupyter.installed import require
from kplab.jupyter.rules import rules_of_node
from kplab.jupyter.shown import JourneyView
from kplab.model.journey import Journey
from kplab.trace.file import read_trace

pytestmark = pytest.mark.unit

View = Callable[[str], JourneyView]


def test_a_walk_has_every_rule_that_was_tried(view: View) -> None:
    """`walk` numbers the rules from 1 without a gap, and only the last of a jump's visit matched."""
    walk = view("lab-nft-curl").walk("KUBE-SERVICES")

    assert [tried.number for tried in walk] == list(range(1, len(walk) + 1))
    assert [tried.matched for tried in walk] == [False] * (len(walk) - 1) + [True]
    assert all(tried.because for tried in walk)
    assert walk.rules[-1].because.startswith("jump KUBE-SVC-")


def test_a_walk_is_folded_where_it_shows_itself(view: View) -> None:
    """Text and HTML have the first three misses, a count of the others, and the match."""
    walk = view("lab-nft-curl").walk("KUBE-SERVICES")

    assert f"… {len(walk) - 4} more rules that did not match" in repr(walk)
    assert repr(walk).count("✗") == walk._repr_html_().count("✗") == 3
    assert repr(walk).count("✓") == walk._repr_html_().count("✓") == 1


def test_a_chain_that_was_not_walked_is_named(view: View) -> None:
    """The hint lists those that were."""
    with pytest.raises(UnknownNameError, match="KUBE-SERVICES"):
        view("lab-nft-curl").walk("KUBE-NODEPORTS")


def test_a_table_has_a_row_for_every_hop(view: View) -> None:
    """`to_frame` keeps order, addresses and the number of rules passed over."""
    journey = view("lab-nft-curl")
    frame = journey.to_frame()

    assert list(frame["n"]) == [hop.n for hop in journey.hops]
    assert list(frame["skipped"]) == [len(hop.skipped) for hop in journey.hops]
    dnat = frame[frame["kind"] == "DNAT"].iloc[0]
    assert dnat["dst_before"] != dnat["dst_after"]


def test_what_is_not_installed_is_named_with_the_command() -> None:
    """A missing package is an error with `pip install`, not an ImportError."""
    with pytest.raises(NotInstalledError, match=r"pandas is not installed\n  pip install 'kplab\[notebook\]'"):
        require("make a table", "pandas", has=lambda name: None)


def test_a_journey_is_saved_by_its_ending(view: View, tmp_path: object) -> None:
    """.kptrace replays to the same events, .json is the journey; another ending is refused."""
    journey = view("lab-nft-curl")
    kept = journey.save(f"{tmp_path}/j.kptrace")
    told = journey.save(f"{tmp_path}/j.json")

    assert read_trace(kept).events == journey.recording.events
    assert msgspec.json.decode(told.read_bytes(), type=Journey) == journey.journey
    with pytest.raises(UsageError, match=r"\.kptrace"):
        journey.save("j.doc")


@pytest.mark.parametrize(
    "name", ["lab-nft-curl", "lab-legacy-nodeport-other", "lab-nftables-curl", "lab-ipvs-nodeport"]
)
def test_the_lit_way_is_the_chains_that_were_walked(view: View, name: str) -> None:
    """Every chain of the journey's hops on that node is lit, and no other; each lit edge is a jump that was made."""
    journey = view(name)
    state = next(s for s in journey.recording.nodes if any(h.node == s.node and h.chain for h in journey.hops))
    hops = [hop for hop in journey.hops if hop.node == state.node and hop.chain]
    graph = graph_of(find_chains(state, 4, journey.recording.facts.backend))
    light(graph, hops)

    walked = {(hop.table or "", hop.chain) for hop in hops}
    jumped = {(hop.verdict or "").partition(" ")[2] for hop in hops if (hop.verdict or "").startswith(("jump", "goto"))}
    lit_chains = {place for place, told in graph.nodes(data=True) if told["lit"] and told["chain"]}
    assert {place[1] for place in lit_chains} == {chain for _, chain in walked} | jumped
    assert lit_chains >= {place for place in walked if place in graph}
    for source, target, edge in graph.edges(data=True):
        if edge["lit"] and graph.nodes[target]["chain"]:
            assert source in walked
            assert target[1] in jumped


def test_the_drawing_folds_what_was_not_taken(view: View) -> None:
    """With a journey the picture has its way and a few neighbours; `whole` has every chain that leads somewhere."""
    journey = view("lab-nft-curl")
    state = journey.recording.nodes[0]
    graph = graph_of(find_chains(state, 4, "nft"))
    light(graph, [hop for hop in journey.hops if hop.node == state.node])
    part, whole = ChainGraph(state.node, graph).dot(), ChainGraph(state.node, graph, whole=True).dot()

    assert "more" in part
    assert "KUBE-SEP-" in part
    assert "more" not in whole
    assert whole.count(" -> ") > 2 * part.count(" -> ")


def test_rules_are_what_the_nodes_commands_print(view: View) -> None:
    """Each command's output by its command line; `find` keeps lines, `of` keeps commands."""
    rules = rules_of_node(view("lab-nftables-curl").recording.nodes[0])

    assert "nft list table ip kube-proxy" in rules.outputs
    assert all("10.96.0.42" in line for line in rules.find("10.96.0.42"))
    assert list(rules.of("nft list table ip ").outputs) == ["nft list table ip kube-proxy"]
    with pytest.raises(UnknownNameError, match="nft list table ip6 kube-proxy"):
        rules.of("ipvsadm")


CONNTRACK = """\
tcp 6 118 TIME_WAIT src=10.244.1.5 dst=10.96.0.42 sport=375 dport=80 src=10.244.1.11 dst=10.244.1.5 sport=8080 \
dport=375 [ASSURED] mark=0 use=1 id=2564933854
udp 17 29 src=10.244.1.5 dst=10.244.1.20 sport=5353 dport=53 src=10.244.1.20 dst=10.244.1.5 sport=53 dport=5353 \
mark=0 use=1 id=7
conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.
"""


def test_a_conntrack_entry_has_both_tuples() -> None:
    """What was asked and what answers; NAT is where the second is not the first turned around."""
    table = read_conntrack("node-a", CONNTRACK.splitlines())
    nat, plain = table

    assert (nat.src, nat.dst, nat.reply_src, nat.reply_dst) == (
        "10.244.1.5:375", "10.96.0.42:80", "10.244.1.11:8080", "10.244.1.5:375",
    )  # fmt: skip
    assert (nat.state, nat.id, nat.rewritten) == ("TIME_WAIT", 2564933854, True)
    assert (plain.proto, plain.state, plain.rewritten) == ("udp", None, False)
    assert list(table.to("10.96.0.42")) == list(table.to("10.96.0.42:80")) == [nat]
