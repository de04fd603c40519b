"""What a user hands over, read into what a session sends: scapy's packets, expressions, URLs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from kplab.errors import ExpressionError, UsageError
from kplab.model.expression import parse_expression
from kplab.model.layers import TCP_FLAG_LETTERS
from kplab.model.loader import parse_cluster, read_text
from kplab.model.packet import ClientSpec, PacketSpec

_LONGEST_PATH = 4096
_TARGET = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s/]+):\d{1,5}")
_TCP_FLAGS = re.compile(r"(?P<before>\bTCP\([^()]*\bflags=)(?P<number>\d+)")


class ScapyPacket(Protocol):
    """What we ask of scapy's packets; scapy itself stays on the user's side of the notebook."""

    def command(self) -> str:
        """Return the expression that makes the packet."""


def read_packet(packet: str | ScapyPacket) -> PacketSpec:
    """Read scapy's own object, or the same as text.

    Raises:
        ExpressionError: something in it cannot be sent; its note shows the place.
        UsageError: it is no packet.
    """
    text = packet if isinstance(packet, str) else _command(packet)
    try:
        return parse_expression(text)
    except ExpressionError as error:
        shown = "".join(" " if c in "\r\n\t" else c for c in text)
        error.add_note(f"  {shown}\n  {' ' * error.position}{'^' * max(1, error.length)}")
        raise


def _command(packet: ScapyPacket) -> str:
    command = getattr(packet, "command", None)
    if not callable(command):
        raise UsageError(
            "send a packet",
            f"{type(packet).__name__} is neither a packet of scapy's nor text",
            'Like IP(dst="10.96.0.42")/TCP(dport=80, flags="S"), with or without quotes around it all',
        )
    return _TCP_FLAGS.sub(_letters, str(command()))


def _letters(found: re.Match[str]) -> str:
    """`command` prints flags as a number; people read letters."""
    number = int(found["number"])
    letters = "".join(letter for bit, letter in enumerate(TCP_FLAG_LETTERS) if number >> bit & 1)
    known = number < 1 << len(TCP_FLAG_LETTERS)
    return f"{found['before']}{letters!r}" if known else found[0]


def read_request(target: str) -> ClientSpec:
    """Read a URL for curl, or `tcp://host:port`, `udp://host:port`.

    Raises:
        UsageError: it is none of these.
    """
    if re.match(r"https?://[^\s/]", target):
        return ClientSpec(client="curl", target=target)
    scheme, _, rest = target.partition("://")
    place = rest.rstrip("/")
    if scheme in ("tcp", "udp") and _TARGET.fullmatch(place):
        return ClientSpec(client="tcp" if scheme == "tcp" else "udp", target=place)
    raise UsageError(
        "request something",
        f"{target!r} is not an address that a client can reach",
        "Like http://10.96.0.42, tcp://10.96.0.77:7 or udp://10.96.0.77:7",
    )


def read_manifest(manifest: str | Path | None, default: Path) -> str:
    """Return a cluster's YAML, checked: that of a file, the text itself, or the lab's own.

    Raises:
        ManifestError: it cannot be read; names file, line and field.
    """
    if manifest is None or isinstance(manifest, Path) or not _is_yaml(manifest):
        path = default if manifest is None else Path(manifest).expanduser()
        text, name = read_text(path), str(path)
    else:
        text, name = manifest, "the manifest"
    parse_cluster(text, name)
    return text


def read_config(config: str | Path | None) -> str:
    """Return a KubeProxyConfiguration's YAML: that of a file, the text itself, or nothing.

    Raises:
        ManifestError: the file cannot be read.
    """
    if config is None:
        return ""
    return config if isinstance(config, str) and _is_yaml(config) else read_text(Path(config).expanduser())


def _is_yaml(text: str) -> bool:
    """A path has one line and no colon behind a word; YAML that says anything has both."""
    return "\n" in text or len(text) > _LONGEST_PATH
