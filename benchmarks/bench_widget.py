"""What a journey costs in a notebook: the bytes that are sent, and the time until Chromium has drawn it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.figure import Figure
from kplab.jupyter.state import StatePacker
from kplab.jupyter.still import still_svg
from kplab.jupyter.widget import looks, script
from kplab.scene.timeline import Timeline
from kplab.trace.file import read_trace
from kplab.trace.journey import tell
from tests.browser.widget_page import open_widget
from tests.unit.jupyter_widget.test_state import long_walk

RECORDING = Path(__file__).parents[1] / "tests" / "data" / "recordings" / "lab-nft-curl.kptrace"
ROUNDS = 5


def measure() -> Iterator[Figure]:
    """Yield sizes and times of a connection of ten packets, its first held against 4,000 Services' rules."""
    recording = read_trace(RECORDING)
    journey = long_walk(tell(recording), 4_000)
    begun = time.perf_counter()
    packed = StatePacker(Timeline(journey, recording.topology))
    sent = len(packed.encode().encode()) + len(script().encode()) + len(looks().encode())
    packing = (time.perf_counter() - begun) * 1000
    yield Figure("widget: state, script and looks", sent / 1000, "KB", 200, "ten packets, 4,000 Services")
    yield Figure("widget: frames packed", packing, "ms", None, f"{len(packed.document['frames'])} frames")
    begun = time.perf_counter()
    still = still_svg(journey, recording.topology)
    drawing = (time.perf_counter() - begun) * 1000
    yield Figure("still picture", drawing, "ms", None, f"{len(still) / 1000:.0f} KB")
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context()
        drawn = sorted(
            open_widget(context, Timeline(journey, recording.topology)).evaluate("window.drawnIn")
            for _ in range(ROUNDS)
        )
        browser.close()
    yield Figure("widget: drawn in Chromium", drawn[ROUNDS // 2], "ms", 300, f"median of {ROUNDS}")
