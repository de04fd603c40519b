"""The rules browser: what each mode's own commands print, searched, followed, and lit where the packet passed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from kplab.model.journey import Journey
from kplab.scene.listings import Listing, listings
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
from kplab.trace.recording import NodeState, Recording, Save
from kplab.tui.paint.lines import text_of
from kplab.tui.paint.rules import paint_fold, paint_rule
from kplab.tui.rulebook import Row, Rulebook, row_of
from kplab.tui.widgets.rules_lines import RulesLines

if TYPE_CHECKING:
    from tests.tui.conftest import FakeSession, OpenReplay, OpenStage

pytestmark = pytest.mark.tui

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"


def many_rules(services: int) -> str:
    """Return a dump with `services` Services of six endpoints: seven rules and seven chains each."""
    rows = ["*nat", ":PREROUTING ACCEPT [0:0]", ":KUBE-SERVICES - [0:0]"]
    for n in range(services):
        rows += [f":KUBE-SVC-{n:016d} - [0:0]"] + [f":KUBE-SEP-{n:010d}{e:06d} - [0:0]" for e in range(6)]
    for n in range(services):
        rows.append(f"-A KUBE-SERVICES -d 10.{96 + (n >> 16)}.{n >> 8 & 255}.{n & 255}/32 -j KUBE-SVC-{n:016d}")
    for n in range(services):
        rows += [f"-A KUBE-SVC-{n:016d} -j KUBE-SEP-{n:010d}{e:06d}" for e in range(6)]
    return "\n".join([*rows, "COMMIT"]) + "\n"


async def test_28000_rules_open_at_once_and_stay_quick(stage: OpenStage, session: FakeSession) -> None:
    """Opening takes less than 0.3 s of work, and so do a search through all of them and a jump to the last chain."""
    session.rules = many_rules(4000)
    assert session.rules.count("\n-A ") == 28_000
    async with stage() as s:
        begun = time.process_time()
        await s.press("u")
        opened = time.process_time() - begun
        assert "28,000 rules" in s.text()

        await s.press("slash")
        await s.type("10.96.15.159/32")
        begun = time.process_time()
        await s.press("enter")
        searched = time.process_time() - begun
        assert "-d 10.96.15.159/32" in s.text()
        await s.press("escape", "enter")
        assert "-A KUBE-SVC-0000000000003999" in s.text()
        await s.press("backspace", "end", "pagedown")

        assert opened < 0.3
        assert searched < 0.3


async def test_the_rule_of_the_hop_is_marked_in_the_browser(stage: OpenStage, session: FakeSession) -> None:
    """The book follows the packet: ▶ stands at the rule, and the line is shown in full beneath."""
    session.rules = "\n".join(
        ["*nat", ":KUBE-SERVICES - [0:0]", *(f"-A KUBE-SERVICES -d 10.96.9.{n}/32 -j SVC-{n}" for n in range(30))]
    )
    async with stage(live=False) as s:
        await s.press("home", *["right"] * 4, "u")

        assert "▶ -A KUBE-SERVICES -d 10.96.9.11/32 -j SVC-11" in s.text()
        assert s.text().count("10.96.9.11/32") == 2


async def test_g_goes_to_a_chain_and_a_wrong_name_is_told(stage: OpenStage) -> None:
    """By name; one that is not there is said not to be there."""
    async with stage() as s:
        await s.press("u", "g")
        await s.type("KUBE-POSTROUTING")
        await s.press("enter")
        assert "-A KUBE-POSTROUTING -m mark ! --mark" in s.text()
        await s.press("g")
        await s.type("NOPE")
        await s.press("enter")

        assert "! 'NOPE' is nowhere in node-a's tables" in s.text()


def book_of(lines: str) -> Rulebook:
    """Return the book of an iptables-save."""
    return Rulebook(listings([NodeState("node-a", saves=(Save(4, "nft", lines),))])[0])


def recording(name: str) -> Recording:
    """Return a recorded journey's recording."""
    return read_trace(RECORDINGS / f"{name}.kptrace")


def commands(found: tuple[Listing, ...], node: str = "node-a") -> list[str]:
    """Return the commands of one node's listings."""
    return [each.command for each in found if each.node == node]


def hop_number(journey: Journey, **wanted: object) -> int:
    """Return the 0-based number of the first hop with these fields; True asks for any value."""
    for at, hop in enumerate(journey.hops):
        if all(getattr(hop, name) is not None if value is True else getattr(hop, name) == value
               for name, value in wanted.items()):  # fmt: skip
            return at
    raise AssertionError(wanted)


