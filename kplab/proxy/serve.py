"""kube-proxy's HTTP servers: health, metrics, and one for each healthCheckNodePort.

They listen in the proxy's own network namespace, each in a thread, once the first sync is done; nothing here
holds a sync up. Paths and bodies are those of kube-proxy v1.36; `/configz` and profiling are not served.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from kplab.model.cluster import Cluster, Family
from kplab.proxy.health import CheckedService, checked_services
from kplab.proxy.status import Status

Answer = tuple[int, str, Mapping[str, str]]
Page = Callable[[], Answer]

_JSON = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}
_METRICS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
FAMILIES: tuple[Family, ...] = (4, 6)
EVERYWHERE: Mapping[Family, Sequence[str]] = {4: ("0.0.0.0",), 6: ("::",)}  # noqa: S104 our namespace's
"""All addresses: where NodePorts are answered unless nodePortAddresses says else."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, pages: Mapping[str, Page]) -> None:
        """Listen; `pages` by path, "" for any other."""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.pages = pages
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Keep IPv6 to itself: the IPv4 server has the same port."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Not HTTPServer's: it asks DNS for our name, and a lab has none.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def accept_all(self) -> None:
        """Answer each request in a thread of its own, until `close`; blocks without polling."""
        while True:
            try:
                self.process_request(*self.get_request())
            except ConnectionAbortedError:
                continue
            except OSError:
                return

    def close(self) -> None:
        """Stop listening: shutting the socket down is what wakes `accept_all`."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the page of the path, or with the one for any other."""
        page = self.server.pages.get(self.path.split("?")[0]) or self.server.pages.get("")
        status, body, headers = page() if page else (404, "404 page not found\n", _TEXT)
        data = body.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep requests out of standard error."""


class Servers:
    """Starts the servers, and follows the Services that have a healthCheckNodePort."""

    def __init__(
        self,
        node: str,
        status: Status,
        problem: Callable[[str], None],
        *,
        mode: str = "iptables",
        hosts: Mapping[Family, Sequence[str]] = EVERYWHERE,
    ) -> None:
        """`problem` is told when an address cannot be listened on; everything else goes on.

        healthCheckNodePorts are answered on `hosts`: the addresses of each family that answer for NodePorts.
        """
        self._node = node
        self._mode = mode
        self._hosts = hosts
        self._status = status
        self._problem = problem
        self._checked: dict[tuple[Family, int], CheckedService] = {}
        self._listening: dict[tuple[Family, int], list[_Server]] = {}
        self._fixed: list[_Server] = []

    def start(self, healthz: str, metrics: str) -> None:
        """Listen on "HOST:PORT" for health and for metrics; an empty address means no server, as in kube-proxy."""
        for address, pages in ((healthz, self._health_pages()), (metrics, self._metric_pages())):
            host, _, port = address.rpartition(":")
            if port:
                server = self._listen(host.strip("[]") or "0.0.0.0", int(port), pages)  # noqa: S104 our namespace's
                self._fixed += [server] if server else []
        self._status.follow = self._follow
        self._follow(self._status.cluster)

    def stop(self) -> None:
        """Close every server."""
        for server in (*self._fixed, *(each for servers in self._listening.values() for each in servers)):
            server.close()

    def _follow(self, cluster: Cluster) -> None:
        """Open and close healthCheckNodePorts."""
        self._checked = {
            (family, port): service
            for family in FAMILIES
            for port, service in checked_services(cluster, family, self._node).items()
        }
        for key in self._listening.keys() - self._checked.keys():
            for server in self._listening.pop(key):
                server.close()
        for key in self._checked.keys() - self._listening.keys():
            made = [self._listen(host, key[1], {"": partial(self._check, key)}) for host in self._hosts[key[0]]]
            self._listening[key] = [server for server in made if server]

    def _listen(self, host: str, port: int, pages: Mapping[str, Page]) -> _Server | None:
        try:
            server = _Server(host, port, pages)
        except OSError as error:
            self._problem(f"listen on {host}:{port}: {error.strerror or error}")
            return None
        Thread(target=server.accept_all, daemon=True).start()
        return server

    def _health_pages(self) -> dict[str, Page]:
        return {"/healthz": lambda: self._healthz("healthz"), "/livez": lambda: self._healthz("livez")}

    def _metric_pages(self) -> dict[str, Page]:
        return {
            "/healthz": lambda: self._healthz("healthz"),
            "/metrics": lambda: (200, self._status.metrics.text(), _METRICS),
            "/proxyMode": lambda: (200, self._mode, _TEXT),
        }

    def _healthz(self, server: str) -> Answer:
        status, body = self._status.health.answer(eligible=server == "healthz")
        self._status.metrics.answered(server, status)
        return status, body, _JSON

    def _check(self, key: tuple[Family, int]) -> Answer:
        service = self._checked[key]
        status, body = service.answer(healthy=self._status.health.healthy())
        return status, body, {**_JSON, "X-Load-Balancing-Endpoint-Weight": str(service.local_endpoints)}
