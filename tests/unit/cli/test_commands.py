"""The command line: quick answers, one clear message for bad input, an exit status a script can read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from kplab.cli.main import main
from kplab.cli.trace import read_spec
from kplab.errors import UsageError
from kplab.model.packet import ClientSpec, PacketSpec

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
CLUSTER = str(ROOT / "lessons" / "cluster.yaml")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run kplab with these arguments and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["kplab", *arguments])
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def test_version_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints name and version, and nothing else."""
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("kplab 0.")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trace", "IP(dst='1.2.3')"], "an IPv4 address is expected"),
        (["trace", "IP()/TCP(dport=80", "--format", "json"], "was never closed"),
        (["trace", "IP(dst='10.96.0.42')", "--client", "curl"], "takes a URL"),
        (["trace", "10.96.0.42", "--client", "tcp"], "needs an address and a port"),
        (["trace", "http://10.96.0.42", "--client", "scapy"], "not URLs"),
        (["trace", "IP(dst='10.96.0.42')", "--mode", "magic"], "there is no proxy mode 'magic'"),
        (["trace", "IP(dst='10.96.0.42')", "--manifest", "nope.yaml"], "nope.yaml"),
        (["trace", "IP(dst='10.96.0.42')", "--backend", "nope"], "nope"),
        (["trace", "IP(dst='10.96.0.42')", "-o", "/nope/x.json"], "cannot be written"),
        (["trace", "IP(dst='10.96.0.42')", "-o", "/"], "cannot be written"),
        (["replay", "nope.kptrace"], "nope.kptrace"),
        (["rules", "nope.yaml"], "nope.yaml"),
        (["rules", CLUSTER, "--node", "node-z"], "Nodes: node-a, node-b"),
        (["rules", CLUSTER, "--mode", "magic"], "Modes that work: iptables"),
        (["rules", CLUSTER, "--cluster-cidr", "ten"], "not a CIDR"),
        (["rules", CLUSTER, "--config", CLUSTER], "KubeProxyConfiguration"),
        (["start", "lesson-99"], "lesson-99"),
        (["start", "lesson-3", "--backend", "x"], "'x'"),
        (["play", "--manifest", "nope.yaml"], "nope.yaml"),
        (["play", "--backend", "nope"], "nope"),
        (["play", "IP()"], "unexpected extra argument"),
        (["lesson", "check", "nope"], "nope"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """The message names the mistake; no traceback is shown, nothing is printed on standard output."""
    status = run(monkeypatch, *arguments)

    shown = capsys.readouterr()
    assert (status, shown.out) == (2, "")
    assert says in shown.err
    assert "Traceback" not in shown.err


def test_the_screen_needs_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal the message names the plain face."""
    assert run(monkeypatch, "start", "lesson-3") == 2
    assert "kplab start lesson-3 --plain" in capsys.readouterr().err


def test_play_needs_a_terminal_and_names_what_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Free play has no plain face; what works without a terminal is named instead."""
    assert run(monkeypatch, "play", "--manifest", CLUSTER) == 2
    shown = capsys.readouterr().err
    assert "the screen needs a terminal" in shown
    assert "kplab trace" in shown


def test_rules_are_printed_as_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Jumps are commands, all else is the text for iptables-restore; both families are there."""
    assert run(monkeypatch, "rules", CLUSTER) == 0

    printed = capsys.readouterr().out
    assert "iptables -w 5 -I PREROUTING -t nat -m comment --comment 'kubernetes service portals'" in printed
    assert (
        '-A KUBE-SERVICES -m comment --comment "demo/web:http cluster IP" -m tcp -p tcp -d 10.96.0.42 --dport 80'
        in printed
    )
    assert printed.count("restore -w 5 --noflush --counters") == 2


def test_nftables_rules_are_printed_as_two_transactions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each family's transaction is what `nft -f -` is given."""
    assert run(monkeypatch, "rules", CLUSTER, "--mode", "nftables") == 0

    printed = capsys.readouterr().out
    assert printed.count("nft -f - <<'EOF'\nadd table ip") == 2
    assert printed.count("\nEOF\n") == 2
    assert re.search(
        r"^add element ip kube-proxy service-ips \{ 10\.96\.0\.42 \. tcp \. 80 : goto service-\S+ \}$", printed, re.M
    )


@pytest.mark.parametrize(
    ("what", "client", "expected"),
    [
        ("http://10.96.0.42", None, ClientSpec(client="curl", target="http://10.96.0.42")),
        ("10.96.0.42", "curl", ClientSpec(client="curl", target="http://10.96.0.42")),
        ("10.96.0.42:80", "tcp", ClientSpec(client="tcp", target="10.96.0.42:80")),
        ("[fd00::1]:53", "udp", ClientSpec(client="udp", target="[fd00::1]:53")),
    ],
)
def test_what_is_sent_follows_from_what_is_typed(what: str, client: str | None, expected: ClientSpec) -> None:
    """A URL means curl; a named client takes an address and a port."""
    assert read_spec(what, client) == expected


def test_an_expression_is_sent_by_scapy() -> None:
    """Without a client, what is not a URL is a packet expression."""
    assert isinstance(read_spec('IP(dst="10.96.0.42")/TCP()', None), PacketSpec)


def test_an_unknown_client_is_refused() -> None:
    """The message lists the clients."""
    with pytest.raises(UsageError, match="Clients: scapy, curl, tcp, udp"):
        read_spec("10.96.0.42:80", "netcat")
