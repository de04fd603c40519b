"""The commands and their options. What a command does is in the module that it imports."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kplab.trace.recording import Backend

app = typer.Typer(
    name="kplab",
    help="See what kube-proxy writes, and what the kernel does with it, packet by packet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: kplab start lesson-3",
)
lab = typer.Typer(help="A lab that stays up between commands.", no_args_is_help=True)
lesson = typer.Typer(help="Tools for those who write lessons.", no_args_is_help=True)
app.add_typer(lab, name="lab")
app.add_typer(lesson, name="lesson")


class BackendName(StrEnum):
    """Which iptables writes the rules."""

    NFT = "nft"
    LEGACY = "legacy"


class ClientName(StrEnum):
    """What sends the packet."""

    SCAPY = "scapy"
    CURL = "curl"
    TCP = "tcp"
    UDP = "udp"


class FormatName(StrEnum):
    """How a journey is written."""

    TEXT = "text"
    JSON = "json"
    PCAPNG = "pcapng"
    KPTRACE = "kptrace"


class SandboxName(StrEnum):
    """What a lab runs in."""

    AUTO = "auto"
    NAMESPACES = "namespaces"
    MICROVM = "microvm"
    CONTAINER = "container"


class StageName(StrEnum):
    """An image of the Containerfile."""

    LAB = "lab"
    IPVS = "ipvs"
    JUPYTER = "jupyter"


class TableName(StrEnum):
    """How a comparison is written."""

    TEXT = "text"
    JSON = "json"
    SVG = "svg"


Mode = Annotated[str, typer.Option("--mode", help="The proxy mode.", metavar="MODE")]
BackendOption = Annotated[BackendName, typer.Option("--backend", help="iptables over nf_tables, or the legacy one.")]
Manifest = Annotated[
    Path | None, typer.Option("--manifest", help="Kubernetes YAML: the cluster, in place of the lab's own.")
]
Sandbox = Annotated[
    SandboxName,
    typer.Option("--sandbox", help="This kernel's namespaces, a guest with a kernel of its own, or a container."),
]
LabName = Annotated[str, typer.Option("--name", help="Which lab, when there are several.")]


def _backend(name: BackendName) -> Backend:
    return "legacy" if name is BackendName.LEGACY else "nft"


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """See what kube-proxy writes, and what the kernel does with it, packet by packet."""
    if version:
        from kplab import __version__

        typer.echo(f"kplab {__version__}")
        raise typer.Exit


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="lesson-3, 3 or packet-path.", metavar="LESSON")],
    plain: Annotated[bool, typer.Option("--plain", help="Line by line, for pipes and screen readers.")] = False,
    backend: Annotated[
        BackendName | None, typer.Option("--backend", help="iptables over nf_tables, or the legacy one.")
    ] = None,
    sandbox: Sandbox = SandboxName.AUTO,
) -> None:
    """Start a lesson."""
    from kplab.cli import lessons

    chosen = _backend(backend) if backend else None
    raise typer.Exit(lessons.start(name, plain=plain, backend=chosen, sandbox=sandbox.value))


@app.command()
def play(
    manifest: Manifest = None,
    mode: Mode = "iptables",
    backend: BackendOption = BackendName.NFT,
    sandbox: Sandbox = SandboxName.AUTO,
) -> None:
    """Play on the screen with a lab of your own, without a lesson."""
    from kplab.cli import play as command

    raise typer.Exit(command.play(manifest, mode=mode, backend=_backend(backend), sandbox=sandbox.value))


@app.command()
def trace(
    what: Annotated[str, typer.Argument(help="A packet expression, a URL, or host:port.", metavar="EXPR-or-URL")],
    mode: Mode = "iptables",
    backend: BackendOption = BackendName.NFT,
    manifest: Manifest = None,
    sender: Annotated[str, typer.Option("--from", help="A pod, a node, or outside.")] = "client",
    client: Annotated[ClientName | None, typer.Option("--client", help="What sends it.", show_default="scapy")] = None,
    form: Annotated[FormatName, typer.Option("--format", help="How the journey is written.")] = FormatName.TEXT,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file.", metavar="FILE")] = None,
    unfold: Annotated[bool, typer.Option("--all", help="Show every rule that was tried, none folded.")] = False,
    name: LabName = "default",
    sandbox: Sandbox = SandboxName.AUTO,
) -> None:
    """Send one packet, or one real connection, and show every step that the kernel took."""
    from kplab.cli import trace as command

    options = command.TraceOptions(
        what=what,
        mode=mode,
        backend=_backend(backend),
        manifest=manifest,
        sender=sender,
        client=client.value if client else None,
        form=form.value,
        output=output,
        unfold=unfold,
        lab=name,
        sandbox=sandbox.value,
    )
    raise typer.Exit(command.trace(options))


@app.command()
def compare(
    what: Annotated[str, typer.Argument(help="A packet expression, a URL, or host:port.", metavar="EXPR-or-URL")],
    modes: Annotated[str, typer.Option("--modes", help="iptables,userspace,…; all, if none is named.")] = "",
    backends: Annotated[str, typer.Option("--backends", help="Of iptables mode.", metavar="nft,legacy")] = "nft,legacy",
    manifest: Manifest = None,
    sender: Annotated[str, typer.Option("--from", help="A pod, a node, or outside.")] = "client",
    client: Annotated[ClientName | None, typer.Option("--client", help="What sends it.", show_default="scapy")] = None,
    form: Annotated[TableName, typer.Option("--format", help="How it is written.")] = TableName.TEXT,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file.", metavar="FILE")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=2, max=10000, help="Connections that are timed.")] = 100,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Also in clusters of so many Services.", metavar="10,100,1000,4000")
    ] = "",
    limit: Annotated[float, typer.Option("--limit", min=1, help="Seconds that one mode may take.")] = 120,
    sandbox: Sandbox = SandboxName.AUTO,
    screen: Annotated[bool, typer.Option("--screen", help="Two modes side by side, hop for hop.")] = False,
) -> None:
    """Send the same packet through every mode that can run here, and show what each did, side by side."""
    from kplab.cli import compare as command

    options = command.read_options(
        what, modes=modes, backends=backends, manifest=manifest, sender=sender,
        client=client.value if client else None, form=form.value, output=output, rounds=rounds, sizes=sizes,
        limit=limit, sandbox=sandbox.value,
    )  # fmt: skip
    raise typer.Exit(command.show(options) if screen else command.compare(options))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A .kptrace file.", metavar="FILE")],
    plain: Annotated[bool, typer.Option("--plain", help="Line by line.")] = False,
    unfold: Annotated[bool, typer.Option("--all", help="With --plain: none folded.")] = False,
) -> None:
    """Play a recorded journey again; needs no root and no Linux."""
    from kplab.cli import replay as command

    raise typer.Exit(command.replay(file, plain=plain, unfold=unfold))


@app.command()
def rules(
    manifest: Annotated[Path, typer.Argument(help="Kubernetes YAML.", metavar="MANIFEST")],
    mode: Mode = "iptables",
    node: Annotated[str, typer.Option("--node", help="The node whose rules are written.")] = "node-a",
    config: Annotated[Path | None, typer.Option("--config", help="A KubeProxyConfiguration file.")] = None,
    cluster_cidr: Annotated[str | None, typer.Option("--cluster-cidr", help="As kube-proxy's flag.")] = None,
) -> None:
    """Print what kube-proxy would write on a node; nothing is applied, nothing needs Linux."""
    from kplab.cli import rules as command

    raise typer.Exit(command.rules(manifest, mode=mode, node=node, config=config, cluster_cidr=cluster_cidr))


@app.command()
def lessons() -> None:
    """List the lessons."""
    from kplab.cli import lessons as command

    raise typer.Exit(command.list_all())


@app.command()
def notebook(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where your copies are.", show_default="~/kplab-notebooks")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="On loopback.", show_default="8888")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
) -> None:
    """Open the notebooks in JupyterLab: your own copies, which are never written over."""
    from kplab.cli import notebook as command

    command.notebook(folder, port=port, browser=browser)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For a program to read.")] = False,
    build: Annotated[bool, typer.Option("--build", help="Build, or pull, the image of --sandbox container.")] = False,
    stage: Annotated[StageName, typer.Option("--stage", help="Which image: for ipvs mode, or with JupyterLab.")] = (
        StageName.LAB
    ),
) -> None:
    """Say what this machine can run, and the command that mends what it cannot."""
    if build:
        from kplab.cli import image

        raise typer.Exit(image.build(stage.value))
    from kplab.cli import doctor as command

    raise typer.Exit(command.doctor(as_json=as_json))


@lesson.command("check")
def lesson_check(
    names: Annotated[list[str] | None, typer.Argument(help="All lessons, if none is named.", metavar="[NAME]…")] = None,
    live: Annotated[bool, typer.Option("--live", help="On a real lab: start fails, solution passes.")] = False,
) -> None:
    """Check lessons as their author must: the start fails, the solution passes, wrong answers fail."""
    from kplab.cli import lessons as command

    raise typer.Exit(command.check(names or [], live=live))


@lab.command("up")
def lab_up(
    manifest: Manifest = None,
    mode: Mode = "iptables",
    backend: BackendOption = BackendName.NFT,
    name: LabName = "default",
    sandbox: Sandbox = SandboxName.AUTO,
) -> None:
    """Build a lab and keep it."""
    from kplab.cli import lab as command

    raise typer.Exit(command.up(name, manifest=manifest, mode=mode, backend=_backend(backend), sandbox=sandbox.value))


@lab.command("down")
def lab_down(name: LabName = "default") -> None:
    """End a kept lab; nothing of it stays."""
    from kplab.cli import lab as command

    raise typer.Exit(command.down(name))


@lab.command("status")
def lab_status() -> None:
    """List the labs that are up, their pods and processes."""
    from kplab.cli import lab as command

    raise typer.Exit(command.status())


@lab.command("shell")
def lab_shell(
    pod: Annotated[str, typer.Argument(help="A pod, a node, or outside.", metavar="POD")], name: LabName = "default"
) -> None:
    """Open a shell in a namespace of the lab."""
    from kplab.cli import lab as command

    raise typer.Exit(command.shell(name, pod))


@lab.command("exec", context_settings={"ignore_unknown_options": True})
def lab_exec(
    pod: Annotated[str, typer.Argument(help="A pod, a node, or outside.", metavar="POD")],
    argv: Annotated[list[str], typer.Argument(help="Behind --.", metavar="-- CMD…")],
    name: LabName = "default",
) -> None:
    """Run a program in a namespace of the lab."""
    from kplab.cli import lab as command

    raise typer.Exit(command.execute(name, pod, tuple(argv)))
