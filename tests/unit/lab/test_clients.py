"""Real clients' command lines and targets."""

from __future__ import annotations

import pytest

from kplab.errors import UsageError
from kplab.lab.clients import curl_command, split_target
from kplab.model.packet import ClientSpec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("10.96.0.42:80", ("10.96.0.42", 80)),
        ("[fd00:10:96::42]:80", ("fd00:10:96::42", 80)),
        ("[FD00::0042]:65535", ("fd00::42", 65535)),
    ],
)
def test_targets_are_address_and_port(target: str, expected: tuple[str, int]) -> None:
    """Addresses come out in canonical form."""
    assert split_target(target) == expected


@pytest.mark.parametrize(
    "target", ["10.96.0.42", "10.96.0.42:0", "10.96.0.42:65536", "web:80", "fd00::1:80", "[fd00::1]", ":80", ""]
)
def test_other_targets_are_refused(target: str) -> None:
    """Names, missing ports and bare IPv6 addresses are refused, with the form that is wanted."""
    with pytest.raises(UsageError, match="give an address and a port"):
        split_target(target)


def test_curl_takes_nothing_from_the_user() -> None:
    """Curl runs without configuration, proxies, patterns and progress meter, and gives up by itself."""
    argv = curl_command(ClientSpec("curl", "http://10.96.0.42/"), 3.0)

    assert argv[0] == "curl"
    assert {"-q", "-s", "-S", "-g", "--noproxy"} <= set(argv)
    assert argv[argv.index("--max-time") + 1] == "3"
    assert argv[-1] == "http://10.96.0.42/"


@pytest.mark.parametrize("target", ["-o/etc/passwd", "10.96.0.42", "--config=x"])
def test_what_is_no_url_never_reaches_curl(target: str) -> None:
    """An option in the target's place is refused."""
    with pytest.raises(UsageError, match="not a URL"):
        curl_command(ClientSpec("curl", target), 3.0)
