"""Puts a kplab-proxy in nftables mode together, and does what comes before the first sync."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kplab.errors import ManifestError
from kplab.lab.run import Runner
from kplab.model.cluster import Cluster, Family
from kplab.modes.facts import NodeFacts
from kplab.modes.nftables_settings import read_nft_settings
from kplab.modes.nodeports import node_port_addresses
from kplab.proxy.conntrack import flow_forgetter
from kplab.proxy.facts import local_addresses
from kplab.proxy.leftovers import FAMILIES, leave_iptables_and_ipvs
from kplab.proxy.loop import Clock, Observer, Parts
from kplab.proxy.nft_tools import NftTools, require_nft
from kplab.proxy.nft_writer import NftWriter
from kplab.proxy.options import Options
from kplab.proxy.pieces import send_capacity
from kplab.proxy.proxier import Proxier
from kplab.proxy.report import Reporter
from kplab.proxy.schedule import Schedule
from kplab.proxy.sysctls import set_sysctls, wanted_sysctls
from kplab.proxy.watch import ManifestWatch, manifest_parser

_ALL: dict[Family, tuple[str, ...]] = {4: ("0.0.0.0",), 6: ("::",)}  # noqa: S104 our namespace's


def assemble_nft(
    options: Options,
    runner: Runner,
    clock: Clock,
    observers: Sequence[Observer] = (),
    *,
    capacity: Callable[[], int | None] = send_capacity,
) -> Parts:
    """Remove what other modes left, set sysctls, and return the parts of a loop.

    `capacity` tells how many bytes a netlink message may have here; None: any number.

    Raises:
        ManifestError: no manifest was named.
        ProgramError: nft is missing or too old.

    """
    if options.manifest is None:
        raise ManifestError("no manifest was named", hint="give --manifest FILE")
    reporter = Reporter(options.report_fd, options.verbosity)
    require_nft(runner)
    addresses = node_port_addresses(Cluster(), options.config, options.node, 4, NodeFacts())
    problems = leave_iptables_and_ipvs(runner, options.backend)
    for problem in (*problems, *set_sysctls(wanted_sysctls(options.config, addresses))):
        reporter.problem(problem)
    most = capacity()
    return Parts(
        watch=ManifestWatch(options.manifest),
        parse=manifest_parser(str(options.manifest)),
        proxiers=[_proxier(options, NftTools(runner, family), most) for family in FAMILIES],
        canaries=(),
        reporter=reporter,
        forget_flows=flow_forgetter(runner, options.node),
        clock=clock,
        observers=observers,
    )


def _proxier(options: Options, tools: NftTools, capacity: int | None) -> Proxier:
    config, family = options.config, tools.family
    writer = NftWriter(options.node, config, tools, _facts_source(tools.runner), capacity)
    schedule = Schedule(config.nftables.min_sync_period, config.nftables.sync_period)
    return Proxier(family, options.node, schedule, writer)


def _facts_source(runner: Runner) -> Callable[[], NodeFacts]:
    """NodePorts are answered on those of the node's addresses that are there, so they are read at each sync."""
    return lambda: NodeFacts(addresses=local_addresses(runner))


def answering_addresses(options: Options, runner: Runner, cluster: Cluster) -> dict[Family, tuple[str, ...]]:
    """Return the addresses that answer for NodePorts, and so for healthCheckNodePorts; "0.0.0.0" or "::" for all.

    Raises:
        ProgramError: ip is missing, or failed.

    """
    facts = NodeFacts(addresses=local_addresses(runner))
    found: dict[Family, tuple[str, ...]] = {}
    for family in FAMILIES:
        ips = read_nft_settings(cluster, options.config, options.node, family, facts).node_port_ips
        found[family] = ips if ips is not None else _ALL[family]
    return found
