"""`kplab rules`: what kube-proxy would write, printed and not applied."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import assert_never

import typer

from kplab.cli.report import ExitCode
from kplab.errors import ConfigError, UnknownNameError
from kplab.model.cluster import Cluster, Family
from kplab.model.config import ProxyConfig, load_config, split_cluster_cidr
from kplab.model.loader import load_cluster
from kplab.modes.ebpf import EbpfProgram
from kplab.modes.facts import NodeFacts
from kplab.modes.ipvs_program import DEVICE, IpvsProgram
from kplab.modes.nft_program import NftablesProgram
from kplab.modes.program import IptablesProgram
from kplab.modes.registry import Program, compiler

DEFAULT_CLUSTER_CIDR = "10.244.0.0/16"
FAMILIES: tuple[Family, ...] = (4, 6)


def rules(manifest: Path, *, mode: str, node: str, config: Path | None, cluster_cidr: str | None) -> ExitCode:
    """Print one node's rules for both families."""
    compile_rules = compiler(mode)
    cluster = load_cluster(manifest)
    _require_node(cluster, node, manifest)
    settings = _settings(config, cluster_cidr)
    facts = NodeFacts(addresses=("127.0.0.1", "::1", *_addresses(cluster, node)))
    for family in FAMILIES:
        typer.echo(render(compile_rules(cluster, settings, node, family, facts)), nl=False)
    return ExitCode.OK


def _require_node(cluster: Cluster, node: str, manifest: Path) -> None:
    if cluster.nodes and cluster.node(node) is None:
        known = ", ".join(n.name for n in cluster.nodes)
        raise UnknownNameError(f"there is no node {node} in {manifest}", "", f"Nodes: {known}")


def _addresses(cluster: Cluster, name: str) -> tuple[str, ...]:
    node = cluster.node(name)
    return node.internal_ips if node else ()


def _settings(config: Path | None, cluster_cidr: str | None) -> ProxyConfig:
    """Return the configuration; without a file, pods are those of the lab's own CIDR unless a flag says otherwise."""
    settings = load_config(config) if config else ProxyConfig()
    if cluster_cidr is None and config is not None:
        return settings
    cidrs = split_cluster_cidr(DEFAULT_CLUSTER_CIDR if cluster_cidr is None else cluster_cidr)
    if cidrs is None:
        raise ConfigError(
            f"--cluster-cidr {cluster_cidr}", "not a CIDR, nor two separated by a comma", "Like 10.244.0.0/16"
        )
    return dataclasses.replace(settings, cluster_cidrs=cidrs)


def render(program: Program) -> str:
    """Return one family's commands, as a shell would take them."""
    match program:
        case IptablesProgram():
            return _iptables(program)
        case NftablesProgram():
            return f"# IPv{program.family}\nnft -f - <<'EOF'\n{program.text()}EOF\n"
        case IpvsProgram():
            return _ipvs(program)
        case EbpfProgram():
            return program.text()
        case _:
            assert_never(program)


def _ipvs(program: IpvsProgram) -> str:
    """The device's addresses, virtual servers, ipsets, then the rules that look into them."""
    lines = [f"# IPv{program.family}: addresses, virtual servers, ipsets, rules", f"ip link add {DEVICE} type dummy"]
    parts = (
        ("ip -batch -", program.address_text()),
        ("ipvsadm -R", program.ipvsadm_text()),
        ("ipset restore -exist", program.ipset_text()),
    )
    lines += [f"{command} <<'EOF'\n{text}EOF" for command, text in parts if text]
    return "\n".join(lines) + "\n" + _iptables(program.rules)


def _iptables(program: IptablesProgram) -> str:
    """A jump a line, then the text that `iptables-restore` is given."""
    if not program.tables:
        return f"# IPv{program.family}: this mode writes nothing\n"
    tool = "iptables" if program.family == 4 else "ip6tables"
    lines = [f"# IPv{program.family}"]
    for jump in program.jumps:
        argv = [tool, "-w", "5", "-I", jump.source, "-t", jump.table, *jump.arguments, "-j", jump.target]
        lines.append(shlex.join(argv))
    lines.append(f"{tool}-restore -w 5 --noflush --counters <<'EOF'")
    return "\n".join(lines) + "\n" + program.text() + "EOF\n"
