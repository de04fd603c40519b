"""The widget's state holds every frame of the journey, and is small enough to be kept in a notebook."""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kplab.jupyter.state import StatePacker
from kplab.model.journey import Journey, Skip
from kplab.model.synthetic import large_cluster
from kplab.model.topology import Topology
from kplab.scene.timeline import Timeline

pytestmark = pytest.mark.unit

RECORDINGS = sorted(path.stem for path in (Path(__file__).parents[2] / "data" / "recordings").glob("*.kptrace"))
LINE = ("mark", "chain", "depth", "number", "rule", "note", "tried", "evidence", "full", "count", "disagreement")

Told = tuple[Journey, Topology]
Document = dict[str, Any]


def painted(timeline: Timeline, t: float) -> Document:
    """Return the terminal's frame of a moment as plain values; a fold's hidden rules are left out."""
    shown = timeline.at(t)
    walk = shown.walk
    if walk is not None:
        walk = replace(walk, lines=tuple(replace(line, hidden=()) for line in walk.lines))
    frame: Document = json.loads(msgspec.json.encode(replace(shown, walk=walk)))
    for line in frame["walk"]["lines"] if walk is not None else ():
        line.pop("hidden")
    return frame


def unpacked(state: Document, t: float) -> Document:
    """Return the frame that the state holds for a moment, put together as `frames.js` does it."""
    t = min(max(t, 0.0), state["duration"])
    _, hop, walk = state["frames"][bisect_right([frame[0] for frame in state["frames"]], t) - 1]
    place, headers, table, asked, sentence, following, evidence, where = state["hops"][max(hop, 0)]
    names = ("label", "node", "kind", "direction", "packet", "evidence", "disagreement")
    return {
        "t": t, "hop": hop, "sentence": sentence, "next": following, "evidence": evidence, "where": where,
        "board": _board(state["board"]),
        "marks": [
            {"hop": i, **dict(zip(names, mark, strict=True)), "disagreement": mark[6] == 1}
            for i, mark in enumerate(state["marks"])
        ],
        "banners": [{"kind": kind, "text": text} for kind, text in state["banners"]],
        "map": _map(state, place, hop, t),
        "headers": [dict(zip(("name", "value", "was"), field, strict=True)) for field in state["headers"][headers]],
        "walk": _walk(state, walk) if walk >= 0 else None,
        "conntrack": [_entry(state["entries"][i]) for i in state["tables"][table]],
        "asked": state["asked"][asked] if asked >= 0 else None,
    }  # fmt: skip


def _board(board: Document) -> Document:
    return {
        "stations": [dict(zip(("name", "role", "addresses", "hooks"), s, strict=True)) for s in board["stations"]],
        "edges": [dict(zip(("left", "right", "via"), edge, strict=True)) for edge in board["edges"]],
        "others": board["others"],
    }


def _map(state: Document, number: int, hop: int, t: float) -> Document:
    station, hook, toward, begin, end, direction, lanes, passed, ahead = state["maps"][number]
    progress = 0.0
    if toward is not None:
        start = state["beats"][hop][0]
        stop = state["beats"][hop + 1][0] if hop + 1 < len(state["beats"]) else state["duration"]
        progress = begin + (end - begin) * min(1.0, (t - start) / max(stop - start, 1e-4))
    lane = [dict(zip(("origin", "target", "direction"), one, strict=True)) for one in state["lanes"]]
    place = {"station": station, "hook": hook, "toward": toward, "progress": pytest.approx(progress, abs=1e-5)}
    return {
        "place": place if station is not None else None,
        "direction": direction,
        "lanes": [lane[i] for i in lanes],
        "passed": [state["passed"][i] for i in passed],
        "ahead": [lane[i] for i in ahead],
    }


def _walk(state: Document, number: int) -> Document:
    node, hook, table, path, _, _, _, tried, running = state["walks"][number]
    lines = [dict(zip(LINE, state["lines"][i], strict=True)) for i in _lines(state, number)]
    return {
        "node": node, "hook": hook, "table": table, "path": path, "lines": lines, "tried": tried,
        "running": running == 1,
    }  # fmt: skip


def _lines(state: Document, number: int) -> list[int]:
    _, _, _, _, like, kept, added, _, _ = state["walks"][number]
    return [*(_lines(state, like)[:kept] if like >= 0 else ()), *added]


def _entry(entry: list[Any]) -> Document:
    return dict(zip(("node", "text", "original", "reply", "state", "mark", "id"), entry, strict=True))


def moments(timeline: Timeline) -> list[float]:
    """Return 60 times, always the same: hops' starts, rests and ends, their lines and stops, and any between."""
    found = [t for b in timeline.beats for t in (b.start, b.rest, b.end, *b.stops, *b.lines)]
    draw = random.Random(7)  # noqa: S311  # the same times at every run
    found += [draw.uniform(-1.0, timeline.duration + 1.0) for _ in range(50)]
    return draw.sample(found, min(len(found), 60))


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_state_holds_the_frames_that_the_terminal_paints(told: Callable[[str], Told], name: str) -> None:
    """The same place, walk, headers, conntrack, lookup and words, at every time, for every recorded journey."""
    timeline = Timeline(*told(name))
    state = json.loads(StatePacker(timeline).encode())

    for t in moments(timeline):
        assert unpacked(state, t) == painted(timeline, t), t


def test_a_journey_without_hops_has_its_one_frame(journey: Journey, topology: Topology) -> None:
    """The boxes, the outcome, and no hop."""
    timeline = Timeline(msgspec.structs.replace(journey, hops=()), topology)

    state = json.loads(StatePacker(timeline).encode())

    assert unpacked(state, 0.0) == painted(timeline, 0.0)
    assert state["frames"] == [[0.0, -1, -1]]


def long_walk(journey: Journey, services: int) -> Journey:
    """Return the journey with as many more rules before the one that matched in KUBE-SERVICES as Services need."""
    skipped = tuple(
        Skip(
            f"-A KUBE-SERVICES -d {service.cluster_ips[0]}/32 -p tcp -m comment --comment "
            f'"{service.namespace}/{service.name}:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-{i:016}',
            f"the destination is 10.96.0.42, not {service.cluster_ips[0]}",
        )
        for i, service in enumerate(large_cluster(services, 1).services)
    )
    hops = []
    for hop in journey.hops:
        walked = hop.chain == "KUBE-SERVICES" and hop.table == "nat"
        more = {"skipped": (*skipped, *hop.skipped), "tried": hop.tried + services} if walked else {}
        hops.append(msgspec.structs.replace(hop, **more))
    return msgspec.structs.replace(journey, hops=tuple(hops))


def test_a_connection_through_four_thousand_services_is_small(told: Callable[[str], Told]) -> None:
    """Ten packets of a ClusterIP connection, 4,000 rules passed over: the state is at most 200 KB."""
    journey, topology = told("lab-nft-curl")
    long = long_walk(journey, 4_000)

    state = StatePacker(Timeline(long, topology)).encode()

    assert long.packets == 10
    assert sum(len(hop.skipped) for hop in long.hops) > 4_000
    assert len(state.encode()) <= 200_000
