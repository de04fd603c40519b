"""`kplab lab …`, and what other commands need of labs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kplab.cli.report import ExitCode
from kplab.errors import UsageError
from kplab.session.base import LabPlan, Session, Step
from kplab.trace.both_backends import both_backends
from kplab.trace.recording import Backend

if TYPE_CHECKING:
    from kplab.session.live import LiveSession


def default_manifest() -> Path:
    """Return the file of the cluster that comes with the lab."""
    from kplab.course.load import lessons_folder

    return lessons_folder() / "cluster.yaml"


def read_manifest(path: Path | None) -> str:
    """Read and check a manifest, so that a mistake is named before anything is built.

    Raises:
        ManifestError: it cannot be read; names file, line and field.
    """
    from kplab.model.loader import load_cluster

    chosen = path or default_manifest()
    load_cluster(chosen)
    return chosen.read_text()


def progress(step: Step) -> None:
    """Print a finished step of building on standard error."""
    if step.done and sys.stderr.isatty():
        typer.echo(f"  {step.seconds:5.2f} s  {step.name}", err=True)


def new_lab(plan: LabPlan) -> Session:
    """Build a lab for one command."""
    from kplab.session.live import start_lab

    return start_lab(plan, progress)


def kept_lab(name: str) -> LiveSession | None:
    """Connect to a kept lab, or return None when it is not up."""
    from kplab.session.labs import connect_lab, list_labs

    return connect_lab(name) if any(lab.name == name for lab in list_labs()) else None


def require_lab(name: str) -> LiveSession:
    """Connect to a kept lab.

    Raises:
        UsageError: it is not up.
    """
    lab = kept_lab(name)
    if lab is None:
        raise UsageError(f"there is no lab {name!r}", "", "Build one: kplab lab up")
    return lab


def up(name: str, *, manifest: Path | None, mode: str, backend: Backend, sandbox: str = "auto") -> ExitCode:
    """Build a lab and keep it."""
    from kplab.session.labs import start_kept_lab

    plan = LabPlan(manifest=read_manifest(manifest), mode=mode, backend=backend, sandbox=sandbox)
    session = start_kept_lab(name, plan, progress)
    names = " ".join(ns.name for ns in session.topology.namespaces)
    typer.echo(f"lab {name} is up: {names}")
    typer.echo('next: kplab trace \'IP(dst="10.96.0.42")/TCP(dport=80, flags="S")\', kplab lab shell node-a')
    session.close()
    return ExitCode.OK


def down(name: str) -> ExitCode:
    """End a kept lab."""
    from kplab.session.labs import stop_lab

    stop_lab(name)
    typer.echo(f"lab {name} is down; nothing of it is left")
    return ExitCode.OK


def status() -> ExitCode:
    """List the labs that are up."""
    from kplab.session.labs import connect_lab, list_labs

    labs = list_labs()
    if not labs:
        typer.echo("no lab is up; build one: kplab lab up")
    for lab in labs:
        session = connect_lab(lab.name)
        state = session.status()
        facts = session.facts
        typer.echo(
            f"lab {lab.name}: mode {facts.mode}, iptables-{facts.backend}, kernel {facts.kernel}, {facts.sandbox}"
        )
        for ns in session.topology.namespaces:
            typer.echo(f"  {ns.name:<16} {ns.role:<14} {' '.join(dict.fromkeys(ns.addresses()))}")
        for process in state.processes:
            typer.echo(f"  {process.name:<31} pid {process.pid:<6} {'running' if process.alive else 'GONE'}")
        nodes = [session.read_node(ns.name) for ns in session.topology.namespaces if ns.role == "node"]
        for finding in both_backends(nodes):
            typer.echo(f"  FOUND: {finding}")
        session.close()
    return ExitCode.OK


def execute(name: str, namespace: str, argv: tuple[str, ...]) -> ExitCode | int:
    """Run a program in a namespace of a kept lab; its status is ours."""
    session = require_lab(name)
    try:
        done = session.execute(namespace, argv, "" if sys.stdin.isatty() else sys.stdin.read())
    finally:
        session.close()
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.status


def shell(name: str, namespace: str) -> ExitCode | int:
    """Open an interactive shell in a namespace of a kept lab."""
    from kplab.session.terminal import relay_shell

    session = require_lab(name)
    try:
        return relay_shell(session, namespace)
    finally:
        session.close()
