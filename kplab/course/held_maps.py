"""A node's BPF maps of eBPF mode, as bpftool dumps them, and the commands that make them so again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from kplab.model import bpf_maps as layout
from kplab.modes.ebpf import PINNED
from kplab.session.base import Session

WRITTEN = (layout.SERVICES, layout.BACKENDS, layout.REVERSE_NAT, layout.AFFINITY_MATCH, layout.NODE_IPS)
"""The maps that the proxy writes. The others are the programs' own notes of sockets and clients."""

Elements = dict[bytes, bytes]
MapState = dict[str, Elements]
"""A map's name to its elements."""


class RunProgram(Protocol):
    """Runs a program in a node, and raises ProgramError when it fails."""

    def __call__(self, session: Session, node: str, *argv: str, text: str = "") -> None:
        """Run it with `text` as its input."""


class _Element(msgspec.Struct, frozen=True):
    """One of `bpftool -j map dump`: bytes as "0x0a". Keys with BTF come with `formatted` too, which is not read."""

    key: list[str]
    value: list[str]


def map_state(session: Session, node: str) -> MapState:
    """Read all maps that the proxy writes."""
    return {name: read_map(session, node, name) for name in WRITTEN}


def read_map(session: Session, node: str, name: str) -> Elements:
    """Return a map's elements; none when the map cannot be read."""
    done = session.execute(node, ("bpftool", "-j", "map", "dump", "pinned", pinned(node, name)))
    if done.status != 0 or not done.stdout.strip():
        return {}
    found = msgspec.json.decode(done.stdout, type=list[_Element])
    return {_bytes(each.key): _bytes(each.value) for each in found}


def pinned(node: str, name: str) -> str:
    """Return the file that a node's map is pinned to."""
    return f"{PINNED}/{node}/{name}"


def put_back_maps(session: Session, node: str, state: MapState, run: RunProgram) -> None:
    """Write what differs, in one run of bpftool."""
    commands = [line for name, held in state.items() for line in _commands(session, node, name, held)]
    if commands:
        run(session, node, "bpftool", "batch", "file", "-", text="".join(f"{line}\n" for line in commands))


def _commands(session: Session, node: str, name: str, held: Elements) -> Iterator[str]:
    now, file = read_map(session, node, name), pinned(node, name)
    for key, value in held.items():
        if now.get(key) != value:
            yield f"map update pinned {file} key hex {key.hex(' ')} value hex {value.hex(' ')}"
    yield from (f"map delete pinned {file} key hex {key.hex(' ')}" for key in now.keys() - held.keys())


def _bytes(words: list[str]) -> bytes:
    return bytes(int(word, 16) for word in words)
