"""Makes the pictures of docs/pictures: a real lab, lesson 3, the screen driven by keys; other modes from recordings.

Run `python scripts/make_pictures.py`, or with `replays` for those of recordings alone, which need no lab, or with
`measured` for the chart of a first packet's cost, which is measured anew and takes minutes; PNGs need rsvg-convert
(Debian: librsvg2-bin).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from textual.pilot import Pilot

from kplab.course.engine import LessonRun
from kplab.course.live_parts import lab_plan, start_lab_live, tell_live
from kplab.course.load import load_lesson, solution_answers
from kplab.model.journey import Journey
from kplab.scene.side_by_side import Story
from kplab.session.base import Session
from kplab.session.replay import ReplaySession
from kplab.trace.compare import Comparison, name_of
from kplab.trace.compare_svg import comparison_svg
from kplab.trace.file import read_trace
from kplab.trace.recording import Recording
from kplab.tui.app import KplabApp
from kplab.tui.compare_app import CompareApp
from kplab.tui.screens.compare import CompareScreen
from kplab.tui.screens.lesson import LessonScreen

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
RECORDINGS = Path(__file__).parents[1] / "tests" / "data" / "recordings"
FONT = "font-family: DejaVu Sans Mono, Menlo, Consolas, monospace"


class Shot(NamedTuple):
    """One picture: its name, the screen's size, the hop that is shown (its kind, and what its chain begins with)."""

    name: str
    size: tuple[int, int]
    kind: str = ""
    """"" is the question, before anything is sent."""
    chain: str = ""
    keys: tuple[str, ...] = ()
    """Pressed at the end."""


SHOTS = (
    Shot("predict", (120, 36)),
    Shot("walk", (120, 36), "rule", "KUBE-SVC-"),
    Shot("dnat", (120, 36), "DNAT"),
    Shot("reply", (200, 50), "reverse NAT"),
    Shot("small", (80, 24), "rule", "KUBE-SERVICES"),
)


class Replayed(NamedTuple):
    """A picture of a recorded journey: its name, the recording, the hop (1-based), and the keys pressed there."""

    name: str
    recording: str
    hop: int
    keys: tuple[str, ...]
    size: tuple[int, int] = (120, 36)


REPLAYS = (
    Replayed("lookup-nftables", "lab-nftables-hairpin", 8, ("l",)),
    Replayed("lookup-ipvs", "lab-ipvs-syn", 17, ("l",)),
    Replayed("lookup-ebpf", "lab-ebpf-curl", 3, ("l",)),
    Replayed("rules-nftables", "lab-nftables-hairpin", 8, ("u",)),
)


class Compared(NamedTuple):
    """A picture of two recorded modes side by side: its name, the recordings, the row (1-based), and the size."""

    name: str
    recordings: tuple[str, str]
    row: int
    size: tuple[int, int]


COMPARED = (Compared("compare", ("lab-nft-curl", "lab-nftables-curl"), 8, (160, 45)),)
_ASKED = ("compare", "http://10.96.0.42", "--limit", "300", "--format", "json")
MEASURED = {
    "first-packet-cost": (
        ("--modes", "iptables,nftables,ebpf,userspace", "--rounds", "300", "--sizes", "10,100,1000,4000"),
        ("--modes", "ipvs", "--rounds", "100", "--sizes", "10,100,1000"),
    )
}
"""Charts, and the options of the kplab runs that measure what they show, the guest's by itself: it takes minutes."""


async def take_compared(shot: Compared, folder: Path) -> None:
    """Show both stories side by side, go to the row, and save the screen."""
    stories = [story_of(read_trace(RECORDINGS / f"{name}.kptrace")) for name in shot.recordings]
    heading = "kplab compare · http://10.96.0.42 from client"
    app = CompareApp(lambda hear: None, [story.name for story in stories], heading, ticking=False)
    async with app.run_test(size=shot.size) as pilot:
        await pilot.pause()
        screen = next(s for s in app.screen_stack if isinstance(s, CompareScreen))
        for story in stories:
            screen.take(story)
        screen.action_seek(shot.row - 1)
        await pilot.pause(0.3)
        save(folder / f"{shot.name}.svg", app.export_screenshot(title="kplab compare --screen http://10.96.0.42"))


def story_of(recording: Recording) -> Story:
    """Return a recorded mode's story."""
    facts = recording.facts
    return Story(name_of(facts.mode, facts.backend), facts.sandbox, tell_live()(recording), recording.topology)


def measure(name: str, folder: Path) -> None:
    """Measure, keep the numbers, and draw the chart."""
    kplab = Path(sys.executable).with_name("kplab")
    parts = []
    for options in MEASURED[name]:
        done = subprocess.run([kplab, *_ASKED, *options], stdout=subprocess.PIPE, check=False)
        parts.append(msgspec.json.decode(done.stdout, type=Comparison))
    draw_parts(name, parts, folder)


