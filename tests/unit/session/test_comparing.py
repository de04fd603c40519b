"""What every face that compares asks of a mode's lab: connections timed in the lab, or why they were not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.model.loader import parse_cluster
from kplab.session.base import ExecResult
from kplab.session.comparing import sized_cluster, timed_column
from kplab.session.own_program import own_program
from kplab.session.replay import ReplaySession
from kplab.session.runs import Ran
from kplab.trace.file import read_trace
from kplab.trace.journey import tell

pytestmark = pytest.mark.unit

TRACE = Path(__file__).parents[2] / "data" / "recordings" / "lab-nft-other-node.kptrace"
TIMES = '{"nanoseconds": [1000, 2000, 3000], "from_call": [2000, 3000, 4000], "missed": 1}'


class Lab(ReplaySession):
    """Answers every program with the same, and remembers what was run where."""

    def __init__(self, answer: ExecResult) -> None:
        super().__init__(read_trace(TRACE))
        self.answer = answer
        self.run: list[tuple[str, tuple[str, ...]]] = []

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Answer."""
        self.run.append((namespace, argv))
        return self.answer


def saw(lab: Lab, proto: str = "tcp") -> Ran:
    """What it saw; its first packet is of this protocol."""
    journey = tell(lab.recording)
    first = journey.hops[0]
    changed = msgspec.structs.replace(first, before=msgspec.structs.replace(first.before, proto=proto))
    return Ran(lab, lab.recording, msgspec.structs.replace(journey, hops=(changed, *journey.hops[1:])))


def test_connections_are_timed_with_the_tracing_taken_away() -> None:
    """First from every node, then in the sender's namespace; the program is the lab's, the pods' names go with it."""
    lab = Lab(ExecResult(0, TIMES, ""))

    found = timed_column(saw(lab), "client", 4)

    names = {ns.name: ns.role for ns in lab.topology.namespaces}
    *nodes, (sender, argv) = lab.run
    assert [where for where, _ in nodes] == [name for name, role in names.items() if role == "node"]
    assert {what for _, what in nodes} == {("nft", "delete", "table", "inet", "kplab-trace")}
    pods = [name for name, role in names.items() if role in ("pod", "control-plane")]
    assert (sender, argv) == ("client", own_program("kplab.lab.first_packet", "10.96.0.42", "80", "4", *pods))
    assert found.first_packet is not None
    assert (found.first_packet.median_us, found.first_packet.from_call_us, found.first_packet.missed) == (2, 3, 1)


@pytest.mark.parametrize(
    ("proto", "rounds", "answer", "why"),
    [
        ("tcp", 0, ExecResult(0, TIMES, ""), "no rounds were asked for"),
        ("udp", 4, ExecResult(0, TIMES, ""), "only TCP is timed: it is a connection's first packet"),
        ("tcp", 4, ExecResult(127, "", "sh: no Python\n"), "the measuring program failed: sh: no Python"),
        (
            "tcp", 4, ExecResult(0, '{"nanoseconds": [], "from_call": [], "missed": 4}', ""),
            "in 4 of 4 rounds no first packet came into a pod",
        ),
    ],
)  # fmt: skip
def test_why_nothing_was_timed_is_said(proto: str, rounds: int, answer: ExecResult, why: str) -> None:
    """In the column, beside what the lab saw."""
    found = timed_column(saw(Lab(answer), proto), "client", rounds)

    assert (found.first_packet, found.not_timed) == (None, why)
    assert found.hops > 10


def test_a_cluster_of_a_size_is_asked_for_its_last_service() -> None:
    """Its Services are as many as was asked for."""
    manifest, spec = sized_cluster(30)
    cluster = parse_cluster(manifest, "made up")

    last = cluster.services[-1]
    assert len(cluster.services) == 30
    assert spec.target == f"http://{last.cluster_ips[0]}"
