"""Walks along the kernel's trace, and without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kplab.model.packet import Headers
from kplab.model.ruleset import Ruleset
from kplab.rules.iptables_save import parse_iptables_save
from kplab.trace.matching import NodeView, Probe
from kplab.trace.walk import Hit, Walk, walk

pytestmark = pytest.mark.unit

RULES = """*filter
:INPUT ACCEPT [0:0]
:OUTPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:A - [0:0]
:B - [0:0]
:D - [0:0]
:Z - [0:0]
-A OUTPUT -p tcp -m tcp --dport 80 -g D
-A OUTPUT -j A
-A OUTPUT -j Z
-A OUTPUT -p tcp -m tcp --dport 82 -j REJECT --reject-with icmp-port-unreachable
-A OUTPUT -p tcp -m tcp --dport 83 -j RETURN
-A OUTPUT -p tcp -m tcp --dport 84 -m limit --limit 5/min -j LOG --log-prefix "x: "
-A OUTPUT -j ACCEPT
-A A -p udp -j DROP
-A A -j MARK --set-xmark 0x4000/0x4000
-A A -g B
-A A -j DROP
-A B -m mark ! --mark 0x4000/0x4000 -j DROP
-A B -j RETURN
-A B -j DROP
-A D -p udp -j DROP
-A D -m comment --comment "back" -j RETURN
-A FORWARD -m statistic --mode random --probability 0.33333333349 -j A
-A FORWARD -m statistic --mode random --probability 0.50000000000 -j B
-A FORWARD -p udp -j DROP
-A FORWARD -p tcp -j Z
COMMIT
"""


def parsed(text: str = RULES, backend: str = "nft") -> Ruleset:
    """Parse rules of one back-end."""
    return parse_iptables_save(text, 4, "legacy" if backend == "legacy" else "nft")


def tcp(dport: int) -> Probe:
    """Return a new TCP connection's packet."""
    headers = Headers(4, "10.9.9.9", "10.9.9.8", "tcp", sport=40000, dport=dport, flags="S")
    return Probe(headers, oif="eth0", ct_state="new", ct_status=0, node=NodeView.read(["10.9.9.9"]))


def shape(found: Walk) -> list[tuple[str, int | None, int, str]]:
    """Return (chain, number of the matched rule, rules tried, verdict) of each segment."""
    return [(s.chain, s.matched.number if s.matched else None, s.tried, s.verdict) for s in found.segments]


# As nf_tables reports these rules on Linux 6.18: no message where a chain is left by RETURN or goto.
TO_81_NFT = [
    Hit("OUTPUT", 2, "rule", "jump A", 0),
    Hit("A", 2, "rule", "continue", 0x4000),
    Hit("A", 3, "rule", "goto B", 0x4000),
    Hit("B", 2, "rule", "return", 0x4000),
    Hit("OUTPUT", 3, "rule", "jump Z", 0x4000),
    Hit("Z", None, "return", "continue", 0x4000),
    Hit("OUTPUT", 7, "rule", "accept", 0x4000),
]
# As iptables-legacy's TRACE reports them: the mark before the rule, no verdicts, and an unconditional ACCEPT
# or RETURN by the words "policy" and "return", with its own number.
TO_81_LEGACY = [
    Hit("OUTPUT", 2, "rule", "", 0),
    Hit("A", 2, "rule", "", 0),
    Hit("A", 3, "rule", "", 0x4000),
    Hit("B", 2, "return", "", 0x4000),
    Hit("OUTPUT", 3, "rule", "", 0x4000),
    Hit("Z", 1, "return", "", 0x4000),
    Hit("OUTPUT", 7, "policy", "", 0x4000),
]
TO_81 = [
    ("OUTPUT", 2, 2, "jump A"),
    ("A", 2, 2, "continue"),
    ("A", 3, 3, "goto B"),
    ("B", 2, 2, "return"),
    ("OUTPUT", 3, 3, "jump Z"),
    ("Z", None, 0, "return"),
    ("OUTPUT", 7, 7, "accept"),
]


