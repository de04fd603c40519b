"""A node's rules, as the commands on the node print them: each proxy mode's own tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from kplab.errors import UnknownNameError
from kplab.scene.listings import Listing, listings
from kplab.trace.recording import NodeState

_LOOK = "font-family:monospace;font-size:85%;white-space:pre;overflow-x:auto"
SHOWN_LINES = 400
"""Of one command's output in a notebook's own view; `text` has all of them."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What `lab.rules` returns: one output for each command. Shows itself; `find` keeps the lines with a text."""

    node: str
    outputs: dict[str, tuple[str, ...]]
    """By the command line: "iptables-save", "nft list table ip kube-proxy", "ipvsadm -Ln", …"""

    @property
    def text(self) -> str:
        """Return everything, each command as at a prompt."""
        return "\n".join(line for command, lines in self.outputs.items() for line in (self._prompt(command), *lines))

    def __iter__(self) -> Iterator[str]:
        return (line for lines in self.outputs.values() for line in lines)

    def __len__(self) -> int:
        return sum(len(lines) for lines in self.outputs.values())

    def find(self, text: str) -> Rules:
        """Return only the lines that hold a text."""
        found = {command: tuple(line for line in lines if text in line) for command, lines in self.outputs.items()}
        return Rules(self.node, {command: lines for command, lines in found.items() if lines})

    def of(self, command: str) -> Rules:
        """Return the output of the commands that begin like this.

        Raises:
            UnknownNameError: none does; the hint lists them.
        """
        found = {name: lines for name, lines in self.outputs.items() if name.startswith(command)}
        if not found:
            raise UnknownNameError(
                f"there is no {command!r} here", "", f"Commands: {', '.join(self.outputs) or 'none printed anything'}"
            )
        return Rules(self.node, found)

    def __repr__(self) -> str:
        return "\n".join(
            line for command, lines in self.outputs.items() for line in (self._prompt(command), *_cut(lines))
        )

    def _repr_html_(self) -> str:
        few = len(self) <= SHOWN_LINES // 10
        parts = [
            f"<details{' open' if few else ''}><summary><code>{escape(self._prompt(command))}</code>, "
            f'{len(lines)} lines</summary><pre style="{_LOOK}">{escape(chr(10).join(_cut(lines)))}</pre></details>'
            for command, lines in self.outputs.items()
        ]
        return f"<div>{''.join(parts) or escape(f'{self.node}: nothing')}</div>"

    def _prompt(self, command: str) -> str:
        return f"{self.node}# {command}"


def _cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= SHOWN_LINES:
        return lines
    return (*lines[:SHOWN_LINES], f"… {len(lines) - SHOWN_LINES:,} more lines: see .text, or .find(…)")


def rules_of_node(state: NodeState) -> Rules:
    """Return everything that a node's state says of its rules, a mode's own tables first."""
    return Rules(state.node, {each.command: _lines(each) for each in listings([state])})


def _lines(listing: Listing) -> tuple[str, ...]:
    return tuple(listing.page.lines)
