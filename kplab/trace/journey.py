"""A recording -> the journey of its packet: the one function that every face calls.

The steps are apart: `correlate` finds the packets, `story` what is known of the nodes, `tell_packet`, `tell_life` and
`tell_chain` make the hops, `explain` and `explain_rules` their sentences, `outcome` the last one.
"""

from __future__ import annotations

from msgspec.structs import replace

from kplab.model.journey import Journey
from kplab.model.packet import ClientSpec
from kplab.trace.both_backends import both_backends
from kplab.trace.events import Lost, RulesetChanged
from kplab.trace.outcome import outcome_of
from kplab.trace.recording import Recording
from kplab.trace.story import Story, read_story
from kplab.trace.tell_ebpf import calls_at_end, calls_before
from kplab.trace.tell_packet import PacketTeller
from kplab.trace.tell_unseen import refusal, tell_unseen
from kplab.trace.tell_userspace import proxy_hops


def tell(recording: Recording) -> Journey:
    """Tell what happened to the packet, its answers and, for a real client, every packet of its connection."""
    story = read_story(recording)
    hops = [
        hop
        for packet in story.packets
        for hop in (*calls_before(story, packet), *proxy_hops(story, packet), *PacketTeller(story, packet).tell())
    ] or tell_unseen(story)
    hops += calls_at_end(story)
    numbered = tuple(replace(hop, n=n) for n, hop in enumerate(hops, 1))
    lost = [event.what.count for event in recording.events if isinstance(event.what, Lost)]
    reasons = _reasons(story, lost)
    return Journey(
        mode=recording.facts.mode,
        backend=recording.facts.backend,
        packet=_asked(recording),
        sender=recording.sender,
        complete=not reasons,
        incomplete_because="; ".join(reasons) or None,
        lost=-1 if any(count < 0 for count in lost) else sum(lost),
        outcome=outcome_of(story, hops),
        hops=numbered,
        disagreements=tuple(f"hop {hop.n}, {hop.node}: {hop.disagreement}" for hop in numbered if hop.disagreement),
        packets=len(story.packets),
        findings=both_backends(recording.nodes),
    )


def _asked(recording: Recording) -> str:
    spec = recording.spec
    return f"{spec.client} {spec.target}" if isinstance(spec, ClientSpec) else spec.expression


def _reasons(story: Story, lost: list[int]) -> list[str]:
    """Return why the story is incomplete, each reason once."""
    reasons = []
    if lost:
        sources = sorted({f"{e.what.source} in {e.node}" for e in story.recording.events if isinstance(e.what, Lost)})
        count = "an unknown number of" if any(number < 0 for number in lost) else str(sum(lost))
        reasons.append(f"{count} events were lost between the kernel and kplab ({', '.join(sources)})")
    changed = sorted({event.node for event in story.recording.events if isinstance(event.what, RulesetChanged)})
    if changed:
        reasons.append(f"the rules of {', '.join(changed)} changed while the packet was under way")
    if not story.packets and not refusal(story.recording):
        reasons.append("the packet was not seen on any link or in any trace")
    return list(dict.fromkeys([*reasons, *story.gaps]))