@pytest.mark.parametrize(("backend", "hits"), [("nft", TO_81_NFT), ("legacy", TO_81_LEGACY)])
def test_both_back_ends_traces_give_the_same_walk(backend: str, hits: list[Hit]) -> None:
    """Jumps, goto, RETURN, an empty chain and a mark: the same segments, all seen, with no disagreement."""
    found = walk(parsed(backend=backend), "filter", "OUTPUT", tcp(81), hits)
    assert shape(found) == TO_81
    assert found.verdict == "accept"
    assert (found.disagreements, found.unfinished, found.undecided) == ((), None, None)
    assert found.mark_after == 0x4000
    assert [(s.mark_before, s.mark_after) for s in found.segments][:3] == [(0, 0), (0, 0x4000), (0x4000, 0x4000)]
    assert {s.evidence for s in found.segments} == {"seen"}
    assert [s.hit for s in found.segments] == list(range(7))
    assert [s.depth for s in found.segments] == [0, 1, 1, 2, 0, 1, 0]


def test_rules_passed_over_are_told_once_each_with_their_reason() -> None:
    """Each segment holds the rules since the visit's last match; all of a visit's add up to those tried."""
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), TO_81_NFT)
    assert [s.reason for s in found.segments[0].skipped] == ["dport is 81, not 80"]
    assert [s.reason for s in found.segments[6].skipped] == [
        "dport is 81, not 82", "dport is 81, not 83", "dport is 81, not 84",
    ]  # fmt: skip
    assert [s.rule.number for s in found.segments[6].skipped] == [4, 5, 6]
    assert {s.evidence for segment in found.segments for s in segment.skipped} == {"rebuilt"}


def test_without_a_trace_the_model_takes_the_same_way() -> None:
    """The walk by the model alone has the same segments, and says that they are modelled."""
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), None)
    assert shape(found) == TO_81
    assert {s.evidence for s in found.segments} == {"modelled"}
    assert {s.evidence for segment in found.segments for s in segment.skipped} == {"modelled"}


GOTO_HITS = {
    "nft": [Hit("OUTPUT", 1, "rule", "goto D"), Hit("D", 2, "rule", "return"), Hit("OUTPUT", None, "policy", "drop")],
    "legacy": [Hit("OUTPUT", 1, "rule"), Hit("D", 2, "rule"), Hit("OUTPUT", 8, "policy")],
}


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_a_return_after_goto_from_a_base_chain_ends_at_its_policy(backend: str) -> None:
    """The base chain's other rules are not tried then; a chain's policy is the one in the rules."""
    found = walk(parsed(backend=backend), "filter", "OUTPUT", tcp(80), GOTO_HITS[backend])
    assert shape(found)[1:] == [("D", 2, 2, "return"), ("OUTPUT", None, 0, "policy drop")]
    assert found.segments[-1].skipped == ()
    assert (found.verdict, found.disagreements) == ("policy drop", ())


def test_a_return_in_a_base_chain_ends_at_its_policy() -> None:
    """RETURN in a base chain applies the policy; the model says so too."""
    hits = [*TO_81_NFT[:6], Hit("OUTPUT", 5, "rule", "return"), Hit("OUTPUT", None, "policy", "drop")]
    found = walk(parsed(), "filter", "OUTPUT", tcp(83), hits)
    assert shape(found)[-2:] == [("OUTPUT", 5, 5, "return"), ("OUTPUT", None, 0, "policy drop")]
    assert found.disagreements == ()
    assert shape(walk(parsed(), "filter", "OUTPUT", tcp(83), None)) == shape(found)


def test_reject_keeps_its_word_though_the_kernel_says_drop() -> None:
    """nf_tables reports REJECT as drop; that is no disagreement."""
    hits = [*TO_81_NFT[:6], Hit("OUTPUT", 4, "rule", "drop")]
    found = walk(parsed(), "filter", "OUTPUT", tcp(82), hits)
    assert (found.verdict, found.disagreements) == ("reject", ())


