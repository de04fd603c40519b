"""What a user hands over is read into what a lab sends."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether, ICMPv6EchoRequest, IPv6, RandShort, Raw

from kplab.errors import ExpressionError, ManifestError, UsageError
from kplab.jupyter.asking import read_config, read_manifest, read_packet, read_request
from kplab.model.expression import parse_expression
from kplab.model.packet import ClientSpec

pytestmark = pytest.mark.unit

CLUSTER = Path(__file__).parents[3] / "lessons" / "cluster.yaml"


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (IP(dst="10.96.0.42") / TCP(dport=80, flags="S"), "IP(dst='10.96.0.42')/TCP(dport=80, flags='S')"),
        (IP(dst="10.96.0.42") / TCP(dport=80, flags="SA"), "IP(dst='10.96.0.42')/TCP(dport=80, flags='SA')"),
        (
            IP(dst="10.96.0.10") / UDP(dport=53) / Raw(b"x\x00"),
            "IP(dst='10.96.0.10')/UDP(dport=53)/Raw(load=b'x\\x00')",
        ),
        (IPv6(dst="fd00:10:96::42") / TCP(dport=80), "IPv6(dst='fd00:10:96::42')/TCP(dport=80)"),
        (IPv6(dst="fd00::1") / ICMPv6EchoRequest(), "IPv6(dst='fd00::1')/ICMPv6EchoRequest()"),
        (IP(dst="10.96.0.42", ttl=1) / ICMP(), "IP(dst='10.96.0.42', ttl=1)/ICMP()"),
    ],
)
def test_a_packet_of_scapys_is_the_same_as_its_text(packet: object, text: str) -> None:
    """Scapy's own objects and their text are one packet, field by field; flags come as letters."""
    read = read_packet(packet)  # type: ignore[arg-type]

    assert sorted(map(str, read.layers)) == sorted(map(str, parse_expression(text).layers)) or _fields(read) == _fields(
        parse_expression(text)
    )


def _fields(spec: object) -> list[tuple[str, dict[str, object]]]:
    return [(layer.name, {f.name: f.value for f in layer.fields}) for layer in spec.layers]  # type: ignore[attr-defined]


def test_flags_are_shown_as_people_read_them() -> None:
    """A journey's title says flags='S', though scapy's `command` prints a number."""
    assert read_packet(IP(dst="10.96.0.42") / TCP(flags="FA")).expression == "IP(dst='10.96.0.42')/TCP(flags='FA')"


def test_a_wrong_expression_points_at_the_part() -> None:
    """The error carries the text with a mark under what is wrong, and is a few lines in a notebook."""
    with pytest.raises(ExpressionError) as caught:
        read_packet("IP(dst='10.96.0.42')/TCPP(dport=80)")

    lines = caught.value._render_traceback_()
    assert lines[0].startswith("ExpressionError: there is no layer TCPP")
    assert lines[-2:] == ["  IP(dst='10.96.0.42')/TCPP(dport=80)", "                       ^^^^"]


@pytest.mark.parametrize("packet", [Ether() / IP(), IP(dst="10.96.0.42") / TCP(sport=RandShort()), 42, None])
def test_what_cannot_be_sent_is_refused_in_words(packet: object) -> None:
    """Frames, values drawn anew at each send, and what is no packet at all are named; nothing is evaluated."""
    with pytest.raises(UsageError):
        read_packet(packet)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "client"),
    [
        ("http://10.96.0.42", ClientSpec(client="curl", target="http://10.96.0.42")),
        ("https://10.96.0.1/", ClientSpec(client="curl", target="https://10.96.0.1/")),
        ("tcp://10.96.0.77:7", ClientSpec(client="tcp", target="10.96.0.77:7")),
        ("udp://[fd00::1]:53/", ClientSpec(client="udp", target="[fd00::1]:53")),
    ],
)
def test_a_target_says_which_client_connects(target: str, client: ClientSpec) -> None:
    """The scheme chooses curl, TCP or UDP."""
    assert read_request(target) == client


@pytest.mark.parametrize("target", ["10.96.0.42", "ftp://10.96.0.42", "tcp://10.96.0.42", "http://", "udp://a b:7"])
def test_another_target_is_refused_with_examples(target: str) -> None:
    """What no client can reach is named, with targets that can."""
    with pytest.raises(UsageError, match=r"http://10\.96\.0\.42"):
        read_request(target)


def test_a_manifest_is_a_file_or_its_text_and_is_checked(tmp_path: Path) -> None:
    """A path, a text and nothing are read alike; a mistake is named before anything is built."""
    text = CLUSTER.read_text(encoding="utf-8")
    assert read_manifest(None, CLUSTER) == read_manifest(str(CLUSTER), CLUSTER) == read_manifest(text, CLUSTER) == text
    with pytest.raises(ManifestError):
        read_manifest(tmp_path / "none.yaml", CLUSTER)
    with pytest.raises(ManifestError, match="the manifest"):
        read_manifest("kind: Service\nmetadata: 3\n", CLUSTER)


def test_a_configuration_is_a_file_or_its_text(tmp_path: Path) -> None:
    """The same for kube-proxy's configuration; without one there is none."""
    file = tmp_path / "config.yaml"
    file.write_text("mode: iptables\nkind: KubeProxyConfiguration\n")

    assert read_config(None) == ""
    assert read_config(str(file)) == read_config(file.read_text()) == file.read_text()
