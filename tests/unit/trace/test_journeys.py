"""Journeys of real packets, told from recordings, and held line by line to what they were when somebody read them.

The recordings were made in the lab with lessons/cluster.yaml. After a change that is meant, write the golden text anew
with `KPLAB_WRITE_GOLDEN=1 pytest tests/unit/trace/test_journeys.py`, and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import jsonschema
import msgspec
import pytest

from kplab.model.journey import Flow, Hop, Journey
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
from kplab.trace.recording import Recording
from kplab.trace.schema import journey_schema, journey_schema_text

pytestmark = pytest.mark.unit

DATA = Path(__file__).parents[2] / "data" / "recordings"
GOLDEN = sorted(DATA.glob("lab-*.kptrace"))
ALL = sorted([*DATA.glob("*.json"), *GOLDEN])
TUPLE = {"src", "dst", "sport", "dport"}
SCHEMA = Path(__file__).parents[3] / "docs" / "journey.schema.json"

Load = Callable[[str], Recording]


def lines(journey: Journey) -> Iterator[str]:
    """Yield a journey, one line a hop: packet, direction, place, what, evidence, what changed, and the sentence."""
    yield f"{journey.packet} from {journey.sender} ({journey.mode}, {journey.backend})"
    for hop in journey.hops:
        yield line(hop)
    yield f"outcome: {journey.outcome}"
    yield f"complete: {journey.complete}, lost: {journey.lost}, disagreements: {len(journey.disagreements)}"


def line(hop: Hop) -> str:
    """Return one hop's line."""
    where = " ".join(part for part in (hop.table, hop.chain) if part) or hop.hook or hop.interface or ""
    rule = f" rule {hop.rule_number} of {hop.tried} tried" if hop.rule_number else ""
    changed = "" if hop.before == hop.after else f" | {flow(hop.before)} => {flow(hop.after)}"
    entry = f" | conntrack {hop.conntrack.change} {hop.conntrack.state or ''}".rstrip() if hop.conntrack else ""
    arrow = ">" if hop.direction == "request" else "<"
    verdict = f" {hop.verdict}" if hop.verdict else ""
    head = f"{hop.n:3} {hop.packet}{arrow} {hop.node:8} {'  ' * hop.depth}{hop.kind}: {where}{rule}{verdict}"
    return f"{head} [{hop.evidence}]{changed}{entry} | {hop.text}"


def flow(ends: Flow) -> str:
    """Return both ends and the mark."""
    return f"{ends.src} → {ends.dst}" + (f" mark {ends.mark:#x}" if ends.mark else "")


