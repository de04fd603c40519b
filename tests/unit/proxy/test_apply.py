"""Which programs the default way and kube-proxy's own way run, and with which input."""

from __future__ import annotations

import pytest

from kplab.errors import ApplyError, ProgramError
from kplab.lab.run import Expect, ScriptedRunner
from kplab.modes.iptables_fixed import JUMPS
from kplab.modes.program import ChainLine, IptablesProgram, RuleLine, TableProgram
from kplab.proxy.apply import DirectApplier, Order, listing_pays, preparations
from kplab.proxy.cleanup import removal
from kplab.proxy.dump import chains_listed, printed, read_dump, stale_chains
from kplab.proxy.tools import Tools
from kplab.proxy.upstream import UpstreamApplier

pytestmark = pytest.mark.unit

SVC = "KUBE-SVC-AAAAAAAAAAAAAAAA"
PROGRAM = IptablesProgram(
    family=4,
    jumps=(JUMPS[10],),
    tables=(
        TableProgram("filter", (ChainLine("KUBE-FORWARD"),), ()),
        TableProgram(
            "nat",
            (ChainLine("KUBE-SERVICES"), ChainLine(SVC, "demo/web")),
            (RuleLine("KUBE-SERVICES", f"-A KUBE-SERVICES -j {SVC}"), RuleLine(SVC, f"-A {SVC} -j RETURN", "demo/web")),
        ),
    ),
)
FULL = Order(PROGRAM, None, clean_stale=True)
PARTIAL = Order(PROGRAM, frozenset(), clean_stale=True)

CLEAN = """\
*mangle
:PREROUTING ACCEPT [0:0]
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-BBBBBBBBBBBBBBBB - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -j KUBE-SVC-BBBBBBBBBBBBBBBB
COMMIT
"""
"""What iptables-save prints where jumps and canaries are in place, and one chain is stale."""

RESTORE = ["iptables-legacy-restore", "-w", "5", "--noflush", "--counters"]


def test_a_dump_is_read_as_chains_and_rules_of_base_chains() -> None:
    """Rules of other chains are only counted."""
    held = read_dump(CLEAN)

    assert held.has("nat", "KUBE-SERVICES")
    assert not held.has("filter", "KUBE-SERVICES")
    assert held.base_rules == frozenset({printed(JUMPS[10])})
    assert held.rules == 2


def test_stale_chains_are_known_by_their_prefix() -> None:
    """A fixed chain, a canary or a user's chain is never stale."""
    present = ["KUBE-SVC-B", "KUBE-SEP-A", "KUBE-SERVICES", "KUBE-PROXY-CANARY", "USER"]

    assert stale_chains(present, ["KUBE-SEP-A"]) == ("KUBE-SVC-B",)


def test_nfts_listing_of_chains_is_read_for_table_nat_only() -> None:
    """Other tables of the family are in the same output."""
    text = "table ip filter {\n\tchain A {\n\t}\n}\n"
    text += "table ip nat {\n\tchain B {\n\t\ttype nat hook input priority 0;\n\t}\n}\n"

    assert chains_listed(text) == frozenset({"B"})


def test_what_is_there_already_needs_no_preparation() -> None:
    """No block in front of the rules when canaries, chains and jumps are in place."""
    assert preparations(PROGRAM, read_dump(CLEAN)) == ""


def test_a_clean_node_gets_canaries_chains_and_jumps_first() -> None:
    """In one text, a block for each table; jumps are inserted, not appended."""
    assert preparations(PROGRAM, read_dump("")) == (
        "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n"
        "*nat\n:KUBE-PROXY-CANARY - [0:0]\n:KUBE-SERVICES - [0:0]\n"
        '-I PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\nCOMMIT\n'
        "*filter\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n"
    )


def test_a_full_sync_is_one_save_and_one_restore() -> None:
    """The stale chain is flushed and deleted in the same transaction."""
    text = PROGRAM.text(stale=["KUBE-SVC-BBBBBBBBBBBBBBBB"])
    runner = ScriptedRunner([Expect(["iptables-legacy-save"], stdout=CLEAN), Expect(RESTORE, text)])
    DirectApplier(Tools(runner, "legacy", 4)).apply(FULL)

    runner.assert_done()
    assert "-X KUBE-SVC-BBBBBBBBBBBBBBBB" in text


