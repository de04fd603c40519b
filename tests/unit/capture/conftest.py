"""Netlink datagrams that a kernel sent, and the events that they mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kplab.capture.netlink import NetlinkMessage, messages

DATA = Path(__file__).resolve().parents[2] / "data" / "netlink"
KERNELS = sorted(folder.name for folder in DATA.iterdir())


@dataclass(frozen=True)
class Recorded:
    """One source of one kernel."""

    datagrams: list[bytes]
    interfaces: dict[int, str]
    events: list[dict[str, Any] | None]

    def messages(self) -> list[NetlinkMessage]:
        """Return the only message of each datagram."""
        return [next(messages(one)) for one in self.datagrams]


def plain(event: object) -> dict[str, Any] | None:
    """Return an event as the JSON files have it: a packet is hex."""
    fields: dict[str, Any] | None = msgspec.to_builtins(event, builtin_types=(bytes,))
    if fields and "packet" in fields:
        fields["packet"] = fields["packet"].hex()
    return json.loads(json.dumps(fields)) if fields else None


@pytest.fixture(params=KERNELS)
def recorded(request: pytest.FixtureRequest) -> Callable[[str], Recorded]:
    """Return a reader of the recorded bytes of one kernel, by the source's file name."""

    def read(source: str) -> Recorded:
        stem = DATA / request.param / source
        lines = stem.with_suffix(".hex").read_text().splitlines()
        expected = json.loads(stem.with_suffix(".json").read_text())
        interfaces = {int(index): name for index, name in expected["interfaces"].items()}
        datagrams = [bytes.fromhex(line) for line in lines if not line.startswith("#")]
        return Recorded(datagrams, interfaces, expected["events"])

    return read


@pytest.fixture
def as_json() -> Callable[[object], dict[str, Any] | None]:
    """Return `plain`."""
    return plain