def test_a_book_finds_lines_by_name_and_by_text() -> None:
    """A chain of the same table comes before its namesake in another; a search is bounded, and knows no case."""
    book = book_of("*nat\n:A - [0:0]\n-A A -j B\n-A A -j C\nCOMMIT\n*filter\n-A A -j D\n")

    assert (book.section_line("A"), book.line_of("A", 6), book.line_of("NOPE", 0)) == (2, 6, None)
    assert (book.find("-J c", 0), book.find("-j c", 4), book.find("-j c", 0, 3), book.find("", 0)) == (
        3,
        None,
        None,
        None,
    )
    assert (book.target_of(2), book.target_of(0), book.names) == ("B", None, ("A",))
    assert book.listing.title == "node-a# iptables-nft-save · 3 rules · 2 chains"


def test_elements_are_folded_but_for_those_that_the_packet_touched() -> None:
    """A large map shows its first elements and one line for the rest; what is lit, or was unfolded, is shown."""
    elements = [f'{{"elem": {{"val": "10.0.{n // 256}.{n % 256}"}}}}' for n in range(1000)]
    nft = (
        '{"nftables": [{"table": {"family": "ip", "name": "t"}}, {"set": {"family": "ip", "table": "t", "name": "s", '
        f'"type": "ipv4_addr", "elem": [{", ".join(elements)}]}}}}]}}'
    )
    (listing,) = listings([NodeState("node-a", nft=nft)])
    book = Rulebook(listing)
    first = listing.page.folds[0].start

    rows = book.rows({first + 500})
    hidden = [row for row in rows if row.hidden]
    assert len(rows) < 20
    assert hidden == [Row(first, 500), Row(first + 501, 1000 - 8 - 501)]
    assert rows[row_of(rows, first + 500)] == Row(first + 500)
    assert rows[row_of(rows, first + 700)] == hidden[1]
    assert book.unfold(first + 3)
    assert not book.unfold(first + 3)
    assert len(book.rows()) == len(book.lines) == 1000 + 5


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("lab-nft-curl", ["iptables-nft-save", "ip6tables-nft-save"]),
        ("lab-legacy-udp", ["iptables-legacy-save", "ip6tables-legacy-save"]),
        ("lab-nftables-hairpin", ["nft list table ip kube-proxy", "nft list table ip6 kube-proxy"]),
        ("lab-ipvs-syn", ["ipvsadm -Ln", "ipset list", "iptables-nft-save", "ip6tables-nft-save"]),
        (
            "lab-ebpf-curl",
            [
                f"bpftool map dump pinned /run/kplab/bpf/node-a/cilium_{name}"
                for name in ("lb4_services_v2", "lb4_backends_v3", "lb4_reverse_nat", "lb4_reverse_sk", "lb4_affinity",
                             "lb_affinity_match")
            ],
        ),
    ],
)  # fmt: skip
def test_each_mode_shows_its_own_commands(name: str, own: list[str]) -> None:
    """What the mode writes, as it would be typed on the node; what holds nothing is left out."""
    shown = commands(listings(recording(name).nodes))

    assert [each for each in shown if not each.endswith("tables-nft-save") or each in own] == own


def test_every_node_state_that_has_a_command_is_shown() -> None:
    """Local routes of either family, and the ports of a userspace proxy."""
    state = NodeState(
        "node-a",
        saves=(Save(4, "nft", "*nat\n-A A -j REDIRECT --to-ports 20001\n"),),
        local_routes=("local 10.96.0.42 dev kube-ipvs0 proto kernel scope host", "local ::1 dev lo proto kernel"),
        listening='tcp LISTEN 0 128 *:20001 *:* users:(("kplab-proxy",pid=7,fd=9))\n',
    )

    assert commands(listings([state])) == [
        "ip route show table local", "ip -6 route show table local", "iptables-nft-save", "ss -H -tulnp",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted", "lit"),
    [
        (
            "lab-nftables-hairpin",
            {"chain": "services", "lookup": True},
            (
                "▶                      10.96.0.42 . tcp . 80 : goto service-AXK6CI2C-demo/web/tcp/http,",
                "▶         ip daddr . meta l4proto . th dport vmap @service-ips",
            ),
        ),
        ("lab-ipvs-syn", {"ipvs": True}, ("▶ TCP  10.96.0.42:80 rr", "▶   -> 10.244.2.10:8080             Masq")),
        ("lab-ebpf-curl", {"kind": "lookup"}, ("▶ key: 0a 60 00 2a … # address 10.96.0.42, dport 80, backend_slot 0",)),
        ("lab-userspace-curl", {"chain": "KUBE-PORTALS-CONTAINER"}, ("▶ -A KUBE-PORTALS-CONTAINER -d 10.96.0.42/32",)),
    ],
)
async def test_what_the_packet_touched_is_lit_in_every_mode(
    replay: OpenReplay, name: str, wanted: dict[str, object], lit: tuple[str, ...]
) -> None:
    """The rule, the element that answered, the virtual server and the real one; ▸ stays where it was before."""
    told = recording(name)
    async with replay(told) as s:
        s.screen.action_seek(hop_number(tell(told), **wanted))
        await s.press("u")
        lines = s.screen.query_one(RulesLines)
        marked = [text_of(lines.row(at, 140)) for at in range(lines.virtual_size.height)]

        for one in lit:
            assert any(row.startswith(one) for row in marked), (one, [row for row in marked if "▶" in row])
        assert sum(row.startswith("▶") for row in marked) == len(lit)
        shown = [row.strip() for row in s.text().splitlines()]
        assert any(row.startswith("▶") and one.split()[1] in row for row in shown for one in lit)

        await s.press("right", "right", "right", "right", "right")
        assert any(row.startswith("▸") for row in [text_of(lines.row(at, 140)) for at in range(len(marked))])


