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
