"""`kplab compare`: the same packet through every mode that can run here, a lab each, side by side."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from kplab.cli.output import check_output, put
from kplab.cli.report import ExitCode, report
from kplab.cli.trace import read_spec
from kplab.errors import ExpressionError, KplabError, UsageError
from kplab.model.packet import SendSpec
from kplab.model.synthetic import MOST_SERVICES
from kplab.modes.registry import known_modes
from kplab.session.base import LabPlan, Report, Session, Step
from kplab.session.comparing import sized_cluster, timed_column
from kplab.session.runs import Doing, Runs
from kplab.trace.compare import Column, Comparison, LeftOut, Point, name_of
from kplab.trace.compare_svg import comparison_svg
from kplab.trace.compare_text import comparison_lines
from kplab.trace.recording import Backend

if TYPE_CHECKING:
    from kplab.tui.compare_app import Hear

USUAL_SIZES = (10, 100, 1000, 4000)
LIMIT = 120.0
"""Seconds that one mode may take, at one size: a guest whose processor is emulated needs about half of it."""
_BACKENDS: dict[str, Backend] = {"iptables-nft": "nft", "iptables-legacy": "legacy"}


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What was asked on the command line."""

    what: str
    columns: tuple[tuple[str, Backend], ...]
    """Mode and back-end of each column."""
    manifest: Path | None
    sender: str
    client: str | None
    form: str
    output: Path | None
    rounds: int
    sizes: tuple[int, ...]
    limit: float = LIMIT
    sandbox: str = "auto"


def read_options(
    what: str, *, modes: str, backends: str, manifest: Path | None, sender: str, client: str | None, form: str,
    output: Path | None, rounds: int, sizes: str, limit: float = LIMIT, sandbox: str = "auto",
) -> CompareOptions:  # fmt: skip
    """Read what the command line says in lists; a chart without sizes is of the usual ones.

    Raises:
        UsageError: a mode, a back-end or a size is not one.
    """
    numbers = [int(each) if each.isascii() and each.isdigit() else 0 for each in _parts(sizes)]
    if not all(0 < number <= MOST_SERVICES for number in numbers):
        raise UsageError(f"--sizes {sizes}", "these are not numbers of Services", f"Like 10,100,{MOST_SERVICES}")
    return CompareOptions(
        what, _columns(_parts(modes), _read_backends(backends)), manifest, sender, client, form, output, rounds,
        tuple(numbers) or (USUAL_SIZES if form == "svg" else ()), limit, sandbox,
    )  # fmt: skip


def _read_backends(text: str) -> tuple[Backend, ...]:
    chosen: list[Backend] = []
    for name in _parts(text):
        if name not in ("nft", "legacy"):
            raise UsageError(f"there is no back-end {name!r} of iptables", "", "Back-ends: nft, legacy")
        chosen.append("legacy" if name == "legacy" else "nft")
    return tuple(dict.fromkeys(chosen)) or ("nft",)


def _columns(modes: tuple[str, ...], backends: tuple[Backend, ...]) -> tuple[tuple[str, Backend], ...]:
    """Return mode and back-end of each column, each once; of the modes, only iptables is asked of both back-ends."""
    found: dict[tuple[str, Backend], None] = {}
    for name in modes or known_modes():
        if name in _BACKENDS:
            found["iptables", _BACKENDS[name]] = None
        elif name not in known_modes():
            raise UsageError(
                f"there is no proxy mode {name!r}", "", f"Modes: {', '.join((*known_modes(), *_BACKENDS))}"
            )
        else:
            found |= {(name, backend): None for backend in (backends if name == "iptables" else backends[:1])}
    return tuple(found)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for each in text.split(",") if (part := each.strip()))


@dataclass(slots=True)
class _Found:
    """What was compared so far."""

    columns: list[Column] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    sizes: list[Point] = field(default_factory=list)
    interrupted: bool = False


def compare(options: CompareOptions) -> ExitCode:
    """Run the command. Ctrl-C ends the lab that stands, and what was done until then is written."""
    asked = _asked(options)
    if isinstance(asked, ExitCode):
        return asked
    spec, manifest = asked
    check_output(options.output)
    found = _Found()
    runs = Runs(options.limit, _start(say=True))
    try:
        _compare_modes(options, spec, manifest, runs, found)
        _compare_sizes(options, runs, found)
    except KeyboardInterrupt:
        runs.stop()
        found.interrupted = True
    comparison = Comparison(
        packet=options.what,
        sender=options.sender,
        columns=tuple(found.columns),
        left_out=tuple(found.left_out),
        sizes=tuple(found.sizes),
        interrupted=found.interrupted,
    )
    put(options.output, _written(options.form, comparison))
    if found.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if found.columns else ExitCode.FAILED


