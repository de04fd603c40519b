"""ipset save's lines, taken apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.errors import UsageError
from kplab.rules.ipset_save import parse_ipset_save

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"


def test_every_golden_dump_of_sets_is_read() -> None:
    """Each `create` is a set, each `add` a member."""
    dumps = sorted(GOLDEN.glob("*/ipvs*.ipset"))
    assert len(dumps) > 20
    for path in dumps:
        lines = path.read_text().splitlines()
        sets = parse_ipset_save(path.read_text())
        assert len(sets) == sum(line.startswith("create ") for line in lines)
        assert sum(len(found.members) for found in sets.values()) == sum(line.startswith("add ") for line in lines)


def test_options_of_members_are_dropped_and_nomatch_is_kept_apart() -> None:
    """Timeouts and comments are no part of a member; nomatch makes a hole."""
    text = 'create A hash:net family inet6 timeout 10\nadd A fd00::/8 timeout 5 comment "x"\nadd A fd00::1 nomatch\n'
    found = parse_ipset_save(text)["A"]
    assert (found.type, found.family) == ("hash:net", 6)
    assert found.members == frozenset({"fd00::/8"})
    assert found.excepted == frozenset({"fd00::1"})


@pytest.mark.parametrize("text", ["add A 1.2.3.4\n", "create A\n", "destroy A\n"])
def test_a_line_that_is_not_of_the_format_is_named(text: str) -> None:
    """The message has the line's number."""
    with pytest.raises(UsageError, match="line 1 of the sets"):
        parse_ipset_save(text)
