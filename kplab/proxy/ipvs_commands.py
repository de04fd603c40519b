"""What a sync of IPVS mode tells the kernel about virtual and real servers, as values."""

from __future__ import annotations

from typing import NamedTuple

from kplab.modes.ipvs_program import RealServer, VirtualServer, VsKey


class PutServer(NamedTuple):
    """Make a virtual server without its real servers; with `edit`, change one that is there."""

    server: VirtualServer
    edit: bool = False

    @property
    def text(self) -> str:
        """As the arguments of ipvsadm that do the same."""
        return f"{'-E' if self.edit else '-A'} {self.server.key.arguments} {self.server.options}"


class DropServer(NamedTuple):
    """Delete a virtual server with its real servers."""

    key: VsKey

    @property
    def text(self) -> str:
        """As the arguments of ipvsadm that do the same."""
        return f"-D {self.key.arguments}"


class PutReal(NamedTuple):
    """Give a virtual server a real server; with `edit`, change the weight of one that it has."""

    key: VsKey
    real: RealServer
    edit: bool = False

    @property
    def text(self) -> str:
        """As the arguments of ipvsadm that do the same."""
        verb = "-e" if self.edit else "-a"
        return f"{verb} {self.key.arguments} -r {self.real.text} -m -w {self.real.weight}"


class DropReal(NamedTuple):
    """Take a real server away from a virtual server; its weight means nothing."""

    key: VsKey
    real: RealServer

    @property
    def text(self) -> str:
        """As the arguments of ipvsadm that do the same."""
        return f"-d {self.key.arguments} -r {self.real.text}"


ServerCommand = PutServer | DropServer | PutReal | DropReal
