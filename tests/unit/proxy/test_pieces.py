"""Texts for iptables-restore, cut where the kernel takes small messages only."""

from __future__ import annotations

import pytest

from kplab.proxy.pieces import in_pieces, jumps_last, message_bytes

pytestmark = pytest.mark.unit

FILTER = "*filter\n:A - [0:0]\n-A A -j ACCEPT\nCOMMIT\n"
NAT = "*nat\n:B - [0:0]\n:C - [0:0]\n-A B -j C\n-A C -j ACCEPT\n-X D\nCOMMIT\n"
TEXT = FILTER + NAT


def test_a_text_that_fits_stays_as_it_is() -> None:
    """Blocks within the capacity are not touched."""
    assert in_pieces(TEXT, message_bytes(TEXT)) == TEXT


def test_a_long_block_becomes_several_of_the_same_table() -> None:
    """Each piece names its table and commits; lines keep their order."""
    assert in_pieces(TEXT, 1500) == (
        FILTER + "*nat\n:B - [0:0]\n:C - [0:0]\n-A B -j C\nCOMMIT\n" + "*nat\n-A C -j ACCEPT\n-X D\nCOMMIT\n"
    )


@pytest.mark.parametrize("capacity", [1, 800, 1500, 100_000])
def test_nothing_is_lost_or_moved(capacity: int) -> None:
    """Whatever the capacity, the lines of each table are those of the text, in its order."""
    found: dict[str, list[str]] = {}
    table = ""
    for line in in_pieces(TEXT, capacity).splitlines():
        if line.startswith("*"):
            table = line
        elif line != "COMMIT":
            found.setdefault(table, []).append(line)

    assert found == {
        "*filter": [":A - [0:0]", "-A A -j ACCEPT"],
        "*nat": [":B - [0:0]", ":C - [0:0]", "-A B -j C", "-A C -j ACCEPT", "-X D"],
    }


def test_an_empty_block_is_kept() -> None:
    """A block without lines makes its table."""
    assert in_pieces("*raw\nCOMMIT\n", 5) == "*raw\nCOMMIT\n"


def test_jumps_that_come_last_empty_no_chain() -> None:
    """What is run after the rules declares no chain that they have filled, in that table; all else stays."""
    before = "*nat\n:B - [0:0]\n:CANARY - [0:0]\n-I PREROUTING -j B\nCOMMIT\n*mangle\n:B - [0:0]\nCOMMIT\n"

    assert jumps_last(before, TEXT) == (
        "*nat\n:CANARY - [0:0]\n-I PREROUTING -j B\nCOMMIT\n*mangle\n:B - [0:0]\nCOMMIT\n"
    )
