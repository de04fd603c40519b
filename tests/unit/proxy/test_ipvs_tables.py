"""How IPVS mode asks and tells the kernel: few programs, and refusals that say what is missing and the way on."""

from __future__ import annotations

import json

import pytest

from kplab.errors import ApplyError, LabError, ProgramError
from kplab.lab.run import Expect, ScriptedRunner
from kplab.model.cluster import Cluster, Service, ServicePort
from kplab.model.proxy_config import ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.proxy.apply import Order
from kplab.proxy.ipvs_assemble import kernel_version
from kplab.proxy.ipvs_tables import IpvsTables, NodeAddresses
from kplab.proxy.ipvs_writer import CHECK_PERIOD, IpvsWriter

pytestmark = pytest.mark.unit

MISSING = "Can't initialize ipvs: Protocol not available"
HEAD = "IP Virtual Server version 1.2.1 (size=4096)\n"
LIST, CHANGE = ("ipvsadm", "-L", "-n"), ("ipvsadm", "-R")


class Rules:
    """Takes orders, and remembers them."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def apply(self, order: Order) -> None:
        """Take one."""
        self.orders.append(order)


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


def test_a_command_refused_in_the_middle_is_not_overlooked() -> None:
    """`ipvsadm -R` goes on after a mistake and ends with the last command's status."""
    runner = ScriptedRunner([Expect(CHANGE, stderr="No such service\n")])
    with pytest.raises(ApplyError, match="No such service"):
        IpvsTables(runner).change_servers(["-D -t 10.0.0.1:80", "-A -t 10.0.0.2:80 -s rr"])


def test_nothing_to_change_runs_nothing() -> None:
    """An empty list of commands is no program run."""
    tables = IpvsTables(ScriptedRunner())
    tables.change_servers(())
    tables.change_links(())
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


def listing(*reals: str) -> Expect:
    """What `ipvsadm -L -n` prints of one virtual server."""
    return Expect(LIST, stdout=HEAD + "TCP  10.96.0.20:80 rr\n" + "".join(f"  -> {real}\n" for real in reals))


def test_a_real_server_is_deleted_when_its_last_connection_has_ended() -> None:
    """After a sync it has weight 0; once a minute it is looked at, and when it is idle it goes."""
    service = Service("ns", "web", cluster_ips=("10.96.0.20",), ports=(ServicePort(80),))
    links = [{"ifname": "kube-ipvs0", "addr_info": [{"local": "10.96.0.20"}]}]
    gone = "-d -t 10.96.0.20:80 -r 10.244.1.10:8080\n"
    runner = ScriptedRunner(
        [
            Expect(("ip", "-json", "address", "show"), stdout=json.dumps(links)),
            listing("10.244.1.10:8080 Masq 1 1 0"),
            Expect(CHANGE, "-e -t 10.96.0.20:80 -r 10.244.1.10:8080 -m -w 0\n"),
            Expect(("ipset", "save")),
            Expect(("ipset", "restore", "-exist")),
            listing("10.244.1.10:8080 Masq 0 0 1"),
            listing("10.244.1.10:8080 Masq 0 0 0"),
            Expect(CHANGE, gone),
        ]
    )
    rules = Rules()
    writer = IpvsWriter(4, "a", ProxyConfig(), IpvsTables(runner), rules, NodeFacts())
    writer.write(Cluster((service,)), None, 0.0)
    assert len(rules.orders) == 1
    assert len(writer.leaving) == 1
    assert writer.next_look == CHECK_PERIOD
    assert not writer.look(CHECK_PERIOD - 1)
    writer.look(CHECK_PERIOD)
    assert writer.next_look == 2 * CHECK_PERIOD
    writer.look(2 * CHECK_PERIOD)
    runner.assert_done()
    assert not writer.leaving
    assert writer.next_look == float("inf")


@pytest.mark.parametrize(("release", "version"), [("6.1.0-56-amd64", (6, 1)), ("5.9-rc1", (5, 9))])
def test_the_kernels_version_is_read_from_its_release(release: str, version: tuple[int, int]) -> None:
    """Only the first two numbers count."""
    assert kernel_version(release) == version
