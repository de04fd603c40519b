"""How quickly a map of 24,000 elements is read and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.figure import Figure, seconds
from kplab.rules.nft_json import parse_nft


def measure() -> Iterator[Figure]:
    """Yield the time from nft's JSON to the element that answers, its index included."""
    elements = [
        [{"concat": [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "tcp", 80]}, {"goto": {"target": f"service-{n}"}}]
        for n in range(24_000)
    ]
    body = {"family": "ip", "table": "t", "name": "m", "map": "verdict", "type": ["ipv4_addr"], "elem": elements}
    text = json.dumps({"nftables": [{"map": body}]})

    def ask() -> None:
        table = parse_nft(text).table("ip", "t")
        assert table is not None
        assert table.sets["m"].elements.exact(("10.0.93.191", "tcp", 80)) is not None

    yield Figure("read 24,000 elements and find one", seconds(ask), "s", 0.4)
