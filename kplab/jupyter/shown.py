"""A journey that shows itself: a picture that plays, a still one where widgets do not run, and text."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kplab.errors import UsageError
from kplab.jupyter.frame import frame_of
from kplab.jupyter.walked import Walk, walk_of
from kplab.model.journey import Hop, Journey
from kplab.model.topology import Topology
from kplab.trace.file import write_trace
from kplab.trace.pcapng import pcapng
from kplab.trace.recording import Recording
from kplab.trace.text import journey_lines

if TYPE_CHECKING:
    from pandas import DataFrame

SUFFIXES = (".kptrace", ".json", ".pcapng", ".txt")


class JourneyView:
    """What `lab.send` and `lab.request` return: every step that the kernel took with the packet."""

    def __init__(self, journey: Journey, recording: Recording) -> None:
        self.journey = journey
        """The journey itself, as `kplab trace --format json` writes it."""
        self.recording = recording
        """The kernel's own events and tables, from which it was told."""

    @property
    def topology(self) -> Topology:
        """The lab that it went through."""
        return self.recording.topology

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Every step, in order."""
        return self.journey.hops

    @property
    def outcome(self) -> str:
        """What the sender got, in one sentence."""
        return self.journey.outcome

    def walk(self, chain: str, *, node: str | None = None, packet: int | None = None) -> Walk:
        """Return the rules of a chain as the packet tried them, in the first visit that fits.

        Raises:
            UnknownNameError: no packet came there.
        """
        return walk_of(self.hops, chain, node, packet)

    def to_frame(self) -> DataFrame:
        """Return the hops as a table of pandas, one row a hop. Raises NotInstalledError without pandas."""
        return frame_of(self.hops)

    def text(self, *, unfold: bool = False) -> str:
        """Return the story as lines; `unfold` has every rule that was passed over."""
        return "\n".join(journey_lines(self.journey, unfold=unfold))

    def save(self, path: str | Path) -> Path:
        """Write it to a file, in the form that the name's ending says: .kptrace (to replay), .json, .pcapng, .txt.

        Raises:
            UsageError: another ending, or the file cannot be written.
        """
        target = Path(path)
        if target.suffix not in SUFFIXES:
            raise UsageError(
                f"save a journey as {target.name}", "its form is not known", f"One of {' '.join(SUFFIXES)}"
            )
        try:
            if target.suffix == ".kptrace":
                write_trace(self.recording, target)
            else:
                target.write_bytes(self._written(target.suffix))
        except OSError as problem:
            raise UsageError(f"{target} cannot be written", problem.strerror or str(problem), "Name another") from None
        return target

    def _written(self, suffix: str) -> bytes:
        if suffix == ".pcapng":
            return pcapng(self.recording, self.journey)
        if suffix == ".json":
            return msgspec.json.format(msgspec.json.encode(self.journey), indent=2) + b"\n"
        return (self.text(unfold=True) + "\n").encode()

    def __repr__(self) -> str:
        return f"<{self.journey.packet}, from {self.journey.sender}: {len(self.hops)} hops. {self.outcome}>"

    def _ipython_display_(self) -> None:
        """Show the journey in a notebook's cell: played where widgets run, still where they do not, else as text."""
        try:
            from kplab.jupyter.widget import show_journey
        except ImportError:
            # A plain IPython, without a notebook's packages: by this it takes the text of `_repr_mimebundle_`.
            raise NotImplementedError from None
        show_journey(self.journey, self.topology, self.text())

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Return every form that a front end may choose from."""
        return {"text/plain": self.text()}
