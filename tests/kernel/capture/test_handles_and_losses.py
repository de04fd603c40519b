"""Handles, the lab's own table, changes of the ruleset, and what happens when events come faster than we read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kplab.trace.events import FrameSeen, Lost, RulesetChanged
from tests.kernel.capture.play import FLOOD, OVERFLOW

if TYPE_CHECKING:
    from tests.kernel.capture.conftest import Answers

pytestmark = pytest.mark.kernel

IPV4 = 0x0800
FORWARDED = 6
"""Our chains that a forwarded packet passes."""


def test_handles_are_those_of_nfts_own_listing(answers: Answers) -> None:
    """For every chain with rules, the handles of `nft -a -j list ruleset`, in its order."""
    extra = answers["handles"].extra
    expected: dict[tuple[str, str, str], list[int]] = {}
    for item in json.loads(extra["nft"])["nftables"]:
        if rule := item.get("rule"):
            expected.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule["handle"])
    assert {(family, table, chain): handles for family, table, chain, handles in extra["handles"]} == expected


def test_a_traced_rule_is_found_by_its_handle(nft_answers: Answers) -> None:
    """Every handle in a trace is one that was read."""
    known = {(f, t, c): handles for f, t, c, handles in nft_answers["handles"].extra["handles"]}
    traces = [t for t in nft_answers["own_process"].traces() if t.handle is not None]
    assert traces
    assert all(t.handle in known[t.family, t.table, t.chain] for t in traces)


def test_our_table_leaves_iptables_save_as_it_was(answers: Answers) -> None:
    """Applied twice, it is there once, says whose it is, and iptables-save does not show it."""
    extra = answers["own_rules"].extra
    assert extra["with"] == extra["without"] != []
    assert extra["listing"].count("chain ") == 10
    assert extra["listing"].count("the lab's own tracing, not kube-proxy's") == 15


def test_a_change_of_the_ruleset_is_told_with_its_author_while_a_question_is_asked(answers: Answers) -> None:
    """Between `begin` and `rest` the kernel names the program; afterwards only the new generation is known."""
    answer = answers["changed"]
    first, second = [event.what for event in answer.events]
    assert isinstance(first, RulesetChanged)
    assert isinstance(second, RulesetChanged)
    assert (first.generation, first.program) == (answer.extra["generation"], "nft")
    assert first.pid is not None
    assert second == RulesetChanged(generation=first.generation + 1)


def test_a_flood_that_is_read_loses_nothing(answers: Answers) -> None:
    """1,000 packets a second for a second: each is traced on both nodes and seen on its links, or a loss is told."""
    counts = answers["flood"].extra
    lost = counts.get("node-a Lost", 0) + counts.get("node-b Lost", 0)
    assert lost or (counts["node-a packets"], counts["node-b packets"]) == (FLOOD, FLOOD)
    assert counts["client FrameSeen"] == counts["web-2 FrameSeen"] == FLOOD
    assert counts["node-a FrameSeen"] == counts["node-b FrameSeen"] == 2 * FLOOD


def test_a_flood_that_is_not_read_is_counted_to_the_last_message(answers: Answers) -> None:
    """What came and what is reported lost make up what the kernel sent: the same number for every packet."""
    extra = answers["overflow"].extra
    lost = {(node, source): count for node, source, count in extra["lost"]}
    assert lost[("node-a", "nft trace")] > 0
    for (node, source), count in lost.items():
        came = extra[f"{node} {'LegacyTrace' if source == 'NFLOG' else 'NftTrace'}"]
        assert (came + count) % OVERFLOW == 0, f"{source} of {node}: {came} came, {count} lost"
        assert (came + count) // OVERFLOW >= FORWARDED


def test_after_a_loss_the_next_question_is_whole(answers: Answers) -> None:
    """The sockets work on after an overrun, and the loss does not come up again."""
    after = answers["overflow"]
    assert [type(event.what) for event in after.events if isinstance(event.what, Lost)] == []
    assert len(after.events) == len(answers["dropped"].events) == 4


def test_what_is_beyond_a_questions_room_counts_as_lost(answers: Answers) -> None:
    """Ten frames came; the first few are kept, the others are reported, and the next question starts with room."""
    answer = answers["little_room"]
    kept, lost = answer.extra["kept"], answer.extra["lost"]
    assert 1 <= kept <= 3
    # A neighbour may be asked after in between: such a frame takes room, or is lost, like any other.
    assert kept + lost >= 10
    assert sum(isinstance(e.what, FrameSeen) and e.what.protocol == IPV4 for e in answer.events) == 1


def test_a_second_reader_of_nflog_is_told_why_not(legacy_answers: Answers) -> None:
    """The kernel gives group 0 to one process a namespace; nothing is left open after the refusal."""
    extra = legacy_answers["second_reader"].extra
    assert "take NFLOG group 0 of node-a" in extra["error"]
    assert "end the other reader" in extra["error"]
    assert extra["left"] == []


def test_the_logger_is_set_for_legacy_only(nft_answers: Answers, legacy_answers: Answers) -> None:
    """With iptables-nft nobody's logging is changed."""
    assert legacy_answers["logger"].extra["loggers"] == ["nfnetlink_log", "nfnetlink_log"]
    assert "nfnetlink_log" not in nft_answers["logger"].extra["loggers"]
