"""The view of lookups and of IPVS's choice; colours for every style."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from textual.theme import Theme

from kplab.model.bpf_maps import SERVICES
from kplab.model.journey import IpvsChoice, Journey, Lookup, RealServer
from kplab.scene.frame import Asked
from kplab.scene.instead import Instead
from kplab.scene.lookups import key_fields
from kplab.trace.file import read_trace
from kplab.tui.paint.lines import STYLE_NAMES, plain_text
from kplab.tui.paint.lookup import paint_asked
from kplab.tui.palette import DARK, LIGHT, style_of

if TYPE_CHECKING:
    from tests.tui.conftest import OpenReplay, OpenStage

pytestmark = pytest.mark.tui

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
LOOKUP = Lookup(
    "service-ips",
    "ip daddr . meta l4proto . th dport = 10.96.0.42 . tcp . 80",
    "10.96.0.42 . tcp . 80 : goto service-XRY76EGR-demo/web/tcp/http",
    24_000,
)
CHOICE = IpvsChoice(
    "TCP 10.96.0.42:80", "rr", (RealServer("10.244.1.10:8080", 1, 2, 2), RealServer("10.244.2.10:8080", 1, 1, 2)),
    "10.244.2.10:8080", "TCP 01:00 SYN_RECV 10.244.1.5:40112 10.96.0.42:80 10.244.2.10:8080",
)  # fmt: skip


def test_a_key_is_put_together_field_by_field() -> None:
    """Map, count, each field with its value, and the element that answered, whole."""
    asked = Asked("node-a · PREROUTING", LOOKUP, key_fields(LOOKUP.key), None, here=True)

    assert plain_text(paint_asked(asked, 80)) == (
        "node-a · PREROUTING\n"
        "service-ips   1 lookup among 24,000 elements\n"
        "key     ip daddr      10.96.0.42\n"
        "      . meta l4proto  tcp\n"
        "      . th dport      80\n"
        "answer  ✓ → goto service-XRY76EGR-demo/web/tcp/http\n"
        "element 10.96.0.42 . tcp . 80 : goto service-XRY76EGR-demo/web/tcp/http"
    )


def test_a_key_without_an_element_is_told_in_words() -> None:
    """That there is no answer is an answer."""
    missed = Lookup("no-endpoint-services", "ip daddr = 10.96.0.42", None, 3)
    asked = Asked("node-a", missed, key_fields(missed.key), None, here=False)
    shown = plain_text(paint_asked(asked, 60))

    assert "✗ no element has this key" in shown
    assert shown.startswith("last lookup: node-a")


def test_ipvs_candidates_stand_in_a_table_the_chosen_one_marked() -> None:
    """Weights, connections before and after; only what changed shows both."""
    rows = plain_text(paint_asked(Asked("node-a · INPUT", None, (), CHOICE, here=True), 90)).splitlines()

    assert rows[1] == "TCP 10.96.0.42:80   scheduler rr"
    assert rows[3].split() == ["10.244.1.10:8080", "1", "2", "0"]
    assert rows[4].split() == ["✓", "10.244.2.10:8080", "1", "1", "⇒", "2", "0", "chosen"]
    assert rows[5].startswith("connection  TCP 01:00 SYN_RECV")


def test_a_bpf_key_has_its_bytes_beside_each_field() -> None:
    """As `bpftool map dump` prints them; an element that is the answer is not said twice."""
    lookup = Lookup(SERVICES, "address 10.96.0.42, dport 80, backend_slot 2, proto TCP", "backend_id 2", 92)
    asked = Asked("client · cgroup/connect4", lookup, key_fields(lookup.key, lookup.map), None, here=True)

    assert plain_text(paint_asked(asked, 80, Instead(16, "KUBE-SERVICES", 20))).splitlines() == [
        "client · cgroup/connect4",
        "cilium_lb4_services_v2   1 lookup among 92 elements",
        "iptables mode  16 rules tried to find it, of 20 in KUBE-SERVICES",
        "key     address       10.96.0.42  0a 60 00 2a",
        "      . dport         80          00 50",
        "      . backend_slot  2           02 00",
        "      . proto         TCP         06",
        "answer  ✓ backend_id 2",
    ]


@pytest.mark.parametrize(
    ("name", "number", "beside"),
    [
        ("lab-nftables-hairpin", 8, "16 rules tried to find it, of 20 in KUBE-SERVICES"),
        ("lab-nftables-nodeport-other", 11, "rules tried to find it, all 20 of KUBE-SERVICES, then KUBE-NODEPORTS"),
        ("lab-ipvs-syn", 17, "1 lookup among 31 virtual servers   scheduler rr"),
        ("lab-ebpf-curl", 2, "16 rules tried to find it, of 20 in KUBE-SERVICES"),
    ],
)
async def test_a_lookup_stands_beside_what_iptables_mode_would_have_tried(
    replay: OpenReplay, name: str, number: int, beside: str
) -> None:
    """In every mode that asks once; the numbers come from the recording's own manifest."""
    async with replay(read_trace(RECORDINGS / f"{name}.kptrace")) as s:
        s.screen.action_seek(number - 1)
        await s.press("l")

        assert beside in s.text()


async def test_the_tab_is_there_only_where_something_was_asked(stage: OpenStage, journey: Journey) -> None:
    """`l` opens it; a journey without lookups has no tab, and the key says why."""
    asking = msgspec.structs.replace(journey.hops[4], kind="IPVS", ipvs=CHOICE, lookup=LOOKUP, rule=None, skipped=())
    told = msgspec.structs.replace(journey, hops=(*journey.hops[:4], asking, *journey.hops[5:]))
    async with stage(live=False) as s:
        await s.press("l")
        assert s.notices() == ["No map and no IPVS was asked in this journey."]
        assert "lookup  " not in s.text()
    async with stage(live=False, journeys=(told,)) as s:
        assert "  lookup  " in s.text()
        await s.press("home", "right", "l")
        assert "No map, set or IPVS was asked up to this hop." in s.text()

        await s.press("right", "right", "right")

        for part in ("[ lookup ]", "1 lookup among 24,000 elements", "✓ 10.244.2.10:8080", "● IPVS"):
            assert part in s.text(), part
        await s.press("y")
        assert "scheduler rr" in s.text()


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=["dark", "light"])
def test_every_style_has_its_ink(theme: Theme) -> None:
    """In both themes; what is told apart has looks of its own."""
    variables = {"foreground": theme.foreground or "", "primary": theme.primary, **theme.variables}

    inks = {name: style_of(name, variables) for name in STYLE_NAMES}

    assert len({inks[name] for name in ("request", "reply", "match", "wrong", "changed", "muted", "plain")}) == 7
