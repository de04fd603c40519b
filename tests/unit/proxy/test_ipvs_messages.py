"""What goes to the kernel for virtual servers and addresses, byte for byte, and what is read of its answers."""

from __future__ import annotations

import socket
import struct

import pytest

from kplab.errors import LabError
from kplab.model.ruleset import IpSet
from kplab.modes.ipvs_program import RealServer, VirtualServer, VsKey
from kplab.proxy.ipvs_commands import DropReal, DropServer, PutReal, PutServer, ServerCommand
from kplab.proxy.ipvs_links import request
from kplab.proxy.ipvs_messages import message, question, real_of
from kplab.proxy.ipvs_set_list import sets_of
from kplab.rules.ipvsadm import HeldReal

pytestmark = pytest.mark.unit

KEY, SIX = VsKey("TCP", "10.96.0.20", 80), VsKey("SCTP", "fd00:10:96::20", 3868)
POD = RealServer("10.244.1.10", 8080, 1)
NESTED = 0x8000

Tree = dict[int, bytes]


def attributes(data: bytes) -> Tree:
    """Netlink attributes by number."""
    found, at = {}, 0
    while at < len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        assert length >= 4
        found[kind & ~NESTED] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def parts(data: bytes) -> tuple[int, Tree, Tree]:
    """A message's command, the attributes of its virtual server, and those of its real server."""
    command, version, _ = struct.unpack_from("=BBH", data)
    assert version == 1
    assert len(data) % 4 == 0
    found = attributes(data[4:])
    return command, attributes(found[1]), attributes(found.get(2, b""))


def number(value: int, size: int = 4) -> bytes:
    """A number in the machine's order."""
    return struct.pack({2: "=H", 4: "=I"}[size], value)


def test_a_virtual_server_is_described_in_full() -> None:
    """Family, protocol, address, port, scheduler, flags with their mask, persistence, one client a template."""
    server = VirtualServer(KEY, "rr", 10800)
    command, service, _ = parts(message(PutServer(server)))
    assert command == 1
    assert service == {
        1: number(socket.AF_INET, 2),
        2: number(6, 2),
        3: socket.inet_aton("10.96.0.20") + bytes(12),
        4: b"\0\x50",
        6: b"rr\0",
        7: number(0x1) + b"\xff" * 4,
        8: number(10800),
        9: b"\xff" * 4,
    }
    assert parts(message(PutServer(server, edit=True)))[0] == 2


def test_an_ipv6_virtual_server_has_a_prefix_for_a_mask() -> None:
    """SCTP, hashed by port: the flag 0x10; no persistence is a timeout of 0."""
    _, service, _ = parts(message(PutServer(VirtualServer(SIX, "mh", None, port_hashed=True))))
    assert service[1] == number(socket.AF_INET6, 2)
    assert service[2] == number(132, 2)
    assert service[3] == socket.inet_pton(socket.AF_INET6, "fd00:10:96::20")
    assert (service[6], service[7], service[8]) == (b"mh\0", number(0x10) + b"\xff" * 4, number(0))
    assert service[9] == number(128)


@pytest.mark.parametrize(
    ("sent", "command"),
    [(PutReal(KEY, POD), 5), (PutReal(KEY, POD, edit=True), 6), (DropReal(KEY, POD), 7), (DropServer(KEY), 3)],
)
def test_what_is_there_is_named_by_its_key(sent: ServerCommand, command: int) -> None:
    """Protocol, address and port name the virtual server; a real server is masqueraded to, with its weight."""
    told, service, real = parts(message(sent))
    assert told == command
    assert sorted(service) == [1, 2, 3, 4]
    if command == 3:
        assert real == {}
    else:
        assert real == {
            11: number(socket.AF_INET, 2),
            1: socket.inet_aton("10.244.1.10") + bytes(12),
            2: b"\x1f\x90",
            3: number(0),
            4: number(1),
            5: number(0),
            6: number(0),
        }


def test_the_question_for_real_servers_names_the_virtual_server() -> None:
    """IPVS_CMD_GET_DEST, with the key only."""
    command, service, real = parts(question(SIX))
    assert (command, sorted(service), real) == (8, [1, 2, 3, 4], {})


@pytest.mark.parametrize(("address", "family"), [("10.244.1.10", socket.AF_INET), ("fd00::1", socket.AF_INET6)])
def test_a_real_server_is_read_with_its_connections(address: str, family: socket.AddressFamily) -> None:
    """Established, and ending or idle; what else the kernel says is passed over."""
    fields = {
        1: socket.inet_pton(family, address).ljust(16, b"\0"), 2: b"\x1f\x90", 3: number(0), 4: number(1),
        7: number(3), 8: number(2), 9: number(7), 11: number(family, 2),
    }  # fmt: skip
    body = b"".join(struct.pack("=HH", 4 + len(v), k) + v + bytes(-len(v) % 4) for k, v in fields.items())
    answer = struct.pack("=BBHHH", 8, 1, 0, 4 + len(body), 2 | NESTED) + body
    assert real_of(answer) == HeldReal(address, 8080, 1, 3, 2)
    with pytest.raises(LabError, match="missing"):
        real_of(struct.pack("=BBHHH", 8, 1, 0, 4, 2))


def test_an_address_is_bound_by_itself() -> None:
    """As a /32 or /128 of scope universe, its local and its peer's address the same."""
    packed = socket.inet_aton("10.96.0.20")
    head = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, 7)
    assert request("10.96.0.20", 7)[:8] == head
    assert attributes(request("10.96.0.20", 7)[8:]) == {1: packed, 2: packed}
    assert request("fd00::1", 7)[:2] == bytes([socket.AF_INET6, 128])


def packed_attribute(kind: int, payload: bytes) -> bytes:
    """One attribute with its padding."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def test_a_set_in_two_answers_is_one_set() -> None:
    """Only the first describes it; members that are marked nomatch, and sets of other types, are left out."""
    ip = packed_attribute(1 | NESTED, packed_attribute(1, socket.inet_aton("10.96.0.20")))
    net = packed_attribute(20 | NESTED, packed_attribute(1, socket.inet_aton("10.1.0.0"))) + packed_attribute(
        21, b"\x10"
    )
    tcp, udp = (packed_attribute(4, b"\0\x50") + packed_attribute(7, bytes([number])) for number in (6, 17))
    marked = packed_attribute(8, struct.pack("!I", 4))
    name = packed_attribute(2, b"A\0")

    def answer(head: bytes, *members: bytes) -> bytes:
        return bytes(4) + head + packed_attribute(8 | NESTED, b"".join(packed_attribute(7, each) for each in members))

    kind = packed_attribute(3, b"hash:ip,port,net\0") + packed_attribute(5, b"\2")
    other = packed_attribute(2, b"B\0") + packed_attribute(3, b"hash:mac\0") + packed_attribute(5, b"\0")
    read = sets_of(
        [answer(name + kind, ip + tcp + net), answer(name, ip + udp + net, ip + tcp + marked), answer(other)]
    )
    members = frozenset({"10.96.0.20,tcp:80,10.1.0.0/16", "10.96.0.20,udp:80,10.1.0.0/16"})
    assert read == {"A": IpSet("A", "hash:ip,port,net", 4, members)}
    with pytest.raises(LabError, match="was not described"):
        sets_of([answer(name)])
