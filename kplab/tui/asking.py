"""What the prompt's text asks for: a packet, or a real client's exchange; and what may be typed into it."""

from __future__ import annotations

import re
from typing import get_args

from kplab.errors import ExpressionError, ManifestError
from kplab.model.completion import Completion, KnownName, complete
from kplab.model.expression import parse_expression
from kplab.model.loader import parse_cluster
from kplab.model.packet import Client, ClientSpec, SendSpec
from kplab.model.topology import Topology

CLIENTS: tuple[Client, ...] = get_args(Client)
PROMPTS: dict[Client, str] = {"scapy": "packet>", "curl": "curl>", "tcp": "tcp>", "udp": "udp>"}
MEANINGS: dict[Client, str] = {
    "scapy": "one packet, made by hand",
    "curl": "a real HTTP request; every packet of its connection is followed",
    "tcp": "a real TCP connection with a line of text",
    "udp": "a real UDP exchange",
}
_TARGET = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/]+):(\d{1,5})")


def parse_request(text: str, client: Client) -> SendSpec:
    """Return what a prompt's text asks for.

    Raises ExpressionError, whose position is a column of `text`.
    """
    if client == "scapy":
        return parse_expression(text)
    target = text.strip()
    begin = len(text) - len(text.lstrip())
    if not target:
        raise ExpressionError("there is no target", "the line is empty", _example(client))
    if client == "curl":
        if " " in target or not target.startswith(("http://", "https://")):
            raise ExpressionError(
                "this is not a URL", f"found {target}", _example(client), position=begin, length=len(target)
            )
        return ClientSpec("curl", target)
    found = _TARGET.fullmatch(target)
    if found is None or not 0 < int(found[2]) < 65536:
        raise ExpressionError(
            "this is not address:port", f"found {target}", _example(client), position=begin, length=len(target)
        )
    return ClientSpec(client, target)


def _example(client: Client) -> str:
    return "A target reads like " + ("http://10.96.0.42/" if client == "curl" else "10.96.0.42:80")


def translate(text: str, client: Client) -> str:
    """Return the same question for another client: an expression as a URL, a URL as an expression.

    Text that says nothing about an address and a port is returned as it is.
    """
    found = _address_of(text)
    if found is None:
        return text
    address, port = found
    host = f"[{address}]" if ":" in address else address
    if client == "curl":
        return f"http://{host}{'' if port == 80 else f':{port}'}/"
    if client in {"tcp", "udp"}:
        return f"{host}:{port}"
    return f'{"IPv6" if ":" in address else "IP"}(dst="{address}")/TCP(dport={port}, flags="S")'


def _address_of(text: str) -> tuple[str, int] | None:
    try:
        spec = parse_expression(text)
    except ExpressionError:
        bare = re.fullmatch(r"\s*(?:https?://)?(\[[^\]]+\]|[^\s\[\]:/]+)(?::(\d+))?/?\S*\s*", text)
        if bare is None or not re.fullmatch(r"\[.*\]|[\d.]+", bare[1]):
            return None
        return bare[1].strip("[]"), int(bare[2] or 80)
    network, transport = spec.layer("IP", "IPv6"), spec.layer("TCP", "UDP")
    address, port = (network.get("dst") if network else None), (transport.get("dport") if transport else None)
    return (address, port if isinstance(port, int) else 80) if isinstance(address, str) else None


def known_names(manifest: str, topology: Topology | None) -> tuple[KnownName, ...]:
    """Return the Services' addresses and the namespaces' for completion; a manifest that cannot be read has none."""
    names: list[KnownName] = []
    try:
        services = parse_cluster(manifest, "the lab's manifest").services if manifest.strip() else ()
    except ManifestError:
        services = ()
    for service in services:
        for address in (*service.cluster_ips, *service.external_ips):
            if address != "None":
                port = service.ports[0].port if service.ports else None
                names.append(KnownName(f"{service.namespace}/{service.name}", address, port))
    for namespace in topology.namespaces if topology else ():
        names += [KnownName(namespace.name, address, None, namespace.role) for address in namespace.addresses()]
    return tuple(names)


def complete_request(text: str, cursor: int, client: Client, names: tuple[KnownName, ...]) -> tuple[Completion, ...]:
    """Return what may be typed at the cursor, the likeliest first."""
    if client == "scapy":
        return complete(text, cursor, names)
    head = "http://" if client == "curl" else ""
    typed = text[:cursor].lower()
    found = []
    for name in names:
        host = f"[{name.address}]" if ":" in name.address else name.address
        tail = "/" if client == "curl" else ""
        whole = f"{head}{host}{f':{name.port}' if name.port else ''}{tail}"
        if whole.lower().startswith(typed) or (typed and typed.removeprefix(head) in name.name.lower()):
            found.append(Completion(whole, 0, len(text), f"{name.kind} {name.name}"))
    return tuple(found)