@cache
def told(path: Path) -> tuple[Recording, Journey]:
    """Read a recording of either form, and tell it, once for all tests."""
    if path.suffix == ".kptrace":
        recording = read_trace(path)
    else:
        recording = msgspec.json.decode(path.read_bytes(), type=Recording)
    return recording, tell(recording)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_journeys(path: Path) -> None:
    """Each hop of each kept recording is told as it was read and found right."""
    text = "\n".join(lines(told(path)[1])) + "\n"
    golden = path.with_suffix(".journey.txt")
    if os.environ.get("KPLAB_WRITE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")

    assert golden.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_what_holds_for_every_journey(path: Path) -> None:
    """Whole, without disagreement, numbered, and never showing the lab's own tracing as somebody's rules."""
    recording, journey = told(path)

    assert (journey.complete, journey.incomplete_because, journey.lost, journey.disagreements) == (True, None, 0, ())
    assert [hop.n for hop in journey.hops] == list(range(1, len(journey.hops) + 1))
    assert [hop.n for hop in journey.hops if "kplab" in f"{hop.table}{hop.chain}{hop.rule}"] == []
    assert [hop.n for hop in journey.hops if not hop.text.endswith(".") or "None" in hop.text] == []
    numbers = {event.n for event in recording.events}
    assert all(set(hop.events) <= numbers for hop in journey.hops)
    assert all(
        hop.events for hop in journey.hops if hop.evidence == "seen" and hop.kind not in ("DNAT", "SNAT", "reverse NAT")
    )


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_journey_is_valid_under_the_schema(path: Path) -> None:
    """What `kplab trace --format json` prints is what docs/journey.schema.json says."""
    printed = msgspec.json.decode(msgspec.json.encode(told(path)[1]))

    jsonschema.validate(printed, journey_schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_in_docs_is_the_types_own() -> None:
    """Write it anew with: python -c 'from kplab.trace.schema import *; print(journey_schema_text(), end="")'."""
    assert SCHEMA.read_text(encoding="utf-8") == journey_schema_text()


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_the_conntrack_entry_is_the_one_that_conntrack_listed(path: Path) -> None:
    """By id and by both directions' addresses, wherever the entry was still there when the table was listed."""
    recording, journey = told(path)
    listed = {
        (state.node, line.rpartition("id=")[2]): line for state in recording.nodes for line in state.conntrack_after
    }

    for hop in journey.hops:
        if hop.conntrack is None:
            continue
        entry, line = hop.conntrack, listed.get((hop.node, str(hop.conntrack.id)))
        assert entry.line.endswith(f"id={entry.id}")
        shown = [word for word in entry.line.split() if word.startswith(("src=", "dst=", "sport=", "dport="))]
        assert line is None or shown == [word for word in line.split() if word.partition("=")[0] in TUPLE]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_an_entry_is_shown_as_it_was_then(path: Path) -> None:
    """Its state is the latest that the kernel had reported by then; what was listed later is not shown before."""
    _, journey = told(path)
    latest: dict[tuple[str, int | None], str | None] = {}

    for hop in journey.hops:
        entry = hop.conntrack
        if entry is None:
            continue
        key = (hop.node, entry.id)
        if entry.change == "used" and key in latest:
            assert entry.state == latest[key]
        latest[key] = entry.state
        assert entry.state is None or entry.state in entry.line.split()


@pytest.mark.parametrize("name", ["lab-nft-curl", "client-legacy", "client-nft"])
def test_later_packets_of_a_connection_never_enter_nat(load: Load, name: str) -> None:
    """Only the first packet is shown to nat's rules; the others say whose entry is used instead."""
    journey = tell(load(name))
    hooks = [hop for hop in journey.hops if hop.kind == "hook" and hop.packet > 1 and hop.hook != "FORWARD"]

    assert {hop.packet for hop in journey.hops if hop.table == "nat"} == {1}
    assert journey.packets > 8
    assert [hop.n for hop in hooks if "nat is not consulted" not in hop.text] == []
    assert {hop.evidence for hop in hooks} == {"seen"}


def test_hairpin_rewrites_both_ends_and_turns_both_back(load: Load) -> None:
    """SNAT at POSTROUTING is undone at PREROUTING, DNAT at PREROUTING is undone at POSTROUTING."""
    journey = tell(load("lab-nft-hairpin"))
    nat = [(hop.kind, hop.hook) for hop in journey.hops if hop.kind in ("DNAT", "SNAT", "reverse NAT")]
    undone = [hop for hop in journey.hops if hop.kind == "reverse NAT"]

    assert nat == [
        ("DNAT", "PREROUTING"),
        ("SNAT", "POSTROUTING"),
        ("reverse NAT", "PREROUTING"),
        ("reverse NAT", "POSTROUTING"),
    ]
    assert undone[0].after.dst == journey.hops[0].before.src
    assert undone[1].after.src == "10.96.0.42:80"


def test_a_nodes_own_packet_is_undone_at_input(load: Load) -> None:
    """The answer to a local process never sees POSTROUTING; its source is turned back after INPUT's rules."""
    journey = tell(load("lab-nft-node-process"))
    undone = [(hop.hook, hop.after.src) for hop in journey.hops if hop.kind == "reverse NAT"]

    assert undone[-1] == ("INPUT", "10.96.0.42:80")
    assert [hop.hook for hop in journey.hops if hop.kind == "DNAT"] == ["OUTPUT"]


def test_a_reject_tells_what_the_client_sees(load: Load) -> None:
    """The rule, the error that it sends, through loopback, and the errno."""
    journey = tell(load("lab-nft-no-endpoints-node"))
    (rejected,) = [hop for hop in journey.hops if hop.kind == "rejected"]

    assert (rejected.table, rejected.chain, rejected.service) == ("filter", "KUBE-SERVICES", "demo/cart:http")
    assert "ECONNREFUSED" in journey.outcome
    assert journey.hops[-1].kind == "delivered"


def test_rules_that_were_not_read_leave_a_story_incomplete(load: Load) -> None:
    """Without the listing of a table that the packet met, its hops are the trace's alone, and the journey says so."""
    recording = load("lab-nftables-hairpin")
    unread = msgspec.structs.replace(
        recording, nodes=tuple(msgspec.structs.replace(state, nft="") for state in recording.nodes)
    )
    journey = tell(unread)

    assert not journey.complete
    assert "node-a, the rules of" in (journey.incomplete_because or "")
    assert "were not read" in (journey.incomplete_because or "")
