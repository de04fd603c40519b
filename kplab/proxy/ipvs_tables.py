"""IPVS, ipset and the dummy device as the proxier reads and writes them.

kube-proxy talks netlink to IPVS, a request at a time, and runs `ipset add` for each member. Here virtual servers and
addresses go to the kernel by netlink, many requests in one buffer, and everything for ipset goes in one
`ipset restore`; what the kernel holds afterwards is the same. All virtual servers are read by one `ipvsadm -L -n`:
netlink gives a virtual server's real servers only for one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kplab.errors import ApplyError, LabError, ProgramError
from kplab.lab.run import Runner
from kplab.model.ruleset import IpSet
from kplab.modes.ipvs_program import DEVICE, VsKey
from kplab.proxy.ipvs_commands import ServerCommand
from kplab.proxy.ipvs_servers import NetlinkServers, ServerChannel
from kplab.proxy.ipvs_set_list import read_sets
from kplab.proxy.tools import LIMIT
from kplab.rules.ipvsadm import HeldReal, HeldServer, parse_list

PROBE = "-t 198.51.100.0:20000"
"""The virtual server that kube-proxy makes and deletes at its start, to see whether IPVS works."""

MODULES = "ip_vs, its scheduler's (ip_vs_rr), nf_conntrack, dummy, ip_set, xt_set and xt_ipvs"
_NO_DEVICE = "Unknown device type"
_WAY_ON = (
    f"IPVS mode needs a kernel with the modules {MODULES}; where this one has none, run the lab in a microvm "
    "(--sandbox microvm), or take another mode"
)


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """A node's addresses, those of kube-ipvs0 apart."""

    device: frozenset[str] | None
    """None where there is no kube-ipvs0 yet."""
    others: tuple[str, ...]
    """Of all other interfaces, both families, loopback included, in the kernel's order."""


class IpvsTables:
    """The kernel's side of IPVS mode, in this process's own network namespace."""

    def __init__(
        self,
        runner: Runner,
        channel: ServerChannel | None = None,
        read_sets: Callable[[], dict[str, IpSet]] = read_sets,
    ) -> None:
        """`channel` is how virtual servers are changed, `read_sets` how ipsets are read: netlink, but for tests."""
        self._runner = runner
        self._read_sets = read_sets
        self._channel = channel or NetlinkServers()

    def probe(self, scheduler: str) -> None:
        """See whether IPVS works with this scheduler, as kube-proxy does at its start.

        Raises:
            LabError: the kernel has no IPVS, or not this scheduler.
            ProgramError: ipvsadm is missing.

        """
        try:
            self._runner.run(["ipvsadm", "-A", *PROBE.split(), "-s", scheduler])
        except ProgramError as error:
            if error.status == 127:
                raise
            tried = f"IPVS mode cannot run here: a virtual server with the scheduler {scheduler} was refused"
            raise LabError(tried, error.happened, _WAY_ON) from error
        self._runner.run(["ipvsadm", "-D", *PROBE.split()])

    def set_timeouts(self, seconds: tuple[int, int, int]) -> None:
        """Set how long entries live: TCP, TCP after a FIN, UDP; 0 leaves one as it is."""
        self._runner.run(["ipvsadm", "--set", *map(str, seconds)])

    def servers(self) -> tuple[HeldServer, ...]:
        """Return every virtual server, of both families, with its connections' counts."""
        return parse_list(self._runner.run(["ipvsadm", "-L", "-n"], limit=LIMIT).stdout)

    def reals(self, key: VsKey) -> tuple[HeldReal, ...]:
        """Return one virtual server's real servers, with their connections' counts."""
        return self._channel.reals(key)

    def change_servers(self, commands: Sequence[ServerCommand]) -> None:
        """Run commands; nothing where there are none.

        Raises:
            ApplyError: some were refused; all others hold.

        """
        if commands:
            self._channel.change(commands)

    def addresses(self) -> NodeAddresses:
        """Return the node's addresses."""
        device: frozenset[str] | None = None
        others: list[str] = []
        for link in json.loads(self._runner.run(["ip", "-json", "address", "show"]).stdout or "[]"):
            found = [str(each["local"]) for each in link.get("addr_info", ()) if "local" in each]
            if link.get("ifname") == DEVICE:
                device = frozenset(found)
            else:
                others += found
        return NodeAddresses(device, tuple(others))

    def make_device(self) -> None:
        """Make kube-ipvs0. It is never set up: its IPv6 link-local address could only come from that.

        Raises:
            LabError: the kernel has no dummy devices.
            ApplyError: it was refused.

        """
        try:
            self._runner.run(["ip", "link", "add", DEVICE, "type", "dummy"])
        except ProgramError as error:
            if error.status == 127:
                raise
            if _NO_DEVICE in error.happened:
                raise LabError("IPVS mode cannot run here: no dummy device", error.happened, _WAY_ON) from error
            raise ApplyError(f"make {DEVICE}", error.happened) from error

    def sets(self) -> dict[str, IpSet]:
        """Return every ipset of the types that IPVS mode has, by name."""
        return self._read_sets()

    def change_sets(self, lines: Sequence[str]) -> None:
        """Run the commands of ipset; what is there already, or gone already, is no mistake.

        Raises:
            ApplyError: one was refused.

        """
        if not lines:
            return
        try:
            text = "".join(f"{line}\n" for line in lines)
            self._runner.run(["ipset", "restore", "-exist"], text, limit=LIMIT)
        except ProgramError as error:
            if error.status == 127:
                raise
            raise ApplyError("change ipsets", error.happened) from error
