"""What is left of the traffic when kube-proxy is killed: in userspace mode nothing, else everything."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from kplab.session.live import LiveSession

pytestmark = pytest.mark.kernel

TALK = """
import json, os, select, signal, socket, sys

def say(connection, word):
    try:
        connection.sendall(word)
        return connection.recv(100).decode() or "closed"
    except OSError as error:
        return type(error).__name__

def connect():
    return socket.create_connection(("10.96.0.77", 7), timeout=3)

old = connect()
told = {"before": say(old, b"one")}
for pid in map(int, sys.argv[1:]):
    ended = os.pidfd_open(pid)
    signal.pidfd_send_signal(ended, signal.SIGKILL)
    select.select([ended], [], [], 5)
told["established"] = say(old, b"two")
try:
    told["new"] = say(connect(), b"three")
except OSError as error:
    told["new"] = type(error).__name__
print(json.dumps(told))
"""
"""Talk to the echo Service, kill the processes named, and go on."""


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("iptables", {"before": "one", "established": "two", "new": "three"}),
        ("nftables", {"before": "one", "established": "two", "new": "three"}),
        ("ebpf", {"before": "one", "established": "two", "new": "three"}),
        ("userspace", {"before": "one", "established": "closed", "new": "ConnectionRefusedError"}),
    ],
)
def test_traffic_without_kube_proxy(start: Callable[..., LiveSession], mode: str, expected: dict[str, str]) -> None:
    """A connection that stands and a new one: only where kube-proxy itself carries the bytes do they stop."""
    lab = start(mode)
    pids = [str(process.pid) for process in lab.status().processes if process.name.startswith("kube-proxy")]
    done = lab.execute("client", (sys.executable, "-P", "-c", TALK, *pids))

    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == expected
    states = {p.name: p.alive for p in lab.status().processes if p.name.startswith("kube-proxy")}
    assert states == {"kube-proxy node-a": False, "kube-proxy node-b": False}
