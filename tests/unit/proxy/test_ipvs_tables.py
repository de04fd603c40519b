"""How IPVS mode asks and tells the kernel: few programs, and refusals that say what is missing and the way on."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from kplab.errors import ApplyError, LabError, ProgramError
from kplab.lab.run import Expect, ScriptedRunner
from kplab.model.cluster import Cluster, Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs_program import VsKey
from kplab.proxy.apply import Order
from kplab.proxy.ipvs_assemble import kernel_version
from kplab.proxy.ipvs_commands import ServerCommand
from kplab.proxy.ipvs_tables import IpvsTables, NodeAddresses
from kplab.proxy.ipvs_writer import CHECK_PERIOD, IpvsWriter
from kplab.rules.ipvsadm import HeldReal

pytestmark = pytest.mark.unit

MISSING = "Can't initialize ipvs: Protocol not available"
HEAD = "IP Virtual Server version 1.2.1 (size=4096)\n"
LIST = ("ipvsadm", "-L", "-n")


class Rules:
    """Takes orders, and remembers them."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def apply(self, order: Order) -> None:
        """Take one."""
        self.orders.append(order)


class Servers:
    """Takes commands for virtual servers, and remembers them; answers from a list, or refuses once."""

    def __init__(self, *answers: tuple[HeldReal, ...]) -> None:
        self.commands: list[str] = []
        self.answers = list(answers)
        self.refuse = False

    def change(self, commands: Sequence[ServerCommand]) -> None:
        """Take some."""
        self.commands += [command.text for command in commands]
        if self.refuse:
            self.refuse = False
            raise ApplyError("change virtual servers", "no such virtual server")

    def reals(self, key: VsKey) -> tuple[HeldReal, ...]:
        """The next answer."""
        return self.answers.pop(0)


def test_a_kernel_without_ipvs_is_refused_by_name() -> None:
    """What was tried, what ipvsadm said, which modules it takes, and the microvm."""
    probe = Expect(("ipvsadm", "-A", "-t", "198.51.100.0:20000", "-s", "rr"), status=2, stderr=MISSING)
    with pytest.raises(LabError) as refused:
        IpvsTables(ScriptedRunner([probe])).probe("rr")
    assert not isinstance(refused.value, ProgramError)
    for part in ("IPVS mode cannot run here", MISSING, "ip_vs", "microvm"):
        assert part in str(refused.value)


def test_the_probe_is_taken_back() -> None:
    """The virtual server that shows that IPVS works is deleted at once."""
    place = ("-t", "198.51.100.0:20000")
    runner = ScriptedRunner([Expect(("ipvsadm", "-A", *place, "-s", "sh")), Expect(("ipvsadm", "-D", *place))])
    IpvsTables(runner).probe("sh")
    runner.assert_done()


def test_nothing_to_change_runs_nothing() -> None:
    """An empty list of commands is no program run, and nothing for the kernel."""
    tables = IpvsTables(ScriptedRunner(), Servers())
    tables.change_servers(())
    tables.change_sets(())


def test_the_devices_addresses_are_kept_apart() -> None:
    """NodePorts are answered on the others only; no device is not the same as one without addresses."""
    links = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1"}]},
        {"ifname": "kube-ipvs0", "addr_info": [{"local": "10.96.0.1"}]},
    ]
    show = ("ip", "-json", "address", "show")
    runner = ScriptedRunner([Expect(show, stdout=json.dumps(links)), Expect(show, stdout=json.dumps(links[:1]))])
    tables = IpvsTables(runner)
    assert tables.addresses() == NodeAddresses(frozenset({"10.96.0.1"}), ("127.0.0.1",))
    assert tables.addresses().device is None


def reading(*reals: str) -> list[Expect]:
    """A comparison with the kernel: one Service, whose virtual server has these real servers, and no sets."""
    links = [{"ifname": "kube-ipvs0", "addr_info": [{"local": "10.96.0.20"}]}]
    listing = HEAD + "TCP  10.96.0.20:80 rr\n" + "".join(f"  -> {real}\n" for real in reals)
    return [
        Expect(("ip", "-json", "address", "show"), stdout=json.dumps(links)),
        Expect(LIST, stdout=listing),
        Expect(("ipset", "restore", "-exist")),
    ]


def cluster(*addresses: str) -> Cluster:
    """One Service with endpoints."""
    service = Service("ns", "web", cluster_ips=("10.96.0.20",), ports=(ServicePort(80),))
    endpoints = tuple(Endpoint((address,)) for address in addresses)
    pods = EndpointSlice("ns", "web-1", "web", "IPv4", (EndpointPort(8080),), endpoints)
    return Cluster((service,), (pods,))


