"""kube-proxy killed in ipvs mode: the kernel balances on, connections that stand and new ones alike."""

from __future__ import annotations

import json
import sys

import pytest

from kplab.session.live import LiveSession
from tests.kernel.modes.test_stopped_proxy import TALK

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


def test_traffic_without_kube_proxy(ipvs_lab: LiveSession) -> None:
    """As in every mode but userspace, nothing stops. It is the lab's last test: its kube-proxies stay dead."""
    pids = [str(process.pid) for process in ipvs_lab.status().processes if process.name.startswith("kube-proxy")]
    done = ipvs_lab.execute("client", (sys.executable, "-P", "-c", TALK, *pids))

    assert done.status == 0, done.stderr
    assert json.loads(done.stdout) == {"before": "one", "established": "two", "new": "three"}
    states = {p.name: p.alive for p in ipvs_lab.status().processes if p.name.startswith("kube-proxy")}
    assert states == {"kube-proxy node-a": False, "kube-proxy node-b": False}