async def test_the_book_follows_a_rule_to_the_set_that_it_asks_and_back(replay: OpenReplay) -> None:
    """From iptables' `--match-set` to `ipset list`; a search finds what another command prints; o chooses one."""
    async with replay(recording("lab-ipvs-syn")) as s:
        await s.press("u", "slash")
        await s.type("--match-set KUBE-CLUSTER-IP dst,dst")
        await s.press("enter", "escape")
        assert "node-a# iptables-nft-save" in s.text()

        await s.press("enter")
        assert "node-a# ipset list" in s.text()
        assert "Name: KUBE-CLUSTER-IP" in s.text()
        await s.press("backspace")
        assert "node-a# iptables-nft-save" in s.text()

        await s.press("o", "home", "enter")
        await s.settle()
        assert "node-a# ipvsadm -Ln" in s.text()
        await s.press("g")
        await s.type("KUBE-LOOP-BACK")
        await s.press("enter")
        assert "Name: KUBE-LOOP-BACK" in s.text()
        await s.press("g")
        await s.type("NOPE")
        await s.press("enter")
        assert "! 'NOPE' is nowhere in node-a's tables" in s.text()


async def test_a_folded_map_is_unfolded_by_enter_and_searched_whole(replay: OpenReplay) -> None:
    """A search goes into what is folded away, and unfolds it; ⏎ on the fold does too."""
    told = recording("lab-nftables-hairpin")
    elements = ", ".join(f'"10.7.{n // 256}.{n % 256}"' for n in range(600))
    head = '"family": "ip", "table": "kube-proxy", "name": "many", "type": "ipv4_addr"'
    many = f'{{"set": {{{head}, "elem": [{elements}]}}}}'
    nft = told.nodes[0].nft.replace('"nftables": [', f'"nftables": [{many}, ', 1)
    grown = msgspec.structs.replace(told, nodes=(msgspec.structs.replace(told.nodes[0], nft=nft), *told.nodes[1:]))
    async with replay(grown) as s:
        await s.press("home", "u", "g")
        await s.type("many")
        await s.press("enter", "pagedown")
        assert "… 592 more  ⏎ unfolds" in s.text()

        await s.press("enter")

        assert "unfolds" not in s.text()
        assert "10.7.0.9," in s.text()
    async with replay(grown) as s:
        await s.press("home", "u", "slash")
        await s.type("10.7.2.80")
        await s.press("enter", "escape")

        assert "10.7.2.80," in s.text()
        assert "unfolds" not in s.text()


def test_lines_of_every_kind_are_painted() -> None:
    """Cut to the width; a comment or a map's bytes give way to what says more."""
    long = '-A KUBE-SVC-X -d 10.96.0.42/32 -m comment --comment "a comment that is long" -j KUBE-MARK-MASQ'
    bpf = "key: 0a 60 00 2a  value: 01 00 00 00 00 00 00 0e  # address 10.96.0.42 -> backend_id 1"

    def painted(text: str, width: int) -> str:
        return text_of(paint_rule(text, width, cursor=False, touch="", found=False))

    assert painted(long, 80) == "  -A KUBE-SVC-X -d 10.96.0.42/32 … -j KUBE-MARK-MASQ"
    assert painted(bpf, 70) == "  key: 0a 60 00 2a … # address 10.96.0.42 -> backend_id 1"
    assert painted(bpf, 50) == "  # address 10.96.0.42 -> backend_id 1"
    assert painted("    chain services {", 40) == "      chain services {"
    assert text_of(paint_rule("x", 9, cursor=True, touch="now", found=True)) == "▶ x"
    assert text_of(paint_rule("x", 9, cursor=False, touch="", found=True)) == "· x"
    assert "1,000 more" in text_of(paint_fold(1000, 60, cursor=False))


def test_rules_lines_start_without_a_book() -> None:
    """An empty browser paints nothing, and breaks nothing."""
    assert RulesLines().row(0, 80) == ()