def test_a_partial_sync_looks_at_table_nat_only() -> None:
    """For stale chains; jumps are not checked."""
    script = [
        Expect(["iptables-legacy-save", "-t", "nat"], stdout=CLEAN),
        Expect(RESTORE, PROGRAM.text(changed=(), stale=["KUBE-SVC-BBBBBBBBBBBBBBBB"])),
    ]
    runner = ScriptedRunner(script)
    DirectApplier(Tools(runner, "legacy", 4)).apply(PARTIAL)

    runner.assert_done()


def test_a_partial_sync_of_a_large_cluster_reads_nothing() -> None:
    """Stale chains are looked for at most once a syncPeriod there."""
    runner = ScriptedRunner([Expect(RESTORE, PROGRAM.text(changed=()))])
    DirectApplier(Tools(runner, "legacy", 4)).apply(Order(PROGRAM, frozenset(), clean_stale=False))

    runner.assert_done()


def test_the_listing_that_makes_nft_read_chains_once_falls_back_to_the_plain_text() -> None:
    """An iptables that does not take -S there gets the text without it."""
    restore = ["iptables-nft-restore", "-w", "5", "--noflush", "--counters"]
    plain = preparations(PROGRAM, read_dump("")) + PROGRAM.text()
    listed = preparations(PROGRAM, read_dump("")) + PROGRAM.text().replace("*nat\n", "*nat\n-S\n")
    runner = ScriptedRunner([Expect(["iptables-nft-save"]), Expect(restore, listed, status=2), Expect(restore, plain)])
    DirectApplier(Tools(runner, "nft", 4)).apply(FULL)

    runner.assert_done()


def test_the_listing_is_used_where_it_wins() -> None:
    """Many chains into an empty table: yes. A few into a full one: no."""
    assert listing_pays(28_000, 0)
    assert listing_pays(28_000, 100_000)
    assert not listing_pays(20, 100_000)


def test_a_refused_text_is_quoted_with_its_line() -> None:
    """The tool's words verbatim, and the line that it names."""
    runner = ScriptedRunner([Expect(RESTORE, status=2, stderr="iptables-restore: line 4 failed\n")])

    with pytest.raises(ApplyError) as caught:
        DirectApplier(Tools(runner, "legacy", 4)).apply(Order(PROGRAM, frozenset(), clean_stale=False))

    assert "iptables-restore: line 4 failed" in caught.value.happened
    assert caught.value.hint == "line 4 reads: *nat"


def test_like_upstream_ensures_each_jump_by_commands_of_its_own() -> None:
    """-N, -C, and -I where -C found nothing; then iptables-save for stale chains, and the restore."""
    rule = [
        "PREROUTING",
        "-t",
        "nat",
        "-m",
        "comment",
        "--comment",
        "kubernetes service portals",
        "-j",
        "KUBE-SERVICES",
    ]
    iptables = ["iptables-legacy", "-w", "5"]
    script = [
        Expect([*iptables, "-N", "KUBE-SERVICES", "-t", "nat"], status=1),
        Expect([*iptables, "-C", *rule], status=1),
        Expect([*iptables, "-I", *rule]),
        Expect(["iptables-legacy-save", "-t", "nat"]),
        Expect(RESTORE, PROGRAM.text()),
    ]
    runner = ScriptedRunner(script)
    UpstreamApplier(Tools(runner, "legacy", 4)).apply(FULL)

    runner.assert_done()


def test_a_missing_program_is_not_taken_for_refused_rules() -> None:
    """Its own error, with the package, comes through."""
    runner = ScriptedRunner([Expect(RESTORE, status=127)])

    with pytest.raises(ProgramError):
        DirectApplier(Tools(runner, "legacy", 4)).apply(Order(PROGRAM, frozenset(), clean_stale=False))


def test_a_clean_up_of_nothing_writes_nothing() -> None:
    """A node without iptables mode's chains is left alone."""
    assert removal(read_dump("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")) == ""
