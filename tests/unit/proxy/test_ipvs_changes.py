"""What a sync of IPVS mode writes: the difference between a program and what the kernel holds, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from kplab.model.ruleset import IpSet
from kplab.modes.ipvs_program import IpvsProgram, RealServer, VirtualServer, VsKey
from kplab.modes.ipvs_sets import ProgramSet
from kplab.modes.program import IptablesProgram
from kplab.proxy.ipvs_changes import AddressChanges, address_changes, ended, server_changes, set_changes
from kplab.proxy.ipvs_commands import ServerCommand
from kplab.rules.ipvsadm import HeldReal, HeldServer

pytestmark = pytest.mark.unit

KEY = VsKey("TCP", "10.96.0.20", 80)
DNS = VsKey("UDP", "10.96.0.10", 53)
POD, OTHER = RealServer("10.244.1.10", 8080), RealServer("10.244.2.10", 8080)
HELD = HeldServer("TCP", "10.96.0.20", 80, "rr", reals=(HeldReal("10.244.1.10", 8080, 1),))


def program(*servers: VirtualServer, addresses: tuple[str, ...] = ()) -> IpvsProgram:
    """A program with these parts only."""
    return IpvsProgram(4, addresses, servers, (), IptablesProgram(4, (), ()))


def texts(commands: Iterable[ServerCommand]) -> tuple[str, ...]:
    """Commands as ipvsadm takes them."""
    return tuple(command.text for command in commands)


def test_what_is_equal_is_not_written() -> None:
    """A sync after which nothing changed has nothing to say."""
    changes = server_changes(program(VirtualServer(KEY, "rr", reals=(POD,))), [HELD], (), ())
    assert (changes.first, changes.last, changes.leaving) == ((), (), frozenset())


def test_an_idle_real_server_is_deleted_at_once() -> None:
    """Without connections nobody need be waited for."""
    changes = server_changes(program(VirtualServer(KEY, "rr", reals=(OTHER,))), [HELD], (), ())
    assert texts(changes.first) == (
        "-a -t 10.96.0.20:80 -r 10.244.2.10:8080 -m -w 1",
        "-d -t 10.96.0.20:80 -r 10.244.1.10:8080",
    )


def test_a_busy_real_server_of_tcp_gets_weight_0() -> None:
    """Connections in FIN_WAIT count as well; it is edited once, then waited for."""
    busy = replace(HELD, reals=(HeldReal("10.244.1.10", 8080, 1, 0, 3),))
    changes = server_changes(program(VirtualServer(KEY, "rr")), [busy], (), ())
    assert texts(changes.first) == ("-e -t 10.96.0.20:80 -r 10.244.1.10:8080 -m -w 0",)
    assert changes.leaving == {(KEY, "10.244.1.10", 8080)}
    later = replace(HELD, reals=(HeldReal("10.244.1.10", 8080, 0, 1, 0),))
    assert server_changes(program(VirtualServer(KEY, "rr")), [later], changes.leaving, ()).first == ()


def test_udp_is_not_waited_for() -> None:
    """A real server of UDP goes with its connections; they end with their next packet (expire_nodest_conn)."""
    busy = HeldServer("UDP", "10.96.0.10", 53, "rr", reals=(HeldReal("10.244.1.10", 53, 1, 0, 9),))
    changes = server_changes(program(VirtualServer(DNS, "rr")), [busy], (), ())
    assert texts(changes.first) == ("-d -u 10.96.0.10:53 -r 10.244.1.10:53",)
    assert not changes.leaving


def test_one_that_comes_back_is_deleted_and_added() -> None:
    """So does kube-proxy with an endpoint that returns while it is waited for."""
    waiting = frozenset({(KEY, "10.244.1.10", 8080)})
    held = replace(HELD, reals=(HeldReal("10.244.1.10", 8080, 0, 2, 0),))
    changes = server_changes(program(VirtualServer(KEY, "rr", reals=(POD,))), [held], waiting, ())
    assert texts(changes.first) == (
        "-d -t 10.96.0.20:80 -r 10.244.1.10:8080",
        "-a -t 10.96.0.20:80 -r 10.244.1.10:8080 -m -w 1",
    )
    assert not changes.leaving


def test_a_weight_that_nobody_waits_for_is_mended() -> None:
    """After a restart of the proxy a weight of 0 is not remembered, and set to 1 if the endpoint is wanted."""
    held = replace(HELD, reals=(HeldReal("10.244.1.10", 8080, 0),))
    changes = server_changes(program(VirtualServer(KEY, "rr", reals=(POD,))), [held], (), ())
    assert texts(changes.first) == ("-e -t 10.96.0.20:80 -r 10.244.1.10:8080 -m -w 1",)


@pytest.mark.parametrize(
    ("wanted", "written"),
    [
        (VirtualServer(KEY, "sh", reals=(POD,)), "-E -t 10.96.0.20:80 -s sh"),
        (VirtualServer(KEY, "rr", 60, reals=(POD,)), "-E -t 10.96.0.20:80 -s rr -p 60"),
        (VirtualServer(KEY, "mh", None, True, (POD,)), "-E -t 10.96.0.20:80 -s mh -b mh-port"),
    ],
)
def test_a_virtual_server_that_differs_is_edited(wanted: VirtualServer, written: str) -> None:
    """Scheduler, persistence and flags are compared; its real servers stay."""
    assert texts(server_changes(program(wanted), [HELD], (), ()).first) == (written,)


def test_foreign_virtual_servers_are_deleted_unless_excluded() -> None:
    """Whoever made them; the other family's are the other proxier's affair."""
    six = HeldServer("TCP", "fd00::1", 80, "rr")
    assert texts(server_changes(program(), [HELD, six], (), ()).last) == ("-D -t 10.96.0.20:80",)
    assert server_changes(program(), [HELD, six], (), ("fd00::/8", "10.96.0.0/12")).last == ()


def test_those_whose_last_connection_ended_are_deleted() -> None:
    """Of two that are waited for, one has no connection left."""
    reals = (HeldReal("10.244.1.10", 8080, 0), HeldReal("10.244.1.11", 8080, 0, 1), HeldReal("10.244.1.12", 8080, 1))
    waiting = frozenset({(KEY, "10.244.1.10", 8080), (KEY, "10.244.1.11", 8080)})
    commands, left = ended({KEY: reals}.__getitem__, waiting)
    assert texts(commands) == ("-d -t 10.96.0.20:80 -r 10.244.1.10:8080",)
    assert left == {(KEY, "10.244.1.11", 8080)}


def test_addresses_are_added_before_and_deleted_after() -> None:
    """The other family's addresses stay."""
    wanted = program(addresses=("10.96.0.20", "10.96.0.21"))
    changes = address_changes(wanted, frozenset({"10.96.0.20", "10.96.0.9", "fd00::1"}))
    assert changes == AddressChanges(("10.96.0.21",), ("10.96.0.9",))


def test_sets_are_made_once_and_then_differ_by_members() -> None:
    """A network of one address is written as that address, as ipset prints it."""
    kube = ProgramSet("KUBE-X", "hash:ip,port,net", 4, ("10.0.0.1,tcp:80,10.1.0.0/16", "10.0.0.1,tcp:80,10.2.0.1/32"))
    assert set_changes((kube,), {}) == [
        "create KUBE-X hash:ip,port,net family inet hashsize 1024 maxelem 65536",
        "add KUBE-X 10.0.0.1,80,10.1.0.0/16",
        "add KUBE-X 10.0.0.1,80,10.2.0.1",
    ]
    members = frozenset({"10.0.0.1,tcp:80,10.2.0.1", "10.0.0.1,tcp:80,10.9.0.0/16"})
    held = {"KUBE-X": IpSet("KUBE-X", kube.type, 4, members)}
    assert set_changes((kube,), held) == [
        "del KUBE-X 10.0.0.1,tcp:80,10.9.0.0/16",
        "add KUBE-X 10.0.0.1,80,10.1.0.0/16",
    ]
