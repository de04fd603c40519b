"""`kplab trace`: send, watch, tell, write."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kplab.cli.output import check_output, put
from kplab.cli.report import ExitCode, report
from kplab.errors import ExpressionError, UsageError
from kplab.model.expression import parse_expression
from kplab.model.journey import Journey
from kplab.model.packet import ClientSpec, SendSpec
from kplab.modes.registry import compiler
from kplab.session.base import LabPlan, Session
from kplab.trace.file import write_trace
from kplab.trace.journey import tell
from kplab.trace.pcapng import pcapng
from kplab.trace.recording import Backend, Facts, Recording
from kplab.trace.text import journey_lines


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What was asked on the command line."""

    what: str
    mode: str
    backend: Backend
    manifest: Path | None
    sender: str
    client: str | None
    form: str
    output: Path | None
    unfold: bool
    lab: str
    sandbox: str = "auto"


def trace(options: TraceOptions) -> ExitCode:
    """Run the command."""
    compiler(options.mode)  # a mode that does not exist is told before anything is built
    try:
        spec = read_spec(options.what, options.client)
    except ExpressionError as error:
        return report(error, options.what)
    if options.form in ("pcapng", "kptrace") and options.output is None and sys.stdout.isatty():
        raise UsageError(f"{options.form} is not text for a terminal", "", "Name a file: -o trace." + options.form)
    check_output(options.output)
    session = _session(options)
    try:
        recording = session.send(spec, options.sender)
    finally:
        session.close()
    return _write(options, recording, tell(recording))


def read_spec(what: str, client: str | None) -> SendSpec:
    """Tell a packet expression from a URL or an address for a real client.

    Raises:
        ExpressionError: it is taken for an expression, and cannot be read.
        UsageError: the client and what it shall reach do not go together.
    """
    is_url = bool(re.match(r"https?://", what))
    if client in (None, "scapy"):
        if not is_url:
            return parse_expression(what)
        if client == "scapy":
            raise UsageError("scapy sends single packets, not URLs", what, "Leave --client out, or take --client curl")
        client = "curl"
    if what.lstrip().startswith(("IP(", "IPv6(")):
        raise UsageError(
            f"--client {client} takes a {'URL' if client == 'curl' else 'host:port'}",
            what,
            "An expression is sent by --client scapy, which is the default",
        )
    return _client_spec(what, client)


def _client_spec(what: str, client: str | None) -> ClientSpec:
    match client:
        case "curl":
            return ClientSpec(client="curl", target=what if "://" in what else f"http://{what}")
        case "tcp" | "udp":
            target = re.sub(r"^\w+://", "", what).rstrip("/")
            if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\s]+):\d{1,5}", target):
                raise UsageError(f"--client {client} needs an address and a port", what, "Like 10.96.0.42:80")
            return ClientSpec(client=client, target=target)
        case _:
            raise UsageError(f"there is no client {client}", "", "Clients: scapy, curl, tcp, udp")


def _session(options: TraceOptions) -> Session:
    """Take the kept lab if it fits, else build one for this packet."""
    from kplab.cli.lab import kept_lab, new_lab, read_manifest

    manifest = read_manifest(options.manifest)
    kept = kept_lab(options.lab)
    if kept is not None:
        if options.manifest is None and _fits(kept.facts, options):
            return kept
        kept.close()
    return new_lab(LabPlan(manifest=manifest, mode=options.mode, backend=options.backend, sandbox=options.sandbox))


def _fits(facts: Facts, options: TraceOptions) -> bool:
    """Tell whether a kept lab is what was asked for."""
    same = (facts.mode, facts.backend) == (options.mode, options.backend)
    return same and (options.sandbox == "auto" or facts.sandbox.startswith(options.sandbox))


def _write(options: TraceOptions, recording: Recording, journey: Journey) -> ExitCode:
    match options.form:
        case "kptrace":
            write_trace(recording, options.output or Path("/dev/stdout"))
        case "pcapng":
            put(options.output, pcapng(recording, journey))
        case "json":
            put(options.output, msgspec.json.format(msgspec.json.encode(journey), indent=2) + b"\n")
        case _:
            lines = "\n".join(journey_lines(journey, unfold=options.unfold)) + "\n"
            put(options.output, lines.encode())
    return ExitCode.FAILED if journey.disagreements else ExitCode.OK
