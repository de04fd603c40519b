"""When a flush is noticed, on a clock that the test moves and with programs that are only said to run."""

from __future__ import annotations

import pytest

from kplab.lab.run import Expect, ScriptedRunner
from kplab.proxy.canary import Canary
from kplab.proxy.tools import Tools

pytestmark = pytest.mark.unit


def look(table: str, *, there: bool) -> Expect:
    """Expect a look at one canary."""
    return Expect(
        ["iptables-nft", "-w", "5", "-S", "KUBE-PROXY-CANARY", "-t", table], status=0 if there else 1
    )  # fmt: skip


def make(table: str) -> Expect:
    """Expect a canary to be made."""
    return Expect(["iptables-nft", "-w", "5", "-N", "KUBE-PROXY-CANARY", "-t", table])


def canary(*script: Expect, creates: bool = False) -> tuple[Canary, ScriptedRunner]:
    """Return a canary with a period of 30 s."""
    runner = ScriptedRunner(script)
    return Canary(Tools(runner, "nft", 4), 30.0, creates=creates), runner


def test_only_mangle_is_polled_once_each_sync_period() -> None:
    """As long as mangle's canary is there, nat's and filter's are not looked at."""
    watched, runner = canary(look("mangle", there=True), look("mangle", there=True))

    assert [watched.look(now) for now in (0.0, 29.9, 30.0, 59.9, 60.0)] == [False] * 5
    runner.assert_done()


def test_a_flush_is_told_once_all_three_have_gone() -> None:
    """A flush that is half done is waited for, looking again each 0.2 s."""
    watched, runner = canary(
        look("mangle", there=False),
        look("nat", there=True),
        look("nat", there=False),
        look("filter", there=False),
    )
    watched.look(0.0)

    assert [watched.look(now) for now in (30.0, 30.1, 30.2, 31.0)] == [False, False, True, False]
    runner.assert_done()


def test_waiting_for_the_others_ends_after_five_seconds() -> None:
    """When only mangle was flushed, everything is written anew all the same."""
    watched, runner = canary(look("mangle", there=False), look("nat", there=True), look("nat", there=True))
    watched.look(0.0)

    assert not watched.look(30.0)
    assert watched.look(35.0)
    runner.assert_done()


def test_a_lock_that_is_held_is_no_flush() -> None:
    """Status 4 means that iptables could not look; kube-proxy asks again at the next period."""
    held = Expect(["iptables-nft", "-w", "5", "-S", "KUBE-PROXY-CANARY", "-t", "mangle"], status=4)
    watched, runner = canary(held)
    watched.look(0.0)

    assert not watched.look(30.0)
    runner.assert_done()


def test_like_upstream_makes_the_chains_itself_at_the_start_and_after_a_flush() -> None:
    """In mangle, nat and filter, in this order."""
    tables = ("mangle", "nat", "filter")
    watched, runner = canary(
        *map(make, tables),
        look("mangle", there=False), look("nat", there=False), look("filter", there=False),
        *map(make, tables),
        creates=True,
    )  # fmt: skip

    assert [watched.look(now) for now in (0.0, 30.0, 30.0)] == [False, True, False]
    runner.assert_done()
