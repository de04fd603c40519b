"""An nftables rule's two halves: what it asks for, and what it does."""

from __future__ import annotations

import re

_COMMENT = re.compile(r'\s*\bcomment "[^"]*"')
_STATEMENT = re.compile(
    r"(?:^|(?<=\s))(?:accept|drop|return|continue|reject|masquerade|jump|goto|dnat|snat|redirect|vmap|counter|log|notrack|"
    r"(?:meta |ct )?mark set|(?:add|update|delete) @)(?![\w-])"
)
_GOES = re.compile(r"^(?:jump|goto) (\S+)$")


def halves(rule: str) -> tuple[str, str]:
    """Split a rule as `nft list` prints it, without its comment, where its first statement begins.

    Returns the condition ("" when it matches everything) and the action ("count only" when there is none).
    """
    text = _COMMENT.sub("", rule).strip()
    begin = _STATEMENT.search(text)
    if begin is None:
        return text, "count only"
    action = text[begin.start() :].strip()
    gone = _GOES.match(action)
    if gone is not None:
        action = f"→ {gone[1]}" + (" (goto)" if action.startswith("goto") else "")
    return text[: begin.start()].strip(), action
