"""Each mode's journey as `kplab trace --format json` prints it: its hops in order, who chose, how we know.

One readable text a mode (tests/data/journeys) holds the order and the evidence; that of ipvs mode, which needs a guest,
is compared in tests/vm/test_ipvs_journey.py.
"""

from __future__ import annotations

import os

import pytest

from kplab.errors import SandboxError
from kplab.session.sandbox.choose import choose
from tests.kernel.journey.command import assert_golden, assert_pod_agrees, trace_command

pytestmark = pytest.mark.kernel

MODES = [
    pytest.param("iptables", "nft", id="iptables-nft"),
    pytest.param("iptables", "legacy", id="iptables-legacy"),
    pytest.param("nftables", "nft", id="nftables"),
    pytest.param("ebpf", "nft", id="ebpf"),
    pytest.param("userspace", "nft", id="userspace"),
]


@pytest.mark.parametrize(("mode", "backend"), MODES)
def test_a_connection_in_each_mode(mode: str, backend: str, request: pytest.FixtureRequest) -> None:
    """Hops in order with their evidence, the chosen endpoint is the pod that answered, model and kernel agree."""
    try:
        choose("namespaces", mode)
    except SandboxError as error:
        pytest.skip(f"no lab in {mode} mode can be started here: {error}")
    told = trace_command(
        "--mode", mode, "--backend", backend, "--name", f"none-{os.getpid()}", "--client", "curl", "http://10.96.0.42"
    )  # fmt: skip

    assert (told["complete"], told["disagreements"], told["lost"]) == (True, [], 0)
    assert_pod_agrees(told)
    assert_golden(request.node.callspec.id, told)
