"""What the proxier reads from the machine before it compiles."""

from __future__ import annotations

import json

from kplab.lab.run import Runner
from kplab.model.proxy_config import PRIMARY, ProxyConfig
from kplab.modes.facts import NodeFacts
from kplab.proxy.nfacct import ensure_counters
from kplab.proxy.sysctls import tcp_be_liberal

RANDOM_FULLY = (1, 6, 2)
"""The first iptables that knows `MASQUERADE --random-fully`."""


def read_facts(runner: Runner, config: ProxyConfig, version: tuple[int, ...]) -> NodeFacts:
    """Read the machine's facts, and make the nfacct counters that rules will name.

    Raises:
        ProgramError: ip is missing, or failed.

    """
    return NodeFacts(
        addresses=local_addresses(runner) if needs_addresses(config) else (),
        random_fully=version >= RANDOM_FULLY,
        nfacct=ensure_counters(),
        tcp_be_liberal=tcp_be_liberal(),
    )


def needs_addresses(config: ProxyConfig) -> bool:
    """Tell whether rules depend on the node's addresses: nodePortAddresses names networks."""
    return bool(config.node_port_addresses) and config.node_port_addresses != (PRIMARY,)


def local_addresses(runner: Runner) -> tuple[str, ...]:
    """Return every local address of both families, in the kernel's order.

    Raises:
        ProgramError: ip is missing, or failed.

    """
    interfaces = json.loads(runner.run(["ip", "-json", "address", "show"]).stdout or "[]")
    return tuple(
        str(address["local"])
        for interface in interfaces
        for address in interface.get("addr_info", ())
        if "local" in address
    )
