"""Puts a kplab-proxy together from its options, and does what comes before the first sync."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kplab.errors import ManifestError
from kplab.model.cluster import Cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.nodeports import node_port_addresses
from kplab.proxy.apply import Applier, DirectApplier
from kplab.proxy.canary import Canary
from kplab.proxy.conntrack import flow_forgetter
from kplab.proxy.facts import local_addresses, needs_addresses, read_facts
from kplab.proxy.iptables_writer import IptablesWriter
from kplab.proxy.loop import Clock, Observer, Parts
from kplab.proxy.nft_tools import remove_tables
from kplab.proxy.options import Options
from kplab.proxy.proxier import Proxier
from kplab.proxy.report import Reporter
from kplab.proxy.schedule import Schedule
from kplab.proxy.sysctls import set_sysctls, wanted_sysctls
from kplab.proxy.tools import Tools
from kplab.proxy.upstream import UpstreamApplier, start_like_upstream
from kplab.proxy.watch import ManifestWatch, manifest_parser


def assemble(options: Options, families: Sequence[Tools], clock: Clock, observers: Sequence[Observer] = ()) -> Parts:
    """Remove what nftables mode left, set sysctls, make counters, and return the parts of a loop.

    Raises:
        ManifestError: no manifest was named.
        ProgramError: iptables is missing.

    """
    if options.manifest is None:
        raise ManifestError("no manifest was named", hint="give --manifest FILE")
    reporter = Reporter(options.report_fd, options.verbosity)
    runner = families[0].runner
    if not options.like_upstream:
        remove_tables(runner)
    version = start_like_upstream(runner, families) if options.like_upstream else families[0].version()
    facts = read_facts(runner, options.config, version)
    for problem in set_sysctls(_sysctls(options, facts)):
        reporter.problem(problem)
    source = _facts_source(options, facts, families[0])
    return Parts(
        watch=ManifestWatch(options.manifest),
        parse=manifest_parser(str(options.manifest)),
        proxiers=[_proxier(options, tools, source) for tools in families],
        canaries=[
            Canary(tools, options.config.iptables.sync_period, creates=options.like_upstream) for tools in families
        ],
        reporter=reporter,
        forget_flows=flow_forgetter(families[0].runner, options.node),
        clock=clock,
        observers=observers,
    )


def _proxier(options: Options, tools: Tools, source: Callable[[], NodeFacts]) -> Proxier:
    config = options.config
    writer = IptablesWriter(tools.family, options.node, config, _applier(options, tools), source)
    schedule = Schedule(config.iptables.min_sync_period, config.iptables.sync_period)
    return Proxier(tools.family, options.node, schedule, writer)


def _applier(options: Options, tools: Tools) -> Applier:
    return UpstreamApplier(tools) if options.like_upstream else DirectApplier(tools)


def _sysctls(options: Options, facts: NodeFacts) -> dict[str, int]:
    addresses = node_port_addresses(Cluster(), options.config, options.node, 4, facts)
    return wanted_sysctls(options.config, addresses)


def _facts_source(options: Options, facts: NodeFacts, tools: Tools) -> Callable[[], NodeFacts]:
    """Only the node's addresses are read again at each sync, and only where rules depend on them."""
    if not needs_addresses(options.config):
        return lambda: facts
    return lambda: replace(facts, addresses=local_addresses(tools.runner))
