"""A recording as a session."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.errors import TraceFileError, UnknownNameError, UsageError
from kplab.session.base import Session
from kplab.session.replay import ReplaySession, open_replay
from kplab.trace.file import write_trace
from kplab.trace.recording import Recording

pytestmark = pytest.mark.unit

RECORDING = Path(__file__).parents[2] / "data" / "recordings" / "same-node-nft.json"


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Return a real recording."""
    return msgspec.json.decode(RECORDING.read_bytes(), type=Recording)


def test_it_gives_what_was_recorded(recording: Recording, tmp_path: Path) -> None:
    """The question that was asked has its answer; nodes are as they were."""
    write_trace(recording, tmp_path / "a.kptrace")
    session: Session = open_replay(tmp_path / "a.kptrace")

    assert session.live is False
    assert (session.topology, session.facts) == (recording.topology, recording.facts)
    assert session.send(recording.spec, "client") == recording
    assert session.read_node("node-a").node == "node-a"
    session.close()
    session.close()


def test_what_needs_a_lab_is_refused_with_the_way_to_one(recording: Recording) -> None:
    """Nothing is pretended: sending, running, a shell and a change of the cluster name `kplab start`."""
    session = ReplaySession(recording, "a.kptrace")

    with pytest.raises(UsageError, match="another packet"):
        session.send(recording.spec, "web-1")
    with pytest.raises(UsageError, match="run curl in client"):
        session.execute("client", ("curl", "10.96.0.42"))
    with pytest.raises(UsageError, match="shell"):
        session.shell("client", 80, 24)
    with pytest.raises(UsageError, match="kplab start"):
        session.apply("")


def test_unknown_names_and_files(recording: Recording, tmp_path: Path) -> None:
    """A node that was not recorded lists those that were; a broken file is told as such."""
    with pytest.raises(UnknownNameError, match="node-a, node-b"):
        ReplaySession(recording).read_node("node-z")
    with pytest.raises(TraceFileError):
        open_replay(tmp_path / "none.kptrace")
