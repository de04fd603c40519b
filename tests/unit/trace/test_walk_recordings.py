"""Walks along traces that real kernels made, kept in tests/data/recordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from kplab.model.ruleset import Ruleset
from kplab.rules.iptables_save import parse_iptables_save
from kplab.trace.events import LegacyTrace, NftTrace
from kplab.trace.lives import Life, Visit, find_lives
from kplab.trace.matching import NodeView, Probe
from kplab.trace.recording import NodeState, Recording
from kplab.trace.walk import Hit, Walk, walk
from kplab.trace.walk_hits import hit_of

pytestmark = pytest.mark.unit

RECORDINGS = sorted((Path(__file__).parents[2] / "data" / "recordings").glob("*.json"))


def lives_of(recording: Recording, state: NodeState) -> list[Life]:
    """Return what came by in one node."""
    events = [e for e in recording.events if e.node == state.node and isinstance(e.what, NftTrace | LegacyTrace)]
    return find_lives(state.node, events, frozenset(state.lab_chains))


def messages_of(visit: Visit) -> list[NftTrace | LegacyTrace]:
    """Return a visit's trace messages."""
    return [event.what for event in visit.events if isinstance(event.what, NftTrace | LegacyTrace)]


def walks_of(recording: Recording) -> Iterator[tuple[Visit, Ruleset, Probe, list[Hit], Walk]]:
    """Walk every visit of every node's own chains."""
    for state in recording.nodes:
        rulesets = {s.family: parse_iptables_save(s.text, s.family, s.backend, state.handles) for s in state.saves}
        node = NodeView.read(state.addresses, state.routes, state.recent)
        for life in lives_of(recording, state):
            mark = 0
            tracked = [
                what
                for visit in life.visits
                for what in messages_of(visit)
                if isinstance(what, NftTrace) and what.ct_state
            ]
            for visit in life.visits:
                if visit.lab or visit.family not in ("ip", "ip6"):
                    continue
                ruleset = rulesets[visit.headers.family]
                messages = messages_of(visit)
                probe = Probe(
                    visit.headers,
                    mark=mark,
                    iif=next((what.iif for what in messages if what.iif), None),
                    oif=next((what.oif for what in messages if what.oif), None),
                    ct_state=tracked[0].ct_state if tracked else None,
                    ct_status=tracked[0].ct_status if tracked else None,
                    node=node,
                )
                hits = [hit_of(what, ruleset) for what in messages]
                found = walk(ruleset, visit.table, visit.chain, probe, hits)
                mark = found.mark_after
                yield visit, ruleset, probe, hits, found


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_trace_and_the_model_agree(path: Path) -> None:
    """Every chain of every packet is walked to its verdict, with no disagreement."""
    recording = msgspec.json.decode(path.read_bytes(), type=Recording)
    count = 0
    for visit, _, _, _, found in walks_of(recording):
        assert not found.disagreements, (visit.table, visit.chain, [d.text for d in found.disagreements])
        assert found.verdict is not None
        count += 1
    assert count >= 3


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_with_one_number_forged_is_caught(path: Path) -> None:
    """Claim another rule of the same chain for any one hit, wherever nothing is drawn: the walk notices."""
    recording = msgspec.json.decode(path.read_bytes(), type=Recording)
    forged = 0
    for visit, ruleset, probe, hits, _ in walks_of(recording):
        chains = ruleset.tables[visit.table].chains
        for at, hit in enumerate(hits):
            rules = chains[hit.chain].rules
            if hit.number is None or not 1 <= hit.number <= len(rules) or len(rules) < 2 or "-SVC-" in hit.chain:
                continue
            lie = [*hits[:at], replace(hit, number=hit.number % len(rules) + 1), *hits[at + 1 :]]
            assert walk(ruleset, visit.table, visit.chain, probe, lie).disagreements, (visit.chain, hit)
            forged += 1
    assert forged >= 1
