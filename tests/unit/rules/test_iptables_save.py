"""iptables-save's lines, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

import pytest

from kplab.errors import UsageError
from kplab.model.ruleset import (
    AddressMatch,
    AddrTypeMatch,
    CommentMatch,
    ConnmarkMatch,
    CtStateMatch,
    IcmpMatch,
    InterfaceMatch,
    MarkMatch,
    Match,
    NfacctMatch,
    NotUnderstood,
    PhysdevMatch,
    PortMatch,
    ProtocolMatch,
    RecentMatch,
    Rule,
    Ruleset,
    SetMatch,
    StatisticMatch,
    Target,
    TcpFlagsMatch,
)
from kplab.rules.iptables_save import parse_iptables_save

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
DUMPS = sorted(GOLDEN.glob("*/*tables-save"))


def one(options: str) -> Rule:
    """Parse one rule of a small table."""
    text = f"*filter\n:INPUT ACCEPT [0:0]\n:A - [0:0]\n-A INPUT {options}\nCOMMIT\n"
    return parse_iptables_save(text, 4, "nft").tables["filter"].chains["INPUT"].rules[0]


def rules_of(ruleset: Ruleset) -> list[Rule]:
    """Return every rule of a ruleset."""
    return [rule for table in ruleset.tables.values() for chain in table.chains.values() for rule in chain.rules]


def family_of(path: Path) -> Literal[4, 6]:
    """Return the family that a dump is of."""
    return 6 if "ip6tables" in path.name else 4


def test_every_golden_dump_is_understood_line_by_line() -> None:
    """Each rule keeps its own text, and only -m ipvs, whose state is not in the rules, is not understood."""
    assert len(DUMPS) > 200
    foreign: set[str] = set()
    for path in DUMPS:
        text = path.read_text()
        rules = rules_of(parse_iptables_save(text, family_of(path), "nft"))
        assert sorted(rule.text for rule in rules) == sorted(line for line in text.splitlines() if line[:2] == "-A")
        foreign |= {m.text for rule in rules for m in rule.matches if isinstance(m, NotUnderstood)}
    assert all(text.startswith("-m ipvs --vproto 6 --vaddr ") for text in foreign)


def test_every_golden_target_is_a_chain_or_a_known_word() -> None:
    """A target is a declared chain, one of the seven that kube-proxy uses, or none for a rule that only speaks."""
    words = {"", "ACCEPT", "DROP", "RETURN", "REJECT", "MARK", "DNAT", "MASQUERADE"}
    for path in DUMPS:
        for table in parse_iptables_save(path.read_text(), family_of(path), "nft").tables.values():
            for chain in table.chains.values():
                for rule in chain.rules:
                    assert rule.target.name in words or rule.target.name in table.chains, rule.text


MATCHES: list[tuple[str, list[Match]]] = [
    ("-s 10.244.0.0/16", [AddressMatch("source", ip_network("10.244.0.0/16"))]),
    ("! -d fd00::1/128", [AddressMatch("destination", ip_network("fd00::1/128"), inverted=True)]),
    ("-s 10.0.0.0/255.255.0.0", [AddressMatch("source", ip_network("10.0.0.0/16"))]),
    ("-i cali+ ! -o eth0", [InterfaceMatch("in", "cali+"), InterfaceMatch("out", "eth0", inverted=True)]),
    ("-p tcp", [ProtocolMatch("tcp")]),
    ("! -p ipv6-icmp", [ProtocolMatch("icmpv6", inverted=True)]),
    ("-p esp", [ProtocolMatch("50")]),
    ("-p all", []),
    ("-p tcp -m tcp --dport 80", [ProtocolMatch("tcp"), PortMatch("destination", ((80, 80),))]),
    ("-p tcp --dport 30000:32767", [ProtocolMatch("tcp"), PortMatch("destination", ((30000, 32767),))]),
    ("-p udp -m udp ! --sport :1023", [ProtocolMatch("udp"), PortMatch("source", ((0, 1023),), inverted=True)]),
    ("-p tcp -m multiport --dports 80,443,8000:8080",
     [ProtocolMatch("tcp"), PortMatch("destination", ((80, 80), (443, 443), (8000, 8080)))]),
    ("-p tcp -m multiport ! --ports 22", [ProtocolMatch("tcp"), PortMatch("either", ((22, 22),), inverted=True)]),
    ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", [ProtocolMatch("tcp"), TcpFlagsMatch("FSRA", "S")]),
    ("-p tcp -m tcp ! --syn", [ProtocolMatch("tcp"), TcpFlagsMatch("FSRA", "S", inverted=True)]),
    ("-p tcp -m tcp --tcp-flags ALL NONE", [ProtocolMatch("tcp"), TcpFlagsMatch("FSRPAU", "")]),
    ("-p icmp -m icmp --icmp-type 3/4", [ProtocolMatch("icmp"), IcmpMatch(3, 4)]),
    ("-p icmp -m icmp --icmp-type any", [ProtocolMatch("icmp"), IcmpMatch(None)]),
    ("-p ipv6-icmp -m icmp6 --icmpv6-type 128", [ProtocolMatch("icmpv6"), IcmpMatch(128)]),
    ("-m mark ! --mark 0x4000/0x4000", [MarkMatch(0x4000, 0x4000, inverted=True)]),
    ("-m mark --mark 0x5", [MarkMatch(5)]),
    ("-m connmark --mark 0x1/0x1", [ConnmarkMatch(1, 1)]),
    ("-m conntrack --ctstate RELATED,ESTABLISHED", [CtStateMatch(frozenset({"RELATED", "ESTABLISHED"}))]),
    ("-m state --state NEW", [CtStateMatch(frozenset({"NEW"}))]),
    ("-m addrtype ! --dst-type LOCAL", [AddrTypeMatch("destination", frozenset({"LOCAL"}), inverted=True)]),
    ("-m addrtype --src-type LOCAL --dst-type UNICAST",
     [AddrTypeMatch("source", frozenset({"LOCAL"})), AddrTypeMatch("destination", frozenset({"UNICAST"}))]),
    ("-m statistic --mode random --probability 0.33333333349", [StatisticMatch("random", probability=0.33333333349)]),
    ("-m statistic --mode nth --every 3 --packet 1", [StatisticMatch("nth", every=3, packet=1)]),
    ("-m recent --rcheck --seconds 10800 --reap --name X --mask 255.255.255.255 --rsource",
     [RecentMatch("rcheck", "X", seconds=10800)]),
    ("-m recent --set --name X --mask 255.255.255.255 --rdest", [RecentMatch("set", "X", side="destination")]),
    ("-m set ! --match-set BLOCKED src", [SetMatch("BLOCKED", ("src",), inverted=True)]),
    ("-m set --match-set KUBE-LOOP-BACK dst,dst,src", [SetMatch("KUBE-LOOP-BACK", ("dst", "dst", "src"))]),
    ("-m physdev ! --physdev-is-in", [PhysdevMatch("physdev-is-in", inverted=True)]),
    ("-m nfacct --nfacct-name  dropped", [NfacctMatch("dropped")]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), MATCHES, ids=[options for options, _ in MATCHES])
def test_each_match_is_read(options: str, expected: list[Match]) -> None:
    """Options become matches of the model; the target after them is not touched."""
    rule = one(f"{options} -j DROP")
    assert list(rule.matches) == expected
    assert rule.target == Target("DROP")


def test_the_ip_part_comes_first_and_in_the_kernels_order() -> None:
    """However a rule is written, source, destination, interfaces and protocol are tried before each -m."""
    rule = one("-m mark --mark 0x1 -p tcp -o eth1 -i eth0 -d 10.0.0.2 -s 10.0.0.1 -j DROP")
    kinds = [type(match).__name__ for match in rule.matches]
    assert kinds == ["AddressMatch", "AddressMatch", "InterfaceMatch", "InterfaceMatch", "ProtocolMatch", "MarkMatch"]
    assert rule.matches[0] == AddressMatch("source", ip_network("10.0.0.1/32"))


UNKNOWN = [
    ("-m limit --limit 5/min --limit-burst 7", "-m limit --limit 5/min --limit-burst 7"),
    ("-m time --timestart 08:00:00 ! --weekdays Sat,Sun", "-m time --timestart 08:00:00 ! --weekdays Sat,Sun"),
    ("-m owner --uid-owner 0", "-m owner --uid-owner 0"),
    ("-m mark --mark many", "-m mark --mark many"),
    ("-s 10.0.0.1/255.0.255.0", "-s 10.0.0.1/255.0.255.0"),
    ("-f", "-f"),
    ("-m addrtype --dst-type LOCAL --limit-iface-in", "-m addrtype --dst-type LOCAL --limit-iface-in"),
]


@pytest.mark.parametrize(("options", "text"), UNKNOWN, ids=[options for options, _ in UNKNOWN])
def test_an_unknown_match_is_kept_and_ends_where_the_next_begins(options: str, text: str) -> None:
    """What we have no model of is NotUnderstood with its own text, and swallows nothing that follows."""
    rule = one(f'-p udp {options} -m comment --comment "a b" -m mark --mark 0x1 -j A')
    assert NotUnderstood(text) in rule.matches
    assert {ProtocolMatch("udp"), CommentMatch("a b"), MarkMatch(1)} <= set(rule.matches)
    assert len(rule.matches) == 4
    assert rule.target == Target("A")


def test_unknown_options_of_a_known_match_stand_beside_the_known_ones() -> None:
    """All options of a match must hold, so the known one can still fail the rule."""
    rule = one("-m conntrack --ctstate NEW --ctdir ORIGINAL -j ACCEPT")
    assert rule.matches == (CtStateMatch(frozenset({"NEW"})), NotUnderstood("-m conntrack --ctdir ORIGINAL"))


TARGETS = [
    ("-j DNAT --to-destination [fd00::10]:8080", Target("DNAT", options=(("to-destination", "[fd00::10]:8080"),))),
    ("-j MASQUERADE --random-fully", Target("MASQUERADE", options=(("random-fully", ""),))),
    ("-j REJECT --reject-with icmp-port-unreachable",
     Target("REJECT", options=(("reject-with", "icmp-port-unreachable"),))),
    ('-j LOG --log-prefix "-x y: " --log-level 6',
     Target("LOG", options=(("log-prefix", "-x y: "), ("log-level", "6")))),
    ("-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff",
     Target("CONNMARK", options=(("save-mark", ""), ("nfmask", "0xff"), ("ctmask", "0xff")))),
    ("-j REDIRECT --to-ports 8080-8090", Target("REDIRECT", options=(("to-ports", "8080-8090"),))),
    ("-g A", Target("A", goto=True)),
    ("-j TRACE", Target("TRACE")),
    ("-j CT --notrack", Target("CT", options=(("notrack", ""),))),
    ("", Target("")),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), TARGETS, ids=[options or "none" for options, _ in TARGETS])
def test_each_target_is_read_with_its_options(options: str, expected: Target) -> None:
    """A target keeps its options in order, without dashes."""
    assert one(f"-p tcp {options}").target == expected


def test_a_comment_may_hold_anything() -> None:
    """Quotes, backslashes, options and exclamation marks inside a comment are text."""
    rule = one(r'-m comment --comment "say \"no\" \\ ! -j DROP -m x" -j ACCEPT')
    assert rule.comment == r'say "no" \ ! -j DROP -m x'
    assert rule.target == Target("ACCEPT")
    assert one("-m comment --comment -j -j ACCEPT").comment == "-j"


def test_counters_and_comments_of_the_dump_are_passed_over() -> None:
    """`iptables-save -c` is read as well, and a rule's text is without its counters."""
    text = (
        "# Generated\n*nat\n:PREROUTING ACCEPT [3:4]\n[12:720] -A PREROUTING -p tcp -j ACCEPT\n"
        "-A PREROUTING -c 1 2 -p udp -j DROP\nCOMMIT\n# Completed\n"
    )
    rules = parse_iptables_save(text, 4, "legacy").tables["nat"].chains["PREROUTING"].rules
    assert rules[0].text == "-A PREROUTING -p tcp -j ACCEPT"
    assert [rule.matches for rule in rules] == [(ProtocolMatch("tcp"),), (ProtocolMatch("udp"),)]


