"""What IPVS mode keeps and what it removes, in a kernel: connections, and virtual servers of somebody else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.vm.guest import Guest

pytestmark = pytest.mark.vm

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
ONCE = f"{sys.executable} -m kplab.proxy.main --proxy-mode ipvs --hostname-override node-a --once --backend nft"
NETWORK = """
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add eth0 type veth peer name pod
ip netns add pod
ip link set pod netns pod
ip -n pod link set lo up
ip addr add 192.168.50.10/24 dev eth0
ip addr add 10.244.1.1/24 dev eth0
ip link set eth0 up
ip -n pod addr add 10.244.1.10/24 dev pod
ip -n pod link set pod up
ip -n pod route add default via 10.244.1.1
"""
BUSY = """
ip netns exec pod {python} -c '
import socket, time
server = socket.create_server(("10.244.1.10", 8080))
print("up", flush=True)
held = server.accept()[0]
print(held.recv(5).decode(), flush=True)
held.recv(1)
' >/run/server & server=$!
until grep -q up /run/server; do sleep 0.05; done
{python} -c '
import socket, subprocess, sys
held = socket.create_connection(("10.96.0.20", 80), timeout=10)
held.sendall(b"first")
subprocess.run(sys.argv[1], shell=True, check=True)
' "{then}"
wait $server
"""


def script(guest: Guest, text: str) -> str:
    """Run a script in namespaces of its own; return what it printed."""
    ran = guest.run(["unshare", "-nm", "sh", "-c", text], limit=100)
    assert ran.status == 0, ran.stderr
    return ran.stdout


def test_a_busy_real_server_gets_weight_0_and_keeps_its_connection(guest: Guest) -> None:
    """When its endpoint goes, the connection that stands goes on, and no new one comes to it."""
    before, after = GOLDEN / "clusterip-1ep" / "manifest.yaml", GOLDEN / "no-endpoints" / "manifest.yaml"
    then = f"{ONCE} --manifest {after}; ipvsadm -L -n; ipvsadm -L -n -c"
    busy = BUSY.format(python=sys.executable, then=then)
    told = script(guest, f"{NETWORK}\n{ONCE} --manifest {before}\n{busy}")

    (real,) = [line.split() for line in told.splitlines() if "10.244.1.10:8080" in line and "Masq" in line]
    assert real[3:5] == ["0", "1"]
    assert "ESTABLISHED" in told


def test_foreign_virtual_servers_go_unless_they_are_excluded(guest: Guest) -> None:
    """kube-proxy deletes what it did not make; ipvs.excludeCIDRs spares it."""
    manifest = GOLDEN / "clusterip-1ep" / "manifest.yaml"
    foreign = "ipvsadm -A -t 10.9.9.9:80 -s rr; ipvsadm -A -t 10.8.8.8:80 -s rr"
    told = script(
        guest, f"{NETWORK}\n{foreign}\n{ONCE} --manifest {manifest} --ipvs-exclude-cidrs 10.8.0.0/16\nipvsadm -S -n"
    )

    assert "10.9.9.9:80" not in told
    assert "-A -t 10.8.8.8:80 -s rr" in told
    assert "-A -t 10.96.0.20:80 -s rr" in told


REFUSED = """
import subprocess
from kplab.errors import ApplyError
from kplab.modes.ipvs_program import RealServer, VirtualServer, VsKey
from kplab.proxy.ipvs_commands import DropReal, PutReal, PutServer
from kplab.proxy.ipvs_servers import NetlinkServers

# Without any route the kernel takes no address for a real server's.
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
keys = [VsKey("TCP", f"10.96.{n // 250}.{n % 250}", 80) for n in range(500)]
pod = RealServer("10.244.1.10", 8080, 3)
servers = NetlinkServers()
try:
    servers.change([
        *(PutServer(VirtualServer(key, "rr")) for key in keys),
        *(DropReal(key, pod) for key in keys),
        *(PutReal(key, pod) for key in keys),
        PutServer(VirtualServer(keys[0], "rr")),
    ])
except ApplyError as refused:
    print(refused)
print([real for key in keys for real in servers.reals(key)].count(servers.reals(keys[0])[0]))
print(servers.reals(VsKey("UDP", "10.96.0.1", 53)))
"""


def test_commands_that_the_kernel_refuses_are_named_and_the_others_hold(guest: Guest) -> None:
    """In the midst of a buffer, a whole buffer of them, and at the very end; what is there is then read back."""
    ran = guest.run(["unshare", "-nm", sys.executable, "-c", REFUSED], limit=100)
    assert ran.status == 0, ran.stderr

    assert "-d -t 10.96.0.0:80 -r 10.244.1.10:8080: no such real server, or no such scheduler" in ran.stdout
    assert "and 481 more" in ran.stdout
    assert ran.stdout.splitlines()[-2:] == ["500", "()"]


SETS = """
set -e
ipset restore <<END
create A hash:ip,port,net
create B hash:ip,port,ip family inet6
create C bitmap:port range 0-65535
create D hash:net
create E hash:ip
add A 10.96.0.20,tcp:80,10.1.0.0/16
add A 10.96.0.20,udp:53,10.1.0.1
add A 10.96.0.20,sctp:7,10.2.0.0/16 nomatch
add B fd00::1,sctp:3868,fd00::1
add C 30080
add D 10.0.0.0/8
END
{python} -c '
import subprocess
from kplab.proxy.ipvs_set_list import TYPES, read_sets
from kplab.rules.ipset_save import parse_ipset_save
more = "".join(f"add E 10.{{n // 250}}.0.{{n % 250}}\\n" for n in range(3000))
subprocess.run(["ipset", "restore"], input=more, text=True, check=True)
saved = parse_ipset_save(subprocess.run(["ipset", "save"], capture_output=True, text=True, check=True).stdout)
read = read_sets()
assert sorted(read) == ["A", "B", "C", "E"], read
for name, found in read.items():
    assert (found.type, found.family, found.members) == (saved[name].type, saved[name].family, saved[name].members)
'
"""


def test_ipsets_are_read_as_ipset_prints_them(guest: Guest) -> None:
    """All types that IPVS mode has, in one answer or in many; others are left alone."""
    script(guest, SETS.format(python=sys.executable))
