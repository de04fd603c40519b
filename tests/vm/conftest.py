"""What tests of the microvm share: one cache, and a guest to run programs in, booted once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.base import LabPlan
from kplab.session.labs import start_kept_lab, stop_lab
from kplab.session.live import LiveSession
from kplab.session.sandbox.guest_kernel import cache_folder
from tests.vm.guest import ROOT, Guest, boot, stop

UNPACKED = cache_folder(os.environ)
"""Where `scripts/setup dev` unpacks a kernel when the machine has none of its own."""


@pytest.fixture(scope="session")
def guest_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for guests, filled once; of the developer's own only an unpacked kernel is used."""
    cache = tmp_path_factory.mktemp("guest-cache")
    (cache / "kplab/guest").mkdir(parents=True)
    for part in ("boot", "lib"):
        if (UNPACKED / part).exists():
            (cache / "kplab/guest" / part).symlink_to(UNPACKED / part)
    return cache


@pytest.fixture
def shared_cache(own_state: Path, guest_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the cache that all tests share, so that KVM is tried once only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(guest_cache))
    return guest_cache


@pytest.fixture(scope="session")
def guest(guest_cache: Path) -> Iterator[Guest]:
    """A guest for all tests of the session; each leaves it as it was, or works in namespaces of its own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(guest_cache))
        try:
            started = boot()
        except SandboxError as error:
            pytest.skip(str(error))
    yield Guest(started)
    stop(started)


IPVS_LAB = f"ipvs-{os.getpid()}"
"""The kept lab's name, for commands: `kplab trace --name`."""

IPVS_CONFIG = """
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ipvs
clusterCIDR: "10.244.0.0/16,fd00:10:244::/56"
detectLocalMode: ClusterCIDR
conntrack: {maxPerCore: 0, min: 0}
oomScoreAdj: 0
ipvs: {scheduler: SCHEDULER, minSyncPeriod: 100ms, syncPeriod: 1h}
"""
"""As the lab's own, but that no sync comes by itself: a test may write virtual servers of its own meanwhile."""


@pytest.fixture(scope="session")
def ipvs_lab(guest_cache: Path) -> Iterator[LiveSession]:
    """The lessons' cluster in ipvs mode, in one guest for all tests of the session; kept, so that commands find it."""
    manifest = (ROOT / "lessons/cluster.yaml").read_text()
    plan = LabPlan(manifest, mode="ipvs", config=IPVS_CONFIG.replace("SCHEDULER", "rr"), sandbox="microvm")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(guest_cache))
        try:
            session = start_kept_lab(IPVS_LAB, plan)
        except SandboxError as error:
            pytest.skip(str(error))
    yield session
    session.close()
    stop_lab(IPVS_LAB)
