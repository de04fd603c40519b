"""`kplab compare`: the same packet through every mode that can run here, a lab each, side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import typer

from kplab.cli.output import check_output, put
from kplab.cli.report import ExitCode, report
from kplab.cli.trace import read_spec
from kplab.errors import ExpressionError, KplabError, UsageError
from kplab.model.journey import Journey
from kplab.model.packet import ClientSpec, SendSpec
from kplab.model.synthetic import MOST_SERVICES, large_cluster, large_manifest
from kplab.modes.registry import known_modes
from kplab.session.base import LabPlan, Session
from kplab.trace.compare import Column, Comparison, LeftOut, Point, Timing, column, name_of, timing
from kplab.trace.compare_svg import comparison_svg
from kplab.trace.compare_text import comparison_lines
from kplab.trace.journey import tell
from kplab.trace.recording import Backend

ENDPOINTS = 1
"""Of each Service, in a cluster that is made up for its size: on the client's own node, so that no draw decides how far
the packet goes, and only the number of Services differs."""
USUAL_SIZES = (10, 100, 1000)


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What was asked on the command line."""

    what: str
    modes: tuple[str, ...]
    """Empty: all that there are."""
    backends: tuple[Backend, ...]
    manifest: Path | None
    sender: str
    client: str | None
    form: str
    output: Path | None
    rounds: int
    sizes: tuple[int, ...]


def read_options(
    what: str, *, modes: str, backends: str, manifest: Path | None, sender: str, client: str | None, form: str,
    output: Path | None, rounds: int, sizes: str,
) -> CompareOptions:  # fmt: skip
    """Read what the command line says in lists; a chart without sizes is of the usual ones.

    Raises:
        UsageError: a back-end or a size is not one.
    """
    chosen: list[Backend] = []
    for name in _parts(backends):
        if name not in ("nft", "legacy"):
            raise UsageError(f"there is no back-end {name!r} of iptables", "", "Back-ends: nft, legacy")
        chosen.append("legacy" if name == "legacy" else "nft")
    numbers = [int(each) if each.isascii() and each.isdigit() else 0 for each in _parts(sizes)]
    if not all(0 < number <= MOST_SERVICES for number in numbers):
        raise UsageError(f"--sizes {sizes}", "these are not numbers of Services", f"Like 10,100,{MOST_SERVICES}")
    return CompareOptions(
        what, _parts(modes), tuple(dict.fromkeys(chosen)) or ("nft",), manifest, sender, client, form, output, rounds,
        tuple(numbers) or (USUAL_SIZES if form == "svg" else ()),
    )  # fmt: skip


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for each in text.split(",") if (part := each.strip()))


def compare(options: CompareOptions) -> ExitCode:
    """Run the command."""
    from kplab.cli.lab import read_manifest

    try:
        spec = read_spec(options.what, options.client)
    except ExpressionError as error:
        return report(error, options.what)
    _require_known(options.modes)
    check_output(options.output)
    manifest = read_manifest(options.manifest)
    columns: list[Column] = []
    left_out: list[LeftOut] = []
    for plan in _plans(options, manifest):
        found = _column(plan, spec, options)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            columns.append(found)
    sizes: list[Point] = []
    for services, found in _sizes(options, [(each.mode, each.backend) for each in columns]):
        if isinstance(found, LeftOut):
            left_out.append(LeftOut(f"{found.name} with {services} Services", found.reason))
        else:
            sizes.append(Point(services=services, column=found))
    comparison = Comparison(
        packet=options.what,
        sender=options.sender,
        columns=tuple(columns),
        left_out=tuple(left_out),
        sizes=tuple(sizes),
    )
    put(options.output, _written(options.form, comparison))
    return ExitCode.OK if columns else ExitCode.FAILED


def _written(form: str, comparison: Comparison) -> bytes:
    match form:
        case "json":
            return msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"
        case "svg":
            return comparison_svg(comparison).encode()
        case _:
            return ("\n".join(comparison_lines(comparison)) + "\n").encode()


def _require_known(modes: Iterable[str]) -> None:
    for mode in modes:
        if mode not in known_modes():
            raise UsageError(f"there is no proxy mode {mode!r}", "", f"Modes: {', '.join(known_modes())}")


def _plans(options: CompareOptions, manifest: str) -> Iterator[LabPlan]:
    """Yield a lab for each column; of the modes, only iptables is asked of both back-ends."""
    for mode in options.modes or known_modes():
        for backend in options.backends if mode == "iptables" else options.backends[:1]:
            yield LabPlan(manifest=manifest, mode=mode, backend=backend)


def _column(plan: LabPlan, spec: SendSpec, options: CompareOptions) -> Column | LeftOut:
    """Build a lab, send, tell, time; a mode that cannot run here is left out with what was said."""
    from kplab.cli.lab import new_lab

    name = name_of(plan.mode, plan.backend)
    _say(f"{name}: building a lab")
    try:
        session = new_lab(plan)
    except KplabError as error:
        return LeftOut(name, str(error))
    try:
        recording = session.send(spec, options.sender)
        journey = tell(recording)
        time, why = _timed(session, journey, options)
        return column(recording, journey, time, why)
    except KplabError as error:
        return LeftOut(name, str(error))
    finally:
        session.close()


def _timed(session: Session, journey: Journey, options: CompareOptions) -> tuple[Timing | None, str]:
    """Time connections to what was asked, with the lab's own tracing taken away; return why not, where it cannot be."""
    asked = journey.hops[0].before if journey.hops else None
    if asked is None or asked.proto != "tcp":
        return None, "only TCP is timed: it is a connection's first packet"
    for node in [ns.name for ns in session.topology.namespaces if ns.role == "node"]:
        session.execute(node, ("nft", "delete", "table", "inet", "kplab-trace"))
    host, _, port = asked.dst.rpartition(":")
    pods = [ns.name for ns in session.topology.namespaces if ns.role in ("pod", "control-plane")]
    done = session.execute(
        options.sender,
        (sys.executable, "-P", "-m", "kplab.lab.first_packet", host.strip("[]"), port, str(options.rounds), *pods),
    )
    if done.status != 0:
        return None, f"the measuring program failed: {done.stderr.strip()[-300:]}"
    told = json.loads(done.stdout)
    time = timing(told["nanoseconds"], told["missed"])
    return time, "" if time else f"in {told['missed']} of {options.rounds} rounds no first packet came into a pod"


def _sizes(options: CompareOptions, modes: list[tuple[str, str]]) -> Iterator[tuple[int, Column | LeftOut]]:
    """Yield what a connection to the last Service costs in ever larger clusters."""
    for services in options.sizes:
        address = large_cluster(services, ENDPOINTS).services[-1].cluster_ips[0]
        spec = ClientSpec(client="curl", target=f"http://{address}")
        manifest = large_manifest(services, ENDPOINTS)
        for mode, backend in modes:
            plan = LabPlan(manifest=manifest, mode=mode, backend="legacy" if backend == "legacy" else "nft")
            _say(f"{services} Services")
            yield services, _column(plan, spec, options)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(text, err=True)
