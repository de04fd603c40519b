"""A journey's frames as pcapng, read back by our own eyes here and by tshark where there is one."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kplab.trace.events import FrameSeen
from kplab.trace.journey import tell
from kplab.trace.pcapng import pcapng
from kplab.trace.recording import Recording

pytestmark = pytest.mark.unit

Load = Callable[[str], Recording]


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each block's type and body, checking both of its lengths."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        yield kind, data[at + 8 : at + length - 4]
        at += length


def test_blocks_are_well_formed_and_in_time_order(load: Load) -> None:
    """One section, an interface for each end of a link, a packet for each frame that the journey tells of."""
    recording = load("lab-nft-other-node")
    found = list(blocks(pcapng(recording, tell(recording))))
    kinds = [kind for kind, _ in found]
    stamps = [struct.unpack_from("<II", body, 4) for kind, body in found if kind == 6]
    told = {n for hop in tell(recording).hops for n in hop.events}
    frames = [event for event in recording.events if isinstance(event.what, FrameSeen) and event.n in told]

    assert kinds[0] == 0x0A0D0D0A
    assert (kinds.count(1), kinds.count(6)) == (6, len(frames))
    assert stamps == sorted(stamps)


def test_every_hops_sentence_is_a_comment(load: Load) -> None:
    """No hop is left out."""
    recording = load("lab-nft-other-node")
    journey = tell(recording)
    data = pcapng(recording, journey)

    assert [hop.n for hop in journey.hops if f"hop {hop.n}, ".encode() not in data] == []
    assert [hop.n for hop in journey.hops if hop.text.encode() not in data] == []


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_shows_comments_and_interfaces(load: Load, tmp_path: Path) -> None:
    """What Wireshark's own reader makes of the file."""
    recording = load("lab-nft-hairpin")
    path = tmp_path / "journey.pcapng"
    path.write_bytes(pcapng(recording, tell(recording)))
    fields = ["-e", "frame.interface_name", "-e", "tcp.flags.str", "-e", "frame.comment"]
    shown = subprocess.run(
        ["tshark", "-r", str(path), "-T", "fields", *fields], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert [line.split("\t")[0] for line in shown] == [
        "web-1:eth0", "node-a:veth-web-1", "node-a:veth-web-1", "web-1:eth0",
        "web-1:eth0", "node-a:veth-web-1", "node-a:veth-web-1", "web-1:eth0",
    ]  # fmt: skip
    assert "DNAT: the destination 10.96.0.42:80 becomes 10.244.1.10:8080" in shown[1]
    assert "reverse NAT at POSTROUTING" in shown[5]
