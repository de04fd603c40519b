"""The README's pictures are made by code that these tests run: from a recorded journey, without a lab."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from kplab.model.packet import SendSpec
from kplab.session.base import ExecResult
from kplab.session.replay import ReplaySession
from kplab.trace.file import read_trace
from kplab.trace.recording import Recording

pytestmark = [pytest.mark.tui, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
TRACE = ROOT / "tests" / "data" / "recordings" / "lab-nft-other-node.kptrace"


class RecordedLab(ReplaySession):
    """Answers every packet with the recording, as if it were live."""

    live = True

    def send(self, spec: SendSpec, sender: str) -> Recording:
        """Return the recording."""
        return self.recording

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Let every program succeed."""
        return ExecResult(0, "", "")


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    """The script that makes the pictures, as a module."""
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "scripts" / "make_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(svg: str) -> str:
    """Return the text of a picture."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", svg.replace("&#160;", " ")))


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        ("predict", ("Predict", "Enter : send", "PgDn")),
        ("dnat", ("DNAT", "10.96.0.42:80", "⇒", "10.244.2.10:8080")),
        ("reply", ("reverse NAT", "✓ passed", "conntrack, as of this hop")),
        ("small", ("KUBE-SERVICES", "tried 17")),
    ],
)
async def test_a_picture_shows_what_it_is_for(
    pictures: ModuleType, tmp_path: Path, name: str, shows: tuple[str, ...]
) -> None:
    """The screen at that hop, as SVG; and as PNG where rsvg-convert is installed."""
    shot = next(one for one in pictures.SHOTS if one.name == name)

    await pictures.take(RecordedLab(read_trace(TRACE)), shot, tmp_path)

    told = words((tmp_path / f"{name}.svg").read_text())
    for part in shows:
        assert part in told, (part, told)
    if shutil.which("rsvg-convert"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "shows"),
    [
        (
            "lookup-nftables",
            ("1 lookup among 19 elements", "iptables mode 16 rules tried", "✓ → goto service-AXK6CI2C"),
        ),
        ("lookup-ipvs", ("1 lookup among 31 virtual servers", "scheduler rr", "chosen")),
        ("lookup-ebpf", ("backend_slot 2 02 00", "✓ backend_id 2")),
        ("rules-nftables", ("node-a# nft list table ip kube-proxy", "▶ 10.96.0.42 . tcp . 80 : goto")),
    ],
)
async def test_a_picture_of_another_mode_shows_its_own_tables(
    pictures: ModuleType, tmp_path: Path, name: str, shows: tuple[str, ...]
) -> None:
    """What was looked up, and the command that prints it, from a recorded journey."""
    shot = next(one for one in pictures.REPLAYS if one.name == name)

    await pictures.take_replay(shot, tmp_path)

    told = words((tmp_path / f"{name}.svg").read_text())
    for part in shows:
        assert part in told, (part, told)


async def test_a_picture_of_two_modes_shows_what_each_asked(pictures: ModuleType, tmp_path: Path) -> None:
    """A list walked beside a lookup, and the line that says so."""
    (shot,) = pictures.COMPARED

    await pictures.take_compared(shot, tmp_path)

    told = words((tmp_path / "compare.svg").read_text())
    for part in ("iptables-nft: 16 rules | nftables: 2 rules, 1 lookup among 19", "KUBE-SERVICES", "service-ips"):
        assert part in told, (part, told)


def test_every_picture_of_the_documents_has_its_shot(pictures: ModuleType) -> None:
    """None is shown that nobody could make again, and none is kept that the list of shots does not know."""
    names = {shot.name for shot in (*pictures.SHOTS, *pictures.REPLAYS, *pictures.COMPARED)} | set(pictures.MEASURED)
    # Those of the notebook are made by tests/browser/test_jupyterlab.py, which says how.
    names |= {"notebook", "notebook-still"}
    kept = {path.stem for path in (ROOT / "docs" / "pictures").iterdir()}
    shown = set(re.findall(r"docs/pictures/([\w-]+)\.(?:svg|png)", (ROOT / "README.md").read_text()))

    assert kept <= names
    assert shown <= kept
