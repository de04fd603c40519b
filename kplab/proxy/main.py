"""`kplab-proxy`: the kube-proxy of a lab, one process a node."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kplab.errors import KplabError, UsageError
from kplab.lab.run import Runner, SystemRunner
from kplab.proxy.assemble import assemble
from kplab.proxy.guard import refuse_host_namespace
from kplab.proxy.leftovers import FAMILIES, clean_up_all
from kplab.proxy.loop import Loop, Parts
from kplab.proxy.options import Options, parse_options
from kplab.proxy.report import Reporter
from kplab.proxy.status import Status
from kplab.proxy.tools import Tools, choose_backend

EXIT_FAILED, EXIT_USAGE = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run kplab-proxy; return its exit status: 0 done, 1 failed, 2 flags or files that cannot be used."""
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv)
        refuse_host_namespace()
        return run(options, SystemRunner())
    except KplabError as error:
        sys.stderr.write(f"kplab-proxy: {error}\n")
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED


def run(options: Options, runner: Runner) -> int:
    """Do what `options` ask for in this process's own network namespace, until SIGTERM or SIGINT.

    Raises:
        UsageError: the manifest cannot be used.
        LabError: iptables or nft is missing or cannot be used.

    """
    if options.cleanup:
        clean_up_all(runner, options.backend)
        return 0
    # Hundreds of thousands of tuples without a cycle among them: looking for cycles while they are made takes as
    # long as making them. It waits until there is nothing to do.
    gc.disable()
    with _stop_signals() as stop_fd:
        if options.config.mode == "userspace":
            return _run_userspace(options, _tools(options, runner)[0], stop_fd)
        if options.config.mode == "ebpf":
            return _run_ebpf(options, stop_fd)
        status = Status(options.sync_period, time.time, options.config.mode)
        parts = _parts(options, runner, status)
        loop = Loop(parts)
        failed = any(outcome.error for outcome in loop.first())
        if options.once:
            return EXIT_FAILED if failed else 0
        serve(options, runner, status, parts.reporter)
        loop.run(stop_fd, at_rest=gc.collect)
    return 0


def _parts(options: Options, runner: Runner, status: Status) -> Parts:
    """Put the mode's loop together; what only another mode needs is not loaded."""
    if options.config.mode == "nftables":
        from kplab.proxy.nft_assemble import assemble_nft

        return assemble_nft(options, runner, time.monotonic, [status])
    if options.config.mode == "ipvs":
        from kplab.proxy.ipvs_assemble import assemble_ipvs

        return assemble_ipvs(options, _tools(options, runner), time.monotonic, [status])
    return assemble(options, _tools(options, runner), time.monotonic, [status])


def _tools(options: Options, runner: Runner) -> list[Tools]:
    backend = options.backend or choose_backend(runner)
    return [Tools(runner, backend, family) for family in FAMILIES]


def _run_userspace(options: Options, tools: Tools, stop_fd: int) -> int:
    """Run userspace mode; imported here, for no other mode needs asyncio."""
    from kplab.proxy.userspace_run import run_userspace

    gc.enable()  # this one works for as long as it lives, and makes cycles
    return run_userspace(options, tools, stop_fd)


def _run_ebpf(options: Options, stop_fd: int) -> int:
    """Run eBPF mode: it writes maps, and no rule."""
    from kplab.proxy.ebpf_serve import serve_ebpf

    done = serve_ebpf(options.node, options.manifest, Reporter(options.report_fd, options.verbosity), stop_fd,
                      once=options.once)  # fmt: skip
    return 0 if done or not options.once else EXIT_FAILED


def serve(options: Options, runner: Runner, status: Status, reporter: Reporter) -> None:
    """Start the servers; imported here, after the first sync, for that is what others wait for."""
    from kplab.proxy.serve import EVERYWHERE, Servers

    hosts, mode = EVERYWHERE, options.config.mode
    if mode == "nftables":
        from kplab.proxy.nft_assemble import answering_addresses

        hosts = answering_addresses(options, runner, status.cluster)
    servers = Servers(options.node, status, reporter.problem, mode=mode, hosts=hosts)
    servers.start(options.config.healthz_bind_address, options.config.metrics_bind_address)


@contextmanager
def _stop_signals() -> Iterator[int]:
    """Turn SIGTERM and SIGINT into a readable descriptor.

    So a run of iptables-restore is never cut short, and the rules stay as they are, as kube-proxy leaves them.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    kept = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in kept.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


if __name__ == "__main__":
    sys.exit(main())


if __name__ == "__main__":
    sys.exit(main())
