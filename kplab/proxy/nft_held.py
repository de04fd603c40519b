"""What a full sync finds in the kernel: chains, and the elements of sets and maps, of a kube-proxy before this one.

kube-proxy lists them as well, so that only what is wrong is touched, and clients that affinity sets remember are not
forgotten.
"""

from __future__ import annotations

from typing import Any

from kplab.modes.nft_writing import NOTHING, SERVICE_HOLDERS, ElementKey, NftHeld
from kplab.modes.nftables_names import own_chains, own_sets
from kplab.proxy.nft_tools import Listed, NftTools


def read_held(tools: NftTools) -> NftHeld:
    """Read what the table holds; one run of nft where there is no table, three where there is.

    Raises:
        ProgramError: nft is missing, or failed.

    """
    chains = tools.chains()
    if chains is None:
        return NOTHING
    return held_in(chains, [*tools.listed("sets"), *tools.listed("maps")])


def held_in(chains: frozenset[str], listed: Listed) -> NftHeld:
    """Put a table's listings together: the names of its chains, and its sets and maps as `nft -j` prints them."""
    bodies = [body for each in listed for body in each.values()]
    elements: dict[ElementKey, str] = {}
    for body in bodies:
        if body["name"] in SERVICE_HOLDERS:
            for element in body.get("elem", ()):
                key, verdict = element if isinstance(element, list) else (element, None)
                elements[body["name"], _key(key)] = _verdict(verdict)
    return NftHeld(elements, own_chains(chains), own_sets(body["name"] for body in bodies))


def _key(listed: Any) -> str:
    """Return a key as `add element` spells it: "10.96.0.20 . tcp . 80"."""
    if not isinstance(listed, dict):
        return str(listed)
    if "elem" in listed:
        return _key(listed["elem"]["val"])
    return " . ".join(str(part) for part in listed["concat"])


def _verdict(listed: dict[str, Any] | None) -> str:
    """Return "goto CHAIN", "drop", or "" in a set."""
    if listed is None:
        return ""
    ((verb, body),) = listed.items()
    return f"{verb} {body['target']}" if body else verb
