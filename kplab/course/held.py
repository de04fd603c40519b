"""What a node held before a lesson broke it, and the programs that put it back.

It is read before the start script runs and put back whole, with the tools of the node's mode, run in the node: what
the student added goes, what was taken away comes again. The kernel's own notes of connections are left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kplab.course.held_ipvs import RESTORE, IpvsState, addresses, ipvs_state, put_back_script
from kplab.course.held_maps import MapState, map_state, put_back_maps
from kplab.errors import ProgramError
from kplab.session.base import Session
from kplab.trace.recording import Save

_OWN_TABLES = "kplab-"
"""kplab's tracing: its tables come and go with each packet that is sent."""
_PASSING = re.compile(r"^#.*\n|\[\d+:\d+\]| expires \S+", re.MULTILINE)
"""Dates, counters and times that are left: what two listings of the same rules differ in."""


@dataclass(frozen=True, slots=True)
class Held:
    """A node's rules, and what its mode keeps elsewhere."""

    node: str
    saves: tuple[Save, ...] = ()
    nft_tables: frozenset[str] = frozenset()
    """The names of all tables of nf_tables, like "ip nat"; those of iptables-nft are among them."""
    proxy_tables: str = ""
    """In nftables mode: one transaction that makes kube-proxy's tables what they were."""
    ipvs: IpvsState | None = None
    maps: MapState = field(default_factory=dict)


def read_held(session: Session, node: str) -> Held:
    """Read everything that a student may break in a node."""
    state, mode = session.read_node(node), session.facts.mode
    return Held(
        node=node,
        saves=state.saves,
        nft_tables=_nft_tables(session, node),
        proxy_tables=_proxy_tables(session, node) if mode == "nftables" else "",
        ipvs=ipvs_state(session, state) if mode == "ipvs" else None,
        maps=map_state(session, node) if mode == "ebpf" else {},
    )


def put_back(session: Session, held: Held) -> None:
    """Make the node what it was. Raises ProgramError when a program fails; what came before it is put back then."""
    for table in sorted(_nft_tables(session, held.node) - held.nft_tables):
        run(session, held.node, "nft", "delete", "table", *table.split())
    if held.ipvs is not None:
        now = addresses(session, held.node)
        run(session, held.node, "sh", "-eu", "-s", text=put_back_script(held.ipvs, held.saves, now))
        return
    for save in held.saves:
        run(session, held.node, f"{RESTORE[save.family]}-{save.backend}-restore", text=save.text)
    if held.proxy_tables:
        run(session, held.node, "nft", "-f", "-", text=held.proxy_tables)
    put_back_maps(session, held.node, held.maps, run)


def differing(before: Held, after: Held) -> tuple[str, ...]:
    """Name the parts in which a node is not what it was, counters and the order of hash tables aside."""
    parts: dict[str, tuple[object, object]] = {
        "rules": (_text(before.saves), _text(after.saves)),
        "tables of nf_tables": (before.nft_tables, after.nft_tables),
        "kube-proxy's tables": (_sorted_lines(before.proxy_tables), _sorted_lines(after.proxy_tables)),
        "BPF maps": (before.maps, after.maps),
    }
    if before.ipvs and after.ipvs:
        parts["virtual servers"] = (_sorted_lines(before.ipvs.servers), _sorted_lines(after.ipvs.servers))
        parts["ipsets"] = (_sorted_lines(before.ipvs.sets), _sorted_lines(after.ipvs.sets))
        parts["addresses"] = (before.ipvs.addresses, after.ipvs.addresses)
        parts["sysctls"] = (before.ipvs.sysctls, after.ipvs.sysctls)
        parts["timeouts"] = (before.ipvs.timeouts, after.ipvs.timeouts)
    return tuple(name for name, (then, now) in parts.items() if then != now)


def _text(saves: tuple[Save, ...]) -> str:
    return _PASSING.sub("", "".join(save.text for save in saves))


def _sorted_lines(text: str) -> list[str]:
    return sorted(_PASSING.sub("", text).splitlines())


def run(session: Session, node: str, *argv: str, text: str = "") -> None:
    """Run a program that puts something back; ProgramError when it fails."""
    done = session.execute(node, argv, stdin=text)
    if done.status != 0:
        raise ProgramError(
            f"the rules of {node} could not be put back ({argv[0]})",
            done.stderr.strip(),
            "Leave the lesson and start it again: that makes a new lab, and your progress is kept.",
            status=done.status,
        )


def _nft_tables(session: Session, node: str) -> frozenset[str]:
    listed = session.execute(node, ("nft", "list", "tables")).stdout
    names = [line.removeprefix("table ") for line in listed.splitlines() if line.startswith("table ")]
    return frozenset(name for name in names if not name.partition(" ")[2].startswith(_OWN_TABLES))


def _proxy_tables(session: Session, node: str) -> str:
    """Return one transaction that makes kube-proxy's tables what they are now, whatever they are then."""
    text = ""
    for family in ("ip", "ip6"):
        listed = session.execute(node, ("nft", "list", "table", family, "kube-proxy"))
        if listed.status == 0:
            name = f"{family} kube-proxy"
            text += f"add table {name}\ndelete table {name}\n{listed.stdout}"
    return text
