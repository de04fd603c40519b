"""What tests of the microvm share: one cache, and a guest to run programs in, booted once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kplab.errors import SandboxError
from kplab.session.sandbox.guest_kernel import cache_folder
from tests.vm.guest import Guest, boot, stop

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