def test_missing_ends_of_chains_are_rebuilt_and_not_held_against_the_kernel() -> None:
    """A kernel that reports no end of Z, nor of the base chain, gives the same walk."""
    hits = [hit for hit in TO_81_NFT if hit.kind != "return"]
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), hits)
    assert shape(found) == TO_81
    assert found.disagreements == ()
    assert found.segments[5].evidence == "rebuilt"
    assert found.segments[5].hit is None


def test_an_old_kernels_return_without_a_handle_is_found_by_the_model() -> None:
    """Kernels before 6.4 report RETURN as type "return" and may not name the rule."""
    hits = [replace(hit, number=None, kind="return") if hit.verdict == "return" else hit for hit in TO_81_NFT]
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), hits)
    assert shape(found) == TO_81
    assert found.disagreements == ()


def test_the_end_of_a_base_chain_is_told_by_its_policy() -> None:
    """nf_tables reports the end and then the policy; the walk has one segment of them, with all rules tried."""
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p udp -j DROP\nCOMMIT\n"
    hits = [Hit("INPUT", None, "return", "continue"), Hit("INPUT", None, "policy", "accept")]
    found = walk(parsed(text), "filter", "INPUT", tcp(80), hits)
    assert shape(found) == [("INPUT", None, 1, "policy accept")]
    assert [s.reason for s in found.segments[0].skipped] == ["proto is tcp, not udp"]


def test_draws_are_known_from_the_trace_only() -> None:
    """With a trace a missed draw is rebuilt; without one the walk stops and lists the ways on."""
    hits = [Hit("FORWARD", 2, "rule", "jump B"), Hit("B", 1, "rule", "drop")]
    found = walk(parsed(), "filter", "FORWARD", tcp(80), hits)
    assert [s.reason for s in found.segments[0].skipped] == ["the draw missed: probability 0.333 (rebuilt)"]
    assert found.disagreements == ()
    open_end = walk(parsed(), "filter", "FORWARD", tcp(80), None)
    assert open_end.verdict is None
    assert open_end.undecided is not None
    assert (open_end.undecided.chain, open_end.undecided.number) == ("FORWARD", 1)
    assert [(way.verdict, way.reason) for way in open_end.undecided.continuations] == [
        ("jump A", "the draw: probability 0.333"), ("jump B", "the draw: probability 0.5"), ("jump Z", ""),
    ]  # fmt: skip


def test_a_match_that_is_not_understood_follows_the_kernel_and_says_so() -> None:
    """Its outcome is taken from the trace, passed over or matched, without a disagreement."""
    passed = walk(parsed(), "filter", "OUTPUT", tcp(84), TO_81_NFT)
    assert passed.segments[6].skipped[2].reason == (
        "`-m limit --limit 5/min` is not understood; the kernel passed the rule over (rebuilt)"
    )
    assert passed.disagreements == ()
    hits = [*TO_81_NFT[:6], Hit("OUTPUT", 6, "rule", "continue"), TO_81_NFT[6]]
    assert walk(parsed(), "filter", "OUTPUT", tcp(84), hits).disagreements == ()
    modelled = walk(parsed(), "filter", "OUTPUT", tcp(84), None)
    assert modelled.undecided is not None
    assert [way.verdict for way in modelled.undecided.continuations] == ["continue", "accept"]


def test_a_match_of_the_model_that_the_kernel_passed_over_is_a_disagreement() -> None:
    """The rule is named, with what each of the two says, and the walk goes on with the kernel."""
    hits = [*TO_81_NFT[:6], Hit("OUTPUT", 7, "rule", "accept")]
    found = walk(parsed(), "filter", "OUTPUT", tcp(82), hits)
    assert [d.text for d in found.disagreements] == [
        "OUTPUT rule 4: the model says that it matches; the kernel passed it over."
    ]
    assert found.verdict == "accept"
    assert found.segments[6].disagreements == found.disagreements


