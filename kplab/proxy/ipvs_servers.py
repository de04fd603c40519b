"""Virtual and real servers over IPVS' own netlink, in the network namespace in which the first question is asked."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Protocol

from kplab.errors import ApplyError
from kplab.modes.ipvs_program import VsKey
from kplab.proxy.ipvs_commands import ServerCommand
from kplab.proxy.ipvs_messages import message, question, real_of
from kplab.proxy.ipvs_netlink import GENERIC, Netlink
from kplab.rules.ipvsadm import HeldReal

FAMILY = "IPVS"
SHOWN = 20
"""How many refused commands a message names."""

_REASONS = {
    errno.ESRCH: "no such virtual server",
    errno.ENOENT: "no such real server, or no such scheduler",
    errno.EEXIST: "is there already",
    errno.EPERM: "not allowed",
}
"""What ip_vs_ctl.c means by them."""


class ServerChannel(Protocol):
    """A way to the kernel's virtual servers."""

    def change(self, commands: Sequence[ServerCommand]) -> None:
        """Run commands in order; one that is refused does not keep the others from being tried.

        Raises:
            ApplyError: some were refused.
            LabError: the kernel has no IPVS.

        """
        ...

    def reals(self, key: VsKey) -> tuple[HeldReal, ...]:
        """Return a virtual server's real servers; none where there is no such virtual server. Raises LabError."""
        ...


class NetlinkServers:
    """The kernel's virtual servers, by generic netlink."""

    def __init__(self) -> None:
        self._opened: tuple[Netlink, int] | None = None

    def change(self, commands: Sequence[ServerCommand]) -> None:
        """Run commands as `ServerChannel` says."""
        netlink, family = self._open()
        failed = netlink.change(family, [message(command) for command in commands])
        if failed:
            told = [f"{commands[place].text}: {_reason(code)}" for place, code in sorted(failed.items())]
            more = [f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
            raise ApplyError("change virtual servers", "\n".join(told[:SHOWN] + more))

    def reals(self, key: VsKey) -> tuple[HeldReal, ...]:
        """Read as `ServerChannel` says."""
        netlink, family = self._open()
        return tuple(map(real_of, netlink.dump(family, question(key))))

    def _open(self) -> tuple[Netlink, int]:
        if self._opened is None:
            netlink = Netlink(GENERIC)
            self._opened = netlink, netlink.family(FAMILY)
        return self._opened


def _reason(code: int) -> str:
    return _REASONS.get(code, errno.errorcode.get(code, str(code)))