def writer_of(runner: ScriptedRunner, servers: Servers, rules: Rules) -> IpvsWriter:
    """A writer whose comparisons are 30 s apart."""
    return IpvsWriter(4, "a", ProxyConfig(), IpvsTables(runner, servers, dict), rules, NodeFacts())


def test_a_real_server_is_deleted_when_its_last_connection_has_ended() -> None:
    """After a sync it has weight 0; once a minute it is looked at, and when it is idle it goes."""
    servers = Servers((HeldReal("10.244.1.10", 8080, 0, 0, 1),), (HeldReal("10.244.1.10", 8080, 0),))
    rules, runner = Rules(), ScriptedRunner(reading("10.244.1.10:8080 Masq 1 1 0"))
    writer = writer_of(runner, servers, rules)
    writer.write(cluster(), None, 0.0)
    assert len(rules.orders) == 1
    assert servers.commands == ["-e -t 10.96.0.20:80 -r 10.244.1.10:8080 -m -w 0"]
    assert len(writer.leaving) == 1
    assert writer.next_look == CHECK_PERIOD
    assert not writer.look(CHECK_PERIOD - 1)
    writer.look(CHECK_PERIOD)
    assert writer.next_look == 2 * CHECK_PERIOD
    writer.look(2 * CHECK_PERIOD)
    runner.assert_done()
    assert servers.commands[1:] == ["-d -t 10.96.0.20:80 -r 10.244.1.10:8080"]
    assert not writer.leaving
    assert writer.next_look == float("inf")


def test_a_change_asks_for_the_virtual_server_that_differs_and_writes_only_that() -> None:
    """No program is run, no rule is written; the connections that decide come from the kernel."""
    busy = (HeldReal("10.244.1.10", 8080, 1, 2, 0), HeldReal("10.244.1.11", 8080, 1))
    rules, runner, servers = Rules(), ScriptedRunner(reading()), Servers(busy)
    writer = writer_of(runner, servers, rules)
    writer.write(cluster("10.244.1.10", "10.244.1.11"), None, 0.0)
    servers.commands.clear()
    writer.write(cluster("10.244.1.11", "10.244.1.12"), frozenset({"ns/web"}), 1.0)
    runner.assert_done()
    assert len(rules.orders) == 1
    assert servers.commands == [
        "-a -t 10.96.0.20:80 -r 10.244.1.12:8080 -m -w 1",
        "-e -t 10.96.0.20:80 -r 10.244.1.10:8080 -m -w 0",
    ]
    assert len(writer.leaving) == 1


def test_everything_is_compared_right_after_a_change_when_the_last_comparison_is_a_sync_period_old() -> None:
    """What somebody else has removed meanwhile is then written again; what was changed before is there already."""
    runner = ScriptedRunner([*reading(), *reading("10.244.1.12:8080 Masq 1 0 0")])
    servers = Servers((), ())
    writer = writer_of(runner, servers, Rules())
    writer.write(cluster("10.244.1.10"), None, 0.0)
    writer.write(cluster("10.244.1.11"), frozenset({"ns/web"}), 29.0)
    assert writer.next_look == float("inf")
    servers.commands.clear()
    writer.write(cluster("10.244.1.11", "10.244.1.12"), frozenset({"ns/web"}), 30.0)
    assert writer.next_look == 30.0
    servers.commands.clear()
    assert not writer.look(30.0)
    runner.assert_done()
    assert servers.commands == ["-a -t 10.96.0.20:80 -r 10.244.1.11:8080 -m -w 1"]
    assert writer.next_look == float("inf")


def test_a_change_that_is_refused_compares_everything_at_once() -> None:
    """The kernel does not hold what was written, so somebody else was there."""
    rules, servers = Rules(), Servers(())
    runner = ScriptedRunner([*reading(), *reading()])
    writer = writer_of(runner, servers, rules)
    writer.write(cluster(), None, 0.0)
    servers.refuse = True
    writer.write(cluster("10.244.1.10"), frozenset({"ns/web"}), 1.0)
    runner.assert_done()
    assert servers.commands == ["-a -t 10.96.0.20:80 -r 10.244.1.10:8080 -m -w 1"] * 2
    assert len(rules.orders) == 2


@pytest.mark.parametrize(("release", "version"), [("6.1.0-56-amd64", (6, 1)), ("5.9-rc1", (5, 9))])
def test_the_kernels_version_is_read_from_its_release(release: str, version: tuple[int, int]) -> None:
    """Only the first two numbers count."""
    assert kernel_version(release) == version