def draw_parts(name: str, parts: Sequence[Comparison], folder: Path) -> None:
    """Keep what several runs found as one comparison, and its chart."""
    whole = msgspec.structs.replace(
        parts[0],
        columns=tuple(column for part in parts for column in part.columns),
        left_out=tuple(each for part in parts for each in part.left_out),
        sizes=tuple(point for part in parts for point in part.sizes),
    )
    (folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    (folder / f"{name}.svg").write_text(comparison_svg(whole))


async def take_replay(shot: Replayed, folder: Path) -> None:
    """Open a recording, go to the hop, press the keys, and save the screen."""
    recording = read_trace(RECORDINGS / f"{shot.recording}.kptrace")
    tell = tell_live()
    story = (tell(recording), recording)
    app = KplabApp(tell, session=ReplaySession(recording), story=story, ticking=False)
    async with app.run_test(size=shot.size) as pilot:
        screen = next(s for s in app.screen_stack if isinstance(s, LessonScreen))
        await wait(pilot, screen)
        screen.action_seek(shot.hop - 1)
        await pilot.press(*shot.keys)
        await pilot.pause(0.3)
        save(folder / f"{shot.name}.svg", app.export_screenshot(title=f"kplab replay {shot.recording}.kptrace"))


async def take(session: Session, shot: Shot, folder: Path) -> None:
    """Answer the first step's question, send its packet, go to the hop, and save the screen."""
    lesson = load_lesson("lesson-3")
    run = LessonRun(lesson, None, time.time)
    app = KplabApp(tell_live(), session=session, run=run, manifest=lesson.manifest, ticking=False)
    async with app.run_test(size=shot.size) as pilot:
        screen = next(s for s in app.screen_stack if isinstance(s, LessonScreen))
        await wait(pilot, screen)
        ids = [choice.id for choice in run.step.question.choices] if run.step.question else []
        await pilot.press(str(ids.index(solution_answers(lesson)[run.step.id]) + 1))
        if shot.kind:
            await pilot.press("enter")
            await wait(pilot, screen)
            if shot.kind == "reverse NAT":
                await pilot.press("end")  # and so it is graded
            screen.action_seek(hop_of(screen.desk.journey, shot.kind, shot.chain))
        await pilot.press(*shot.keys)
        await pilot.pause(0.3)
        save(folder / f"{shot.name}.svg", app.export_screenshot(title="kplab start lesson-3"))


async def wait(pilot: Pilot[int], screen: LessonScreen) -> None:
    """Wait until the lab has answered."""
    await pilot.pause(0.2)
    while screen.desk.busy:
        await pilot.pause(0.05)
    await pilot.pause()


def hop_of(journey: Journey | None, kind: str, chain: str) -> int:
    """Return the first hop (0-based) of a kind, in a chain whose name begins like that."""
    hops = journey.hops if journey else ()
    return next(i for i, hop in enumerate(hops) if hop.kind == kind and (hop.chain or "").startswith(chain))


def save(path: Path, svg: str) -> None:
    """Write the picture as SVG, with fonts that have our marks; and as PNG where rsvg-convert is installed."""
    svg = svg.replace("font-family: Fira Code, monospace", FONT).replace("<svg ", '<svg xml:space="preserve" ', 1)
    path.write_text(svg)
    if shutil.which("rsvg-convert"):
        # rsvg-convert does not stretch text to its `textLength`, so the font's size does it: 20.26 x 0.602 = 12.2.
        plain = re.sub(r'textLength="[^"]*"', "", svg).replace("font-size: 20px", "font-size: 20.26px")
        argv = ["rsvg-convert", "-w", "1400", "-o", str(path.with_suffix(".png"))]
        subprocess.run(argv, input=plain.encode(), check=True)


def main(what: str = "", folder: Path = FOLDER) -> None:
    """Make every screen, those of lesson 3 on one lab.

    `what` "replays" leaves lesson 3 out; "measured" makes the charts, and nothing else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if what == "measured":
        for name in MEASURED:
            measure(name, folder)
        return
    for compared in COMPARED:
        asyncio.run(take_compared(compared, folder))
    for replayed in REPLAYS:
        asyncio.run(take_replay(replayed, folder))
    if what == "replays":
        return
    session = start_lab_live()(lab_plan(load_lesson("lesson-3")), lambda step: None)
    try:
        for shot in SHOTS:
            asyncio.run(take(session, shot, folder))
    finally:
        session.close()


if __name__ == "__main__":
    main("".join(sys.argv[1:2]))
