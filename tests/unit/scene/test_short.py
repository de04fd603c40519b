"""Rules in short form: words moved and left out, nothing hidden."""

from __future__ import annotations

from pathlib import Path

import pytest

from kplab.model.journey import Skip
from kplab.scene.short import fold_words, shorten

pytestmark = pytest.mark.unit

GOLDEN = Path(__file__).parents[2] / "data" / "golden"


@pytest.mark.parametrize(
    ("rule", "condition", "action"),
    [
        (
            '-A KUBE-SERVICES -d 10.96.0.20/32 -p tcp -m comment --comment "demo/web cluster IP" -m tcp --dport 80 '
            "-j KUBE-SVC-YTGZ2JEENUBCE3T3",
            "dst 10.96.0.20 tcp dport 80",
            "→ KUBE-SVC-YTGZ2JEENUBCE3T3",
        ),
        (
            "-A KUBE-SVC-Y ! -s 10.244.0.0/16 -d 10.96.0.20/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            "not src 10.244.0.0/16 dst 10.96.0.20 tcp dport 80",
            "→ KUBE-MARK-MASQ",
        ),
        (
            "-A KUBE-SVC-Y -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-B",
            "statistic 0.333",
            "→ KUBE-SEP-B",
        ),
        ("-A KUBE-SEP-B -p tcp -m tcp -j DNAT --to-destination 10.244.1.10:8080", "tcp", "DNAT to 10.244.1.10:8080"),
        ("-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000", "", "set mark 0x4000/0x4000"),
        ("-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN", "not mark 0x4000/0x4000", "RETURN"),
        ("-A X -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS", "dst-type LOCAL", "→ KUBE-NODEPORTS"),
        ("-A X -m conntrack --ctstate INVALID -j DROP", "ctstate INVALID", "DROP"),
        (
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            "ip daddr . meta l4proto . th dport",
            "vmap @service-ips",
        ),
        ('ct state new jump services comment "all of them"', "ct state new", "→ services"),
        ("meta mark & 0x4000 == 0 return", "meta mark & 0x4000 == 0", "return"),
        ("goto mark-for-masquerade", "", "→ mark-for-masquerade (goto)"),
        ("ip daddr @cluster-ips reject", "ip daddr @cluster-ips", "reject"),
        ("-A X -g OTHER-CHAIN", "", "→ OTHER-CHAIN (goto)"),
        ("-A X -m length --length 40:60", "length 40:60", "count only"),
        ("-A X -d 10.0.0.1/32 -j REJECT --reject-with icmp-port-unreachable", "dst 10.0.0.1",
         "REJECT with icmp-port-unreachable"),
    ],
)  # fmt: skip
def test_a_rule_says_what_it_asks_and_what_it_does(rule: str, condition: str, action: str) -> None:
    """Condition and action are parted; module names and the comment are left out."""
    short = shorten(rule)

    assert (short.condition, short.action) == (condition, action)


def test_every_address_and_port_of_kube_proxys_own_rules_survives() -> None:
    """Whatever a real rule asks for is still in its short form."""
    for save in sorted(GOLDEN.glob("*/iptables-nft.iptables-save")):
        for line in save.read_text().splitlines():
            if not line.startswith("-A "):
                continue
            short = shorten(line)
            for option in ("-d", "-s", "--dport", "-j", "--to-destination", "--dst-type", "--ctstate"):
                words = line.split()
                values = [words[i + 1] for i, word in enumerate(words) if word == option]
                for value in values:
                    target = "set mark" if value == "MARK" else value.removesuffix("/32")
                    assert target in f"{short.condition} {short.action}", line


def test_unreadable_text_is_kept_as_it_is() -> None:
    """An open quotation mark is no reason to hide a rule."""
    assert shorten('-A X --comment "open').condition == '-A X --comment "open'


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (["dst 10.96.0.1 is not 10.96.0.42"] * 3, "other destinations"),
        (["dst 10.96.0.1 is not 10.96.0.42", "dport 53 is not 80", "dst x"], "other destinations and ports"),
        (["something else"], "did not match"),
    ],
)
def test_a_fold_says_what_its_rules_have_in_common(reasons: list[str], words: str) -> None:
    """The commonest reason comes first."""
    assert fold_words(Skip("-A X", reason) for reason in reasons) == words
