"""Lookups: what a map, a set or IPVS was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from kplab.scene.frame import Frame
from kplab.scene.instead import IptablesMode
from kplab.trace.recording import Recording
from kplab.tui.help import Help
from kplab.tui.paint.lines import Line
from kplab.tui.paint.lookup import paint_asked
from kplab.tui.widgets.panels import FramePanel


class LookupPanel(FramePanel):
    """The latest question, and its answer."""

    help: ClassVar[Help] = Help(
        "Lookup",
        "Where rules are tried one after the other, ten thousand Services are ten thousand tries. A map is asked once: "
        "the *key* is put together out of the packet's fields, and the *element* that has this key is the answer, "
        "however many there are. A field of a BPF map's key has its bytes beside it. *iptables mode* says how many "
        "rules would have been tried there to find the same Service, in the order in which kplab writes them.\n\n"
        "For IPVS: the virtual server that was hit, its scheduler, and the real servers it could choose among, with "
        "their connections before `⇒` and after. `✓` is the one that was chosen.",
    )

    _iptables: IptablesMode | None = None

    def beside(self, recording: Recording | None) -> None:
        """Show beside a lookup what iptables mode would have tried; not for a journey in that mode itself."""
        own = recording is None or recording.facts.mode == "iptables"
        self._iptables = None if recording is None or own else IptablesMode(recording)

    def watched(self, frame: Frame) -> object:
        """The latest question."""
        return frame.asked

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Paint it."""
        asked, iptables = self._frame.asked, self._iptables
        if asked is None or iptables is None:
            return paint_asked(asked, width)
        servers = iptables.servers.get(asked.where.partition(" · ")[0], 0)
        return paint_asked(asked, width, iptables.instead_of(asked), servers)