def test_a_traced_rule_that_does_not_match_in_the_model_is_a_disagreement() -> None:
    """The reason for which the model would not match is told."""
    hits = [*TO_81_NFT[:6], Hit("OUTPUT", 4, "rule", "drop")]
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), hits)
    assert [d.text for d in found.disagreements] == [
        "OUTPUT rule 4: the model says that it does not match (dport is 81, not 82); the kernel matched it."
    ]


FORGED = [
    ([Hit("OUTPUT", 2, "rule", "jump Z")], "its verdict is jump A"),
    ([Hit("OUTPUT", None, "rule", "drop", handle=77)], "it holds no such rule"),
    ([Hit("OUTPUT", 44, "rule", "drop")], "it holds no such rule"),
    ([Hit("B", 2, "rule", "return")], "the packet is in OUTPUT"),
    ([Hit("ELSEWHERE", 1, "rule", "drop")], "the packet is in OUTPUT"),
    ([*TO_81_NFT, Hit("OUTPUT", 7, "rule", "accept")], "the packet has left OUTPUT"),
    ([*TO_81_NFT[:2], Hit("A", 2, "rule", "continue")], "rule 3 is next"),
    ([Hit("OUTPUT", 2, "rule", "jump A", 0x99)], "the mark is 0x0"),
    ([Hit("OUTPUT", 2, "rule", "jump A"), Hit("OUTPUT", None, "policy", "accept")], "its policy is drop"),
]


@pytest.mark.parametrize(("hits", "words"), FORGED, ids=[words for _, words in FORGED])
def test_a_forged_trace_is_told(hits: list[Hit], words: str) -> None:
    """Whatever in a trace the rules cannot have done becomes a disagreement, never an error."""
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), hits)
    assert any(words in d.text for d in found.disagreements), found.disagreements


def test_a_rule_made_after_the_rules_were_read_is_shown_with_the_kernels_verdict() -> None:
    """Its segment has no rule, the kernel's verdict, and the disagreement."""
    hits = [Hit("OUTPUT", None, "rule", "drop", handle=77)]
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), hits)
    assert [(s.chain, s.matched, s.kind, s.verdict, s.evidence) for s in found.segments] == [
        ("OUTPUT", None, "rule", "drop", "seen")
    ]
    assert (found.verdict, found.segments[0].disagreements) == ("drop", found.disagreements)


def test_a_trace_that_stops_early_is_unfinished() -> None:
    """Without a verdict there is none to tell."""
    found = walk(parsed(), "filter", "OUTPUT", tcp(81), TO_81_NFT[:2])
    assert (found.verdict, found.unfinished) == (None, "the trace stops in A, before a verdict")


def test_a_base_chain_that_is_not_there_is_said() -> None:
    """No segments, and a sentence."""
    found = walk(parsed(), "nat", "PREROUTING", tcp(80), [])
    assert (found.segments, found.unfinished) == ((), "the rules hold no chain PREROUTING in table nat")


RAW = """*raw
:PREROUTING ACCEPT [0:0]
:T - [0:0]
-A PREROUTING -p udp -j DROP
-A PREROUTING -p tcp -j T
-A PREROUTING -p tcp -j ACCEPT
-A T -d 10.9.9.8/32 -j TRACE
-A T -p tcp -j RETURN
COMMIT
"""


@pytest.mark.parametrize(
    "hits",
    [
        [Hit("T", 1, "rule", "continue"), Hit("T", 2, "rule", "return"), Hit("PREROUTING", 3, "rule", "accept")],
        [Hit("T", 2, "rule", "return"), Hit("PREROUTING", 3, "rule", "accept")],
        [Hit("PREROUTING", 2, "rule", "jump T"), Hit("T", 1, "rule", "continue"), Hit("T", 2, "rule", "return"),
         Hit("PREROUTING", 3, "rule", "accept")],
    ],
    ids=["nft names the TRACE rule", "legacy does not", "traced before"],
)  # fmt: skip
def test_what_came_before_the_trace_began_is_modelled(hits: list[Hit]) -> None:
    """In the raw table nothing is traced before the TRACE rule has matched; the walk fills that in."""
    found = walk(parsed(RAW), "raw", "PREROUTING", tcp(80), hits)
    assert shape(found) == [
        ("PREROUTING", 2, 2, "jump T"), ("T", 1, 1, "continue"), ("T", 2, 2, "return"), ("PREROUTING", 3, 3, "accept"),
    ]  # fmt: skip
    assert found.disagreements == ()
    assert [s.evidence for s in found.segments].count("modelled") == 4 - len(hits)