def test_policies_and_order_of_chains_are_kept() -> None:
    """A user-defined chain has no policy."""
    chains = parse_iptables_save("*raw\n:OUTPUT DROP [0:0]\n:X - [0:0]\nCOMMIT\n", 4, "nft").tables["raw"].chains
    assert [(chain.name, chain.policy) for chain in chains.values()] == [("OUTPUT", "DROP"), ("X", None)]


@dataclass(frozen=True)
class Handles:
    """Handles of one chain."""

    family: str
    table: str
    chain: str
    handles: tuple[int, ...]


def test_handles_go_to_the_rules_of_their_own_family_in_order() -> None:
    """The n-th handle is the n-th rule's, and a rule is found by it."""
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp\n-A INPUT -p udp\nCOMMIT\n"
    handles = [Handles("ip6", "filter", "INPUT", (90, 91)), Handles("ip", "filter", "INPUT", (7, 5))]
    chain = parse_iptables_save(text, 4, "nft", handles).tables["filter"].chains["INPUT"]
    assert [rule.handle for rule in chain.rules] == [7, 5]
    found = chain.by_handle(5)
    assert found is not None
    assert found.number == 2
    assert chain.by_handle(90) is None


def test_handles_of_another_moment_are_not_used() -> None:
    """When a chain has another number of rules than handles, no rule gets a wrong one."""
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp\n-A INPUT -p udp\nCOMMIT\n"
    ruleset = parse_iptables_save(text, 4, "nft", [Handles("ip", "filter", "INPUT", (7, 8, 9))])
    assert [rule.handle for rule in rules_of(ruleset)] == [None, None]


