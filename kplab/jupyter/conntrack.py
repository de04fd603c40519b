"""A node's conntrack table as a value: who asked whom, and what the answer must look like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from kplab.jupyter.installed import require
from kplab.trace.entries import ends_of_tuple, flow_of_ends, read_line

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, slots=True)
class Connection:
    """One entry. Addresses are "10.96.0.42:80"."""

    id: int | None
    proto: str
    state: str | None
    """TCP's state; None for other protocols."""
    src: str
    """Of the packet as its sender made it."""
    dst: str
    reply_src: str
    """Of the answer as it comes back: where this is not `dst`, the destination was rewritten."""
    reply_dst: str
    line: str
    """As `conntrack -L -o id` prints it."""

    @property
    def rewritten(self) -> bool:
        """Whether NAT changes this connection's packets."""
        return (self.src, self.dst) != (self.reply_dst, self.reply_src)


@dataclass(frozen=True, slots=True)
class ConntrackTable:
    """What a node's kernel remembers of connections. Shows itself as a table; iterate over it for its entries."""

    node: str
    entries: tuple[Connection, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.entries)

    def to(self, dst: str) -> ConntrackTable:
        """Return the entries of connections to a destination: "10.96.0.42:80", or an address with any port."""
        return ConntrackTable(
            self.node, tuple(e for e in self.entries if e.dst == dst or e.dst.rpartition(":")[0].strip("[]") == dst)
        )

    def to_frame(self) -> DataFrame:
        """Return one row an entry, in pandas. Raises NotInstalledError without it."""
        require("make a table of conntrack entries", "pandas")
        from pandas import DataFrame

        columns = ["id", "proto", "state", "src", "dst", "reply_src", "reply_dst"]
        return DataFrame([[getattr(entry, name) for name in columns] for entry in self.entries], columns=columns)

    def __repr__(self) -> str:
        lines = [f"{self.node}# conntrack -L: {len(self.entries)} entries"]
        return "\n".join([*lines, *(entry.line for entry in self.entries)])

    def _repr_html_(self) -> str:
        head = ("", "state", "the sender's packet", "the answer to it", "")
        rows = [
            (e.proto, e.state or "", f"{e.src} → {e.dst}", f"{e.reply_src} → {e.reply_dst}", "NAT" * e.rewritten)
            for e in self.entries
        ]
        body = "".join(f"<tr>{_cells(row, 'td')}</tr>" for row in rows)
        title = f"{self.node}: {len(self.entries)} conntrack entries"
        return f"<div><b>{escape(title)}</b><table><tr>{_cells(head, 'th')}</tr>{body}</table></div>"


def _cells(row: Iterable[str], tag: str) -> str:
    return "".join(f'<{tag} style="text-align:left">{escape(cell)}</{tag}>' for cell in row)


def read_conntrack(node: str, lines: Iterable[str]) -> ConntrackTable:
    """Read what `conntrack -L -o id` printed; a line that is no entry is passed over."""
    found = []
    for line in lines:
        read = read_line(line)
        if read is None:
            continue
        number, original, reply, state = read
        there, back = flow_of_ends(ends_of_tuple(original)), flow_of_ends(ends_of_tuple(reply))
        found.append(
            Connection(number, there.proto, state, there.src, there.dst, back.src, back.dst, " ".join(line.split()))
        )
    return ConntrackTable(node, tuple(found))
