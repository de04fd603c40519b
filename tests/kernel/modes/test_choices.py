"""Three hundred connections a mode: the endpoints chosen, as the pods tell them, fit what the mode promises."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from kplab.session.live import LiveSession

pytestmark = pytest.mark.kernel

ROUNDS = 300
PODS = {"web-1", "web-2", "web-3"}
CHI_SQUARE_LIMIT = 18.42
"""Of two degrees of freedom, p = 0.0001: a uniform draw goes beyond it once in ten thousand runs."""

ASK = """
import json, socket, sys

def ask(address):
    with socket.create_connection((address, 80), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.partition(b"pod: ")[2].partition(b"\\n")[0].decode()

print(json.dumps([ask(sys.argv[1]) for _ in range(int(sys.argv[2]))]))
"""


def chosen(lab: LiveSession, address: str) -> list[str]:
    """The pods that answered, one connection each, in order."""
    done = lab.execute("client", (sys.executable, "-P", "-c", ASK, address, str(ROUNDS)))
    assert done.status == 0, done.stderr
    answered: list[str] = json.loads(done.stdout)
    assert (len(answered), set(answered) <= PODS) == (ROUNDS, True)
    return answered


def uniform(pods: list[str]) -> bool:
    """Whether a uniform draw may have made it, by Pearson's chi-square."""
    expected = ROUNDS / len(PODS)
    counts = Counter(pods)
    return sum((counts[pod] - expected) ** 2 / expected for pod in PODS) < CHI_SQUARE_LIMIT


def in_turn(pods: list[str]) -> bool:
    """Whether each pod was chosen in turn, and so exactly as often as any other."""
    return set(Counter(pods).values()) == {ROUNDS // len(PODS)} and all(
        set(pods[n : n + 3]) == PODS for n in range(len(pods) - 2)
    )


MODES = [
    pytest.param("iptables", "nft", uniform, id="iptables-nft"),
    pytest.param("iptables", "legacy", uniform, id="iptables-legacy"),
    pytest.param("nftables", "nft", uniform, id="nftables"),
    pytest.param("ebpf", "nft", uniform, id="ebpf"),
    pytest.param("userspace", "nft", in_turn, id="userspace"),
]
"""A mode, its back-end, and its promise."""


@pytest.mark.parametrize(("mode", "backend", "promise"), MODES)
def test_the_endpoints_chosen_fit_the_promise(
    start: Callable[..., LiveSession], mode: str, backend: str, promise: Callable[[list[str]], bool]
) -> None:
    """Without affinity as the mode promises; with ClientIP affinity always the same pod."""
    lab = start(mode, backend)
    pods = chosen(lab, "10.96.0.42")

    assert promise(pods), Counter(pods)
    assert len(set(chosen(lab, "10.96.0.55"))) == 1