MALFORMED = [
    ("-A INPUT -p tcp\n", 1, "outside a table"),
    ("*filter\n:INPUT ACCEPT [0:0]\n-A FORWARD -p tcp\nCOMMIT\n", 3, "not declared"),
    ('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment "open\\" -j DROP\nCOMMIT\n', 3, "does not end"),
    ("*filter\nwhat is this\nCOMMIT\n", 2, "neither"),
    ("*filter\n*nat\n", 2, "not ended"),
    ("*filter\n:INPUT\nCOMMIT\n", 2, "without a policy"),
    ("*filter\n:INPUT ACCEPT [0:0]\n[1:2 -A INPUT\nCOMMIT\n", 3, "counters"),
    ("COMMIT\n", 1, "COMMIT without"),
    ("*filter\nCOMMIT\n*filter\nCOMMIT\n", 3, "second time"),
]


@pytest.mark.parametrize(("text", "line", "words"), MALFORMED, ids=[words for _, _, words in MALFORMED])
def test_a_line_that_is_not_of_the_format_is_named(text: str, line: int, words: str) -> None:
    """The message has the line's number and what is wrong with it."""
    with pytest.raises(UsageError, match=f"line {line} of the rules .*{words}"):
        parse_iptables_save(text, 4, "nft")


def test_a_dump_that_was_cut_short_is_refused() -> None:
    """A table without COMMIT has lost its end."""
    with pytest.raises(UsageError, match="COMMIT is missing"):
        parse_iptables_save("*filter\n:INPUT ACCEPT [0:0]\n", 4, "nft")
