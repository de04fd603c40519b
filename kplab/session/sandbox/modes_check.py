"""Whether this kernel has what each mode's rules need: tried in namespaces that vanish at once, so nothing is left.

A module that is built in shows in no list, and one that is missing is loaded on demand if it can be; so the only way
to know is to write a rule that needs it. What nft or iptables says of a refused one is told verbatim.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence

from kplab.modes.nft_version import UPGRADE, too_old
from kplab.session.sandbox.check import Check, ways
from kplab.session.sandbox.namespaces import MAKE_NAMESPACES, OWN_USER, search_path

GUEST = "--sandbox microvm"
XTABLES = {
    "xt_comment": "-t nat -A OUTPUT -m comment --comment x",
    "xt_conntrack": "-A OUTPUT -m conntrack --ctstate NEW",
    "xt_addrtype": "-t nat -A OUTPUT -m addrtype --dst-type LOCAL",
    "xt_mark": "-t nat -A OUTPUT -m mark --mark 1 -j MARK --set-xmark 1",
    "xt_statistic": "-t nat -A OUTPUT -m statistic --mode random --probability 0.5",
    "xt_recent": "-t nat -A OUTPUT -m recent --name x --rcheck",
    "xt_nat": "-t nat -A OUTPUT -p tcp -j DNAT --to-destination 10.0.0.1:80",
    "xt_MASQUERADE": "-t nat -A POSTROUTING -j MASQUERADE --random-fully",
    "ipt_REJECT": "-A OUTPUT -j REJECT",
}
"""Modules of iptables' rules in kube-proxy's chains, and a rule that needs each."""
NF_TABLES = {
    "nft_ct": ("filter", "output", "ct state new accept"),
    "nft_fib_ipv4": ("filter", "output", "fib daddr type local accept"),
    "nft_numgen": ("nat", "output", "dnat to numgen random mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }"),
    "nft_masq": ("nat", "postrouting", "masquerade"),
    "nft_reject_ipv4": ("filter", "output", "reject"),
}
"""The same of nftables mode's: type, hook and rule."""
_LIMIT = 20.0

Ask = Callable[[Sequence[str], str], tuple[int, str]]
"""Runs a program with an input; returns its status, and what it printed."""


def mode_checks(ask: Ask | None = None) -> tuple[Check, ...]:
    """Return whether iptables and nftables mode can run on this kernel. Changes nothing outside its namespaces."""
    run = ask or _ask
    status, told = run(("nft", "--version"), "")
    old = too_old(told) if status == 0 else ""
    refused = None
    for own_user in ways():
        namespaces = ("unshare", *(OWN_USER if own_user else ()), *MAKE_NAMESPACES)
        status, said = run((*namespaces, "sh"), _script())
        if status == 0:
            refused = dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)
            break
    if refused is None:
        why = f"no namespace to try it in: {said.strip() or f'status {status}'}"
        return (Check("iptables mode", ok=False, found=why), Check("nftables mode", ok=False, found=old or why))
    nftables = _check("nftables mode", NF_TABLES, refused)
    if old:
        nftables = Check("nftables mode", ok=False, found=old, mend=UPGRADE)
    return (_check("iptables mode", XTABLES, refused), nftables)


def _check(name: str, modules: Iterable[str], refused: dict[str, str]) -> Check:
    missing = [module for module in modules if module in refused]
    if not missing:
        return Check(name, ok=True, found=f"this kernel has {', '.join(modules)}")
    said = "; ".join(f"{module}: {refused[module]}" for module in missing)
    return Check(name, ok=False, found=f"refused without {said}", mend=f"modprobe -a {' '.join(missing)}, or {GUEST}")


def _script() -> str:
    """A shell script that tries every rule; prints a line for each that is refused: module, tab, what was said."""
    return "\n".join(
        [
            'told() { [ $1 -eq 0 ] || printf "%s\\t%s\\n" "$2" "$(printf %s "$3" | tr "\\n\\t" "  ")"; }',
            *_iptables(),
            *_nftables(),
            "exit 0",
        ]
    )


def _iptables() -> Iterator[str]:
    for module, rule in XTABLES.items():
        yield f'said=$(iptables-nft -w 5 {rule} 2>&1); told $? {module} "$said"'


def _nftables() -> Iterator[str]:
    for module, (kind, hook, rule) in NF_TABLES.items():
        text = f"table ip {module} {{ chain x {{ type {kind} hook {hook} priority 0; {rule}; }}; }}"
        yield f'said=$(nft {shlex.quote(text)} 2>&1); told $? {module} "$said"'


def _ask(argv: Sequence[str], given: str) -> tuple[int, str]:
    environment = {**os.environ, "PATH": search_path(), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, input=given, capture_output=True, text=True, env=environment, timeout=_LIMIT, check=False
        )
    except FileNotFoundError:
        return 127, f"the program {argv[0]} is missing"
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, str(error)
    return done.returncode, done.stdout + (done.stderr if done.returncode else "")
