"""Lines of tracefs about ip_vs_conn_new -> what IPVS chose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kplab.agent.ipvs_choices import IpvsChoices
from kplab.capture.ipvs_probe import SOURCE, IpvsProbe, open_ipvs_probe, parse_probe_line
from kplab.capture.watch import Watch
from kplab.errors import CaptureError
from kplab.trace.events import IpvsConnection, Lost
from kplab.trace.recording import NodeState

pytestmark = pytest.mark.unit

LINE = (
    "            curl-267     [001] .N...    16.430803: ipvs_new: (ip_vs_conn_new+0x0/0x520 [ip_vs]) af={af} "
    "protocol={protocol} flags={flags} client={client} cport={{0xbc,0x95}} virtual={virtual} vport={{0x0,0x50}} "
    "real={real} rport=36895"
)
CHOSEN = IpvsConnection("TCP", "10.244.1.5:48277", "10.96.0.42:80", "10.244.2.10:8080")


def octets(*numbers: int) -> str:
    """Sixteen octets as tracefs prints them; behind an IPv4 address stands whatever stood there."""
    return "{" + ",".join(hex(number) for number in (*numbers, *([0x63] * (16 - len(numbers))))) + "}"


def line(af: int = 2, protocol: int = 6, flags: str = "0x0") -> str:
    """A line of trace_pipe."""
    return LINE.format(
        af=af, protocol=protocol, flags=flags, client=octets(10, 244, 1, 5), virtual=octets(10, 96, 0, 42),
        real=octets(10, 244, 2, 10),
    )  # fmt: skip


def test_a_choice_is_read() -> None:
    """Addresses and ports of the client, the virtual and the real server, at the trace's own time."""
    assert list(parse_probe_line(line())) == [(16_430_803_000, CHOSEN)]


def test_a_template_is_told_apart() -> None:
    """IP_VS_CONN_F_TEMPLATE among the flags."""
    ((_, chosen),) = parse_probe_line(line(flags="0x1000"))
    assert isinstance(chosen, IpvsConnection)
    assert chosen.template


def test_ipv6() -> None:
    """Address family 10 has sixteen octets."""
    text = LINE.format(
        af=10, protocol=17, flags="0x0", client=octets(0xFD, *([0] * 14), 1), virtual=octets(0xFD, *([0] * 14), 2),
        real=octets(0xFD, *([0] * 14), 3),
    )  # fmt: skip
    ((_, chosen),) = parse_probe_line(text)
    assert chosen == IpvsConnection("UDP", "[fd00::1]:48277", "[fd00::2]:80", "[fd00::3]:8080")


@pytest.mark.parametrize(
    "text",
    ["", "# tracer: nop", line(af=1), line(protocol=4), line().replace("rport=36895", "rport=(fault)"),
     line().replace(octets(10, 96, 0, 42), "(fault)"), line().partition(" virtual")[0]],
)  # fmt: skip
def test_what_cannot_be_read_says_nothing(text: str) -> None:
    """An argument that the kernel could not read, another protocol, a heading."""
    assert list(parse_probe_line(text)) == []


def test_losses_are_said() -> None:
    """`trace_pipe` says how many found no room."""
    ((_, lost),) = parse_probe_line("CPU:1 [LOST 12 EVENTS]")
    assert lost == Lost(SOURCE, 12)


def test_the_node_is_the_one_whose_table_holds_the_entry() -> None:
    """What no node holds is not told; a line that has come in half waits for its rest."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    choices = IpvsChoices(IpvsProbe(reading))
    listed = f"TCP 14:59 ESTABLISHED {CHOSEN.client} {CHOSEN.virtual} {CHOSEN.destination}"
    after = [NodeState(node="node-a"), NodeState(node="node-b", ipvs_connections=("", listed))]
    watch = Watch([], "nft", lambda: 0)
    whole = f"{line()}\n".encode()
    os.write(writing, whole[:50])
    assert choices.events(watch, after) == []
    other = line().replace(octets(10, 244, 2, 10), octets(10, 9, 9, 9))
    os.write(writing, whole[50:] + f"{other}\n".encode())

    assert [(event.node, event.what) for event in choices.events(watch, after)] == [("node-b", CHOSEN)]
    os.write(writing, whole)
    choices.discard()
    assert choices.events(watch, after) == []
    os.close(reading)
    os.close(writing)


def test_a_kernel_without_kprobe_events(tmp_path: Path) -> None:
    """The error names the probe, and says what is done without it."""
    with pytest.raises(CaptureError, match="ip_vs_conn_new"):
        open_ipvs_probe(tmp_path)
