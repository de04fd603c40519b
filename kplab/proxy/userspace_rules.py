"""Brings userspace mode's rules into the kernel, and takes them away."""

from __future__ import annotations

from kplab.modes.program import IptablesProgram
from kplab.modes.userspace import JUMPS, redirecting
from kplab.proxy.apply import restore_plainly
from kplab.proxy.dump import Held, printed, quoted, read_dump
from kplab.proxy.pieces import in_pieces, message_bytes, send_capacity
from kplab.proxy.tools import Tools


def write_rules(tools: Tools, program: IptablesProgram) -> None:
    """Write the chains whole, and the jumps that are missing; one `iptables-restore`, in pieces where it must be.

    Raises:
        ApplyError: the kernel, or iptables, refused them. ProgramError: iptables is missing.
    """
    text = writing(program, read_dump(tools.save()))
    capacity = send_capacity() if tools.backend == "nft" else None
    if capacity is not None and message_bytes(text) > capacity:
        # Half of it, for a rule may take more room than is counted on.
        text = in_pieces(text, capacity // 2)
    restore_plainly(tools, text)


def clean_up_userspace(tools: Tools) -> None:
    """Remove userspace mode's rules, where there are any.

    Raises:
        ApplyError: a rule of somebody else still leads to one of the chains. ProgramError: iptables is missing.
    """
    text = removing(read_dump(tools.save()))
    if text:
        restore_plainly(tools, text)


def writing(program: IptablesProgram, held: Held) -> str:
    """Return the text: the chains first, then what leads to them."""
    blocks = [program.text()]
    for table in program.tables:
        missing = [jump for jump in program.jumps if jump.table == table.name and printed(jump) not in held.base_rules]
        lines = [
            f"-I {jump.source} {' '.join(quoted(word) for word in jump.arguments)} -j {jump.target}" for jump in missing
        ]
        if lines:
            blocks.append("\n".join([f"*{table.name}", *lines, "COMMIT\n"]))
    return "".join(blocks)


def removing(held: Held) -> str:
    """Return the text that takes userspace mode's chains and jumps away; empty where there are none."""
    blocks = []
    for table in redirecting((), "").tables:
        chains = [chain.name for chain in table.chains if held.has(table.name, chain.name)]
        if not chains:
            continue
        jumps = [jump for jump in JUMPS if jump.table == table.name and printed(jump) in held.base_rules]
        lines = [f":{chain} - [0:0]" for chain in chains]
        lines += [printed(jump)[1].replace("-A ", "-D ", 1) for jump in jumps]
        lines += [f"-X {chain}" for chain in chains]
        blocks.append("\n".join([f"*{table.name}", *lines, "COMMIT\n"]))
    return "".join(blocks)