def test_the_raw_table_comes_before_conntrack() -> None:
    """A packet has no entry there yet, which is INVALID to a rule; but over the loopback device it keeps its own."""
    text = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
    entering = replace(tcp(80), iif="eth0", oif=None)
    assert walk(parsed(text), "raw", "PREROUTING", entering, None).verdict == "drop"
    assert walk(parsed(text), "raw", "PREROUTING", replace(entering, iif="lo"), None).verdict == "policy accept"


MARKS = [
    ("--set-xmark 0x4000/0x4000", 0x1, 0x4001),
    ("--set-xmark 0x4000/0x0", 0x4001, 0x1),
    ("--set-xmark 0x5/0xffffffff", 0x77, 0x5),
    ("--set-mark 0x5/0x1", 0x3, 0x7),
    ("--or-mark 0x4", 0x1, 0x5),
    ("--and-mark 0x4", 0x5, 0x4),
    ("--xor-mark 0x4", 0x5, 0x1),
]


@pytest.mark.parametrize(("options", "before", "after"), MARKS, ids=[options for options, _, _ in MARKS])
def test_mark_targets_change_the_mark_as_the_kernel_does(options: str, before: int, after: int) -> None:
    """xt_mark: (mark & ~mask) ^ value, and its shorthands; a later rule sees the new mark."""
    rules = f"-A OUTPUT -j MARK {options}\n-A OUTPUT -m mark --mark {after} -j DROP\n"
    text = f"*mangle\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n"
    found = walk(parsed(text), "mangle", "OUTPUT", replace(tcp(80), mark=before), None)
    assert (found.mark_after, found.verdict) == (after, "drop")


def test_a_mark_is_saved_in_the_connection_and_restored() -> None:
    """CONNMARK --save-mark and --restore-mark, with their masks."""
    text = (
        "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff\n"
        "-A OUTPUT -j MARK --set-xmark 0x0/0xffffffff\n"
        "-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf\nCOMMIT\n"
    )
    known = replace(tcp(80), mark=0x1234, ct_mark=0x9900)
    found = walk(parsed(text), "mangle", "OUTPUT", known, None)
    assert [s.mark_after for s in found.segments] == [0x1234, 0, 0x4, 0x4]


def test_a_mark_restored_from_an_unknown_connection_is_not_guessed() -> None:
    """Later rules about the mark are unknowable, until the kernel reports it."""
    text = (
        "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j CONNMARK --restore-mark\n"
        "-A OUTPUT -m mark --mark 0x7 -j DROP\nCOMMIT\n"
    )
    found = walk(parsed(text), "mangle", "OUTPUT", tcp(80), None)
    assert found.undecided is not None
    assert found.undecided.reason == "the mark is not known"
    hits = [Hit("OUTPUT", 1, "rule", "continue", 7), Hit("OUTPUT", 2, "rule", "drop", 7)]
    traced = walk(parsed(text), "mangle", "OUTPUT", tcp(80), hits)
    assert (traced.disagreements, traced.mark_after) == ((), 7)


def test_chains_in_a_circle_do_not_hang_the_walk() -> None:
    """No kernel takes such rules; a dump made by hand may hold them."""
    text = "*filter\n:INPUT ACCEPT [0:0]\n:A - [0:0]\n-A INPUT -j A\n-A A -j A\nCOMMIT\n"
    found = walk(parsed(text), "filter", "INPUT", tcp(80), None)
    assert found.undecided is not None
    assert "circle" in found.undecided.reason
