"""Puts a kplab-proxy in IPVS mode together, and does what comes before the first sync."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from kplab.errors import ManifestError
from kplab.model.cluster import Cluster
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs_sysctls import ipvs_sysctls, ipvs_timeouts
from kplab.modes.nodeports import node_port_addresses
from kplab.proxy.apply import DirectApplier
from kplab.proxy.conntrack import flow_forgetter
from kplab.proxy.facts import RANDOM_FULLY
from kplab.proxy.ipvs_tables import IpvsTables
from kplab.proxy.ipvs_writer import IpvsWriter
from kplab.proxy.loop import Clock, Observer, Parts
from kplab.proxy.nft_tools import remove_tables
from kplab.proxy.options import Options
from kplab.proxy.proxier import Proxier
from kplab.proxy.report import Reporter
from kplab.proxy.schedule import Schedule
from kplab.proxy.sysctls import set_sysctls, wanted_sysctls
from kplab.proxy.tools import Tools
from kplab.proxy.watch import ManifestWatch, manifest_parser


def assemble_ipvs(
    options: Options, families: Sequence[Tools], clock: Clock, observers: Sequence[Observer] = ()
) -> Parts:
    """See whether IPVS works here, set sysctls and timeouts, and return the parts of a loop.

    Raises:
        ManifestError: no manifest was named.
        LabError: this kernel has no IPVS; kube-proxy, too, ends then.
        ProgramError: ipvsadm, ipset or iptables is missing.

    """
    if options.manifest is None:
        raise ManifestError("no manifest was named", hint="give --manifest FILE")
    config, runner = options.config, families[0].runner
    reporter = Reporter(options.report_fd, options.verbosity)
    remove_tables(runner)
    tables = IpvsTables(runner)
    tables.probe(config.ipvs.scheduler)
    addresses = node_port_addresses(Cluster(), config, options.node, 4, NodeFacts())
    wanted = wanted_sysctls(config, addresses) | ipvs_sysctls(config, kernel_version(os.uname().release))
    for problem in set_sysctls(wanted):
        reporter.problem(problem)
    timeouts = ipvs_timeouts(config)
    if timeouts is not None:
        tables.set_timeouts(timeouts)
    facts = NodeFacts(random_fully=families[0].version() >= RANDOM_FULLY)
    writers = [
        IpvsWriter(each.family, options.node, config, tables, DirectApplier(each, canaries=False), facts)
        for each in families
    ]
    return Parts(
        watch=ManifestWatch(options.manifest),
        parse=manifest_parser(str(options.manifest)),
        proxiers=[
            Proxier(tools.family, options.node, Schedule(config.ipvs.min_sync_period, config.ipvs.sync_period), writer)
            for tools, writer in zip(families, writers, strict=True)
        ],
        canaries=writers,
        reporter=reporter,
        forget_flows=flow_forgetter(runner, options.node),
        clock=clock,
        observers=observers,
    )


def kernel_version(release: str) -> tuple[int, ...]:
    """Return (6, 1) of "6.1.0-56-amd64"."""
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])
