"""Keeps a node's BPF maps equal to a compiled program: only what differs is written.

There is no transaction over several maps, so the order matters: first what frontends will point at (backends, then
slots), then the frontends, and only then is removed what none points at any more. A connect() in between finds the
old answer or the new one, and never half of one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from kplab.lab.bpf_calls import BpfMapFile
from kplab.lab.ebpf import SIZES
from kplab.model import bpf_maps as layout
from kplab.modes.ebpf import EbpfProgram, Entry

ORDER = (layout.NODE_IPS, layout.BACKENDS, layout.REVERSE_NAT, layout.AFFINITY_MATCH, layout.SERVICES)


class NodeMaps:
    """The maps pinned in a node's folder."""

    def __init__(self, folder: Path) -> None:
        """Open them. Raises LabError: one is not there."""
        self._maps = {name: BpfMapFile(folder / name, *SIZES[name]) for name in ORDER}

    def sync(self, program: EbpfProgram) -> int:
        """Write what differs; return how many elements were written or removed.

        Raises:
            ApplyError: the kernel refuses an element.
        """
        wanted = {each.name: dict(each.entries) for each in program.maps}
        held = {name: {key: table.get(key) for key in table.keys()} for name, table in self._maps.items()}  # noqa: SIM118
        count = 0
        for name in ORDER:
            fresh = [entry for entry in wanted[name].items() if held[name].get(entry[0]) != entry[1]]
            for key, value in _slots_first(name, fresh):
                self._maps[name].put(key, value)
                count += 1
        for name in reversed(ORDER):
            for key in held[name].keys() - wanted[name].keys():
                self._maps[name].remove(key)
                count += 1
        return count


def _slots_first(name: str, entries: Iterable[Entry]) -> list[Entry]:
    """A frontend's count comes last, when all the slots that it counts are there."""
    if name != layout.SERVICES:
        return list(entries)
    return sorted(entries, key=lambda entry: int.from_bytes(entry[0][6:8], sys.byteorder) == 0)
