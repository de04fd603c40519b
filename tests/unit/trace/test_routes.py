"""Which of a node's routes a destination takes."""

from __future__ import annotations

import pytest

from kplab.trace.routes import choose_route

pytestmark = pytest.mark.unit

LINES = (
    "default via 192.168.50.1 dev eth0",
    "10.244.1.5 dev veth-client scope link",
    "10.244.2.0/24 via 192.168.50.11 dev eth0",
    "unreachable 10.99.0.0/16",
    "192.168.50.0/24 dev eth0 proto kernel scope link src 192.168.50.10",
    "default via fd00:192:168:50::1 dev eth0 metric 1024 pref medium",
    "fd00:10:244:2::/64 via fd00:192:168:50::11 dev eth0 metric 1024 pref medium",
    "fe80::/64 dev eth0 proto kernel metric 256 pref medium",
)


@pytest.mark.parametrize(
    ("destination", "line", "device", "via"),
    [
        ("10.244.1.5", 1, "veth-client", None),
        ("10.244.2.9", 2, "eth0", "192.168.50.11"),
        ("192.168.50.11", 4, "eth0", None),
        ("203.0.113.10", 0, "eth0", "192.168.50.1"),
        ("10.99.1.1", 3, None, None),
        ("fd00:10:244:2::10", 6, "eth0", "fd00:192:168:50::11"),
        ("2001:db8::1", 5, "eth0", "fd00:192:168:50::1"),
    ],
)
def test_the_longest_prefix_wins(destination: str, line: int, device: str | None, via: str | None) -> None:
    """The line is kept as it was printed; families do not mix."""
    route = choose_route(LINES, destination)

    assert route is not None
    assert (route.line, route.device, route.via) == (LINES[line], device, via)


def test_a_lower_metric_wins_among_equals() -> None:
    """As the kernel chooses."""
    lines = ("10.0.0.0/8 dev b metric 200", "10.0.0.0/8 dev a metric 100")

    assert getattr(choose_route(lines, "10.1.1.1"), "device", None) == "a"


def test_no_route() -> None:
    """Nothing fits: None."""
    assert choose_route(LINES[1:5], "203.0.113.10") is None
    assert choose_route((), "10.0.0.1") is None
