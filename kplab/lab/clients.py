"""Real clients: curl, and a TCP or UDP exchange by the kernel's own sockets, each in a process of its own.

A client is started in the sender's namespace and looked at through its pipes, so that whoever waits for it can
watch the kernel meanwhile.
"""

from __future__ import annotations

import os
import re
import signal
from ipaddress import ip_address

from kplab.errors import UsageError
from kplab.lab.exchange import LOCAL, exchange
from kplab.lab.start import Streams, lab_environment, start
from kplab.model.packet import ClientSpec
from kplab.trace.events import ClientDone


class RunningClient:
    """A client that has been started. Wait for `filenos`, call `read`, until `done`; then `finish`."""

    def __init__(self, pid: int, argv: tuple[str, ...], stdout: int, stderr: int) -> None:
        self._pid = pid
        self._argv = argv
        self._stdout, self._stderr = bytearray(), bytearray()
        self._open = {stdout: self._stdout, stderr: self._stderr}
        for descriptor in self._open:
            os.set_blocking(descriptor, False)

    def filenos(self) -> list[int]:
        """Return the descriptors to wait on; none once the client has ended."""
        return list(self._open)

    def read(self) -> None:
        """Take what the client has printed. Never blocks."""
        for descriptor, text in list(self._open.items()):
            try:
                while data := os.read(descriptor, 65536):
                    text += data
            except BlockingIOError:
                continue
            del self._open[descriptor]
            os.close(descriptor)

    @property
    def done(self) -> bool:
        """Whether it has closed its output, which a client does at its end."""
        return not self._open

    def finish(self) -> ClientDone:
        """Return what came of it; one that still runs is killed first."""
        if not self.done:
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self.read()
        stderr = self._stderr.decode(errors="replace")
        local = re.search(rf"^{LOCAL}(.*)\n?", stderr, re.MULTILINE)
        return ClientDone(
            argv=self._argv,
            status=os.waitstatus_to_exitcode(status),
            stdout=self._stdout.decode(errors="replace"),
            stderr=stderr.replace(local.group(0), "") if local else stderr,
            local=_bracketed(local.group(1)) if local else "",
        )


def _bracketed(local: str) -> str:
    """Curl prints an IPv6 address without brackets, and port 0 when it was never connected."""
    host, _, port = local.rpartition(":")
    if port in ("", "0", "-1"):
        return ""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else local


def start_client(spec: ClientSpec, sender: str, limit: float) -> RunningClient:
    """Start a client in the sender's namespace; it gives up by itself after `limit` seconds.

    Raises:
        UsageError: the target cannot be used.
    """
    out, stdout = os.pipe2(os.O_CLOEXEC)
    err, stderr = os.pipe2(os.O_CLOEXEC)
    streams = Streams(None, stdout, stderr)
    try:
        if spec.client == "curl":
            argv = curl_command(spec, limit)
            pid = start(argv, streams, namespace=sender, environment=lab_environment())
            shown = (*argv[: argv.index("--write-out")], spec.target)
        else:
            host, port = split_target(spec.target)
            payload = spec.payload.encode()

            def talk() -> int:
                return exchange(spec.client, host, port, payload, spec.source_port, limit)

            pid = start(talk, streams, namespace=sender)
            shown = (spec.client, spec.target)
    finally:
        os.close(stdout)
        os.close(stderr)
    return RunningClient(pid, shown, out, err)


def curl_command(spec: ClientSpec, limit: float) -> tuple[str, ...]:
    """Return curl's argv: no progress meter, no URL patterns, no proxies, no configuration of the user's."""
    if spec.target.startswith("-") or "://" not in spec.target:
        raise UsageError(f"curl {spec.target}", "this is not a URL", "give it as http://10.96.0.42/")
    local = ("--local-port", str(spec.source_port)) if spec.source_port else ()
    told = "%{stderr}" + LOCAL + "%{local_ip}:%{local_port}\n"
    return (
        "curl", "-q", "-s", "-S", "-g", "--noproxy", "*", "--max-time", f"{limit:g}", *local,
        "--write-out", told, spec.target,
    )  # fmt: skip


def split_target(target: str) -> tuple[str, int]:
    """Return host and port of "10.96.0.42:80" or "[fd00::1]:80".

    Raises:
        UsageError: it is neither.
    """
    host, _, port = target.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        canonical = ip_address(bare)
        if canonical.version == 6 and bare == host:
            raise ValueError("an IPv6 address stands in brackets")
        number = int(port)
        if not 0 < number < 65536:
            raise ValueError(f"{number} is not a port")
    except ValueError as error:
        raise UsageError(
            f"connect to {target!r}", str(error), "give an address and a port: 10.96.0.42:80 or [fd00:10:96::42]:80"
        ) from error
    return str(canonical), number
