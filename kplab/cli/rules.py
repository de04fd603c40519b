"""`kplab rules`: what kube-proxy would write, printed and not applied."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import typer

from kplab.cli.report import ExitCode
from kplab.errors import ConfigError, UnknownNameError
from kplab.model.config import ProxyConfig, parse_config
from kplab.model.loader import load_cluster
from kplab.modes.program import IptablesProgram
from kplab.modes.registry import compile_mode

DEFAULT_CLUSTER_CIDR = "10.244.0.0/16"


def rules(manifest: Path, *, mode: str, node: str, config: Path | None, cluster_cidr: str | None) -> ExitCode:
    """Print one node's rules for both families."""
    cluster = load_cluster(manifest)
    if cluster.nodes and cluster.node(node) is None:
        known = ", ".join(n.name for n in cluster.nodes)
        raise UnknownNameError(f"there is no node {node} in {manifest}", "", f"Nodes: {known}")
    settings = read_config(config)
    if cluster_cidr is not None or config is None:
        settings = dataclasses.replace(settings, cluster_cidr=cluster_cidr or DEFAULT_CLUSTER_CIDR)
    for program in compile_mode(mode, cluster, settings, node):
        typer.echo(render(program), nl=False)
    return ExitCode.OK


def read_config(path: Path | None) -> ProxyConfig:
    """Read a KubeProxyConfiguration, or return kube-proxy's defaults."""
    if path is None:
        return ProxyConfig()
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path} cannot be read", str(problem), "Name a KubeProxyConfiguration file") from None
    return parse_config(text, str(path))


def render(program: IptablesProgram) -> str:
    """Return one family's commands: a jump a line, then the text that `iptables-restore` is given."""
    tool = "iptables" if program.family == 4 else "ip6tables"
    lines = [f"# IPv{program.family}"]
    for jump in program.jumps:
        argv = [tool, "-w", "5", "-I", jump.source, "-t", jump.table, *jump.arguments, "-j", jump.target]
        lines.append(shlex.join(argv))
    lines.append(f"{tool}-restore -w 5 --noflush --counters <<'EOF'")
    return "\n".join(lines) + "\n" + program.text() + "EOF\n"
