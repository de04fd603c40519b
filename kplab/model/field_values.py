"""Whether a literal can be the value of a layer's field, and if not, what was expected."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address

from kplab.model.layers import IP_FLAG_LETTERS, TCP_FLAG_LETTERS
from kplab.model.packet import Literalish, Octets


def check_value(kind: str, value: Literalish) -> str | None:
    """Return what is wrong with `value` for a field of this kind, or None when it will do."""
    match kind:
        case "ip4" | "ip6":
            return _address(kind, value)
        case "flags":
            return _flags(value)
        case "bytes":
            return None if isinstance(value, str | Octets) else "text or bytes are expected"
        case "options":
            return None if _is_pairs(value) else 'a list of (name, value) is expected, like [("MSS", 1460)]'
        case "addresses":
            return None if isinstance(value, list) and not any(_address("ip6", v) for v in value) else "IPv6 addresses"
        case _:
            return _number(int(kind[1:]), value)


def _address(kind: str, value: Literalish) -> str | None:
    version = "IPv4" if kind == "ip4" else "IPv6"
    if not isinstance(value, str):
        return f"an {version} address in quotes is expected"
    try:
        _ = IPv4Address(value) if kind == "ip4" else IPv6Address(value)
    except AddressValueError as problem:
        other = "; for IPv6 begin with IPv6(dst=…)" if kind == "ip4" and ":" in value else ""
        return f"an {version} address is expected ({problem}){other}"
    return None


def _number(bits: int, value: Literalish) -> str | None:
    largest = (1 << bits) - 1
    if isinstance(value, bool) or not isinstance(value, int):
        return f"a number from 0 to {largest} is expected"
    return None if 0 <= value <= largest else f"a number from 0 to {largest} is expected"


def _flags(value: Literalish) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return None if 0 <= value < 512 else "a number from 0 to 511 is expected"
    if not isinstance(value, str):
        return f"flags are letters out of {TCP_FLAG_LETTERS} in quotes, like 'S' or 'SA'"
    if value in ("", *IP_FLAG_LETTERS):
        return None
    unknown = [letter for letter in value if letter not in TCP_FLAG_LETTERS]
    if unknown:
        return f"{unknown[0]!r} is no flag; TCP's are {TCP_FLAG_LETTERS}, IP's {', '.join(IP_FLAG_LETTERS)}"
    return None


def _is_pairs(value: Literalish) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str | int) for pair in value
    )
