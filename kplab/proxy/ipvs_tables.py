"""IPVS, ipset and the dummy device as the proxier reads and writes them: one program run a question, one a change.

kube-proxy talks netlink to IPVS, and runs `ipset add` for each member. Here everything that a sync changes goes in
one `ipvsadm -R`, one `ipset restore` and one `ip -batch`; what the kernel holds afterwards is the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from kplab.errors import ApplyError, LabError, ProgramError
from kplab.lab.run import Finished, Runner
from kplab.model.ruleset import IpSet
from kplab.modes.ipvs_program import DEVICE
from kplab.proxy.tools import LIMIT
from kplab.rules.ipset_save import parse_ipset_save
from kplab.rules.ipvsadm import HeldServer, parse_list

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

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

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

    def change_servers(self, lines: Sequence[str]) -> None:
        """Run the commands of ipvsadm; nothing where there are none.

        Raises:
            ApplyError: some were refused; all others hold.

        """
        if not lines:
            return
        # `ipvsadm -R` goes on after a command that was refused, and its status is the last one's.
        problems = self._write(["ipvsadm", "-R"], lines, "change virtual servers").stderr.strip()
        if problems:
            raise ApplyError("change virtual servers", problems)

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

    def change_links(self, lines: Sequence[str]) -> None:
        """Run the commands of ip; nothing where there are none.

        Raises:
            ApplyError: one was refused.
            LabError: the kernel has no dummy devices.

        """
        if not lines:
            return
        try:
            self._write(["ip", "-batch", "-"], lines, f"change {DEVICE}")
        except ApplyError as error:
            if _NO_DEVICE in error.happened:
                raise LabError("IPVS mode cannot run here: no dummy device", error.happened, _WAY_ON) from error
            raise

    def sets(self) -> dict[str, IpSet]:
        """Return every ipset, by name."""
        return parse_ipset_save(self._runner.run(["ipset", "save"], limit=LIMIT).stdout)

    def change_sets(self, lines: Sequence[str]) -> None:
        """Run the commands of ipset; what is there already, or gone already, is no mistake.

        Raises:
            ApplyError: one was refused.

        """
        if lines:
            self._write(["ipset", "restore", "-exist"], lines, "change ipsets")

    def _write(self, argv: list[str], lines: Sequence[str], tried: str) -> Finished:
        try:
            return self._runner.run(argv, "".join(f"{line}\n" for line in lines), limit=LIMIT)
        except ProgramError as error:
            if error.status == 127:
                raise
            raise ApplyError(tried, error.happened) from error