def show(options: CompareOptions) -> int:
    """Show the modes on the screen, two at a time side by side; returns the exit status.

    Raises:
        UsageError: there are fewer than two, something was asked that a screen has not, or there is no terminal.
    """
    if options.output is not None or options.form != "text" or options.sizes:
        raise UsageError("--screen goes without --format, -o and --sizes", "", "Leave out the one or the others")
    from kplab.scene.side_by_side import Story
    from kplab.tui.compare_app import CompareApp, Missing, run_compare

    asked = _asked(options)
    if isinstance(asked, ExitCode):
        return asked
    spec, manifest = asked
    if len(options.columns) < 2:
        raise UsageError("the screen shows two modes side by side", "only one was named", "--modes iptables,nftables")
    runs = Runs(options.limit, _start(say=False))

    def work(hear: Hear) -> None:
        for mode, backend in options.columns:
            if runs.stopped:
                return
            name = name_of(mode, backend)
            plan = LabPlan(manifest=manifest, mode=mode, backend=backend, sandbox=options.sandbox)
            try:
                with runs.lab(plan, spec, options.sender, _teller(hear, name)) as ran:
                    hear(Story(name, ran.recording.facts.sandbox, ran.journey, ran.recording.topology))
            except KplabError as error:
                hear(Missing(name, " ".join(str(error).split())))

    names = [name_of(mode, backend) for mode, backend in options.columns]
    heading = f"kplab compare · {options.what} from {options.sender}"
    return run_compare(CompareApp(work, names, heading), runs.stop)


def _teller(hear: Hear, name: str) -> Doing:
    from kplab.tui.compare_app import Waiting

    return lambda text: hear(Waiting(name, text))


def _asked(options: CompareOptions) -> tuple[SendSpec, str] | ExitCode:
    """Return the packet and the cluster, both read before anything is built."""
    from kplab.cli.lab import read_manifest

    try:
        spec = read_spec(options.what, options.client)
    except ExpressionError as error:
        return report(error, options.what)
    return spec, read_manifest(options.manifest)


def _start(*, say: bool) -> Callable[[LabPlan, Report], Session]:
    """Return what builds a lab; with `say` its steps are printed."""
    from kplab.cli.lab import progress
    from kplab.session.live import start_lab

    def start(plan: LabPlan, told: Report) -> Session:
        def both(step: Step) -> None:
            told(step)
            if say:
                progress(step)

        return start_lab(plan, both)

    return start


def _written(form: str, comparison: Comparison) -> bytes:
    match form:
        case "json":
            return msgspec.json.format(msgspec.json.encode(comparison), indent=2) + b"\n"
        case "svg":
            return comparison_svg(comparison).encode()
        case _:
            width = shutil.get_terminal_size((80, 24)).columns
            return ("\n".join(comparison_lines(comparison, max(width, 60))) + "\n").encode()


def _compare_modes(options: CompareOptions, spec: SendSpec, manifest: str, runs: Runs, found: _Found) -> None:
    for mode, backend in options.columns:
        plan = LabPlan(manifest=manifest, mode=mode, backend=backend, sandbox=options.sandbox)
        _say(f"{name_of(mode, backend)}: building a lab")
        one = _column(plan, spec, options, runs)
        if isinstance(one, Column):
            found.columns.append(one)
        else:
            found.left_out.append(LeftOut(name_of(mode, backend), str(one)))


def _compare_sizes(options: CompareOptions, runs: Runs, found: _Found) -> None:
    """Ask the last Service of ever larger clusters; a mode that failed at one size is not asked of a larger one."""
    failed: dict[str, int] = {}
    for services in options.sizes:
        manifest, spec = sized_cluster(services)
        for mode, backend in [(each.mode, each.backend) for each in found.columns]:
            name = name_of(mode, backend)
            title = f"{name} with {services:,} Services"
            if name in failed:
                found.left_out.append(LeftOut(title, f"it was not done with {failed[name]:,} Services"))
                continue
            _say(title)
            plan = LabPlan(manifest=manifest, mode=mode, backend=_BACKENDS.get(name, "nft"), sandbox=options.sandbox)
            one = _column(plan, spec, options, runs)
            if isinstance(one, Column):
                found.sizes.append(Point(services=services, column=one))
                continue
            found.left_out.append(LeftOut(title, str(one)))
            failed[name] = services


def _column(plan: LabPlan, spec: SendSpec, options: CompareOptions, runs: Runs) -> Column | KplabError:
    """Build a lab, send, tell, time; return why not, for a mode that cannot run here."""
    try:
        with runs.lab(plan, spec, options.sender) as ran:
            return timed_column(ran, options.sender, options.rounds)
    except KplabError as error:
        return error


def _say(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(text, err=True)
