"""nf_tables' "new generation" message, decoded: the ruleset was changed, and by whom.

Attributes are enum nft_gen_attributes of include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from kplab.capture.netlink import NetlinkMessage, attributes, number, text
from kplab.errors import CaptureError
from kplab.trace.events import RulesetChanged

NFT_MSG_NEWGEN = 15
_GEN_ID, _GEN_PROC_PID, _GEN_PROC_NAME = 1, 2, 3


def decode_new_generation(message: NetlinkMessage) -> RulesetChanged:
    """Return the event. `pid` is as the first process namespace counts it.

    Raises:
        CaptureError: it has no generation.
    """
    found = attributes(message.body)
    generation = number(found.get(_GEN_ID))
    if generation is None:
        raise CaptureError("a new-generation message has no generation", message.body.hex())
    program = found.get(_GEN_PROC_NAME)
    return RulesetChanged(
        generation=generation,
        pid=number(found.get(_GEN_PROC_PID)),
        program=text(program) if program else None,
    )
