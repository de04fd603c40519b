"""From a preset to what the lab is asked to send."""

from __future__ import annotations

from kplab.course.lesson import Preset
from kplab.model.expression import parse_expression
from kplab.model.packet import ClientSpec, SendSpec


def send_spec(preset: Preset) -> SendSpec:
    """Return the packet or the client's exchange; ExpressionError for an expression that cannot be parsed."""
    if preset.client == "scapy":
        return parse_expression(preset.expression)
    return ClientSpec(client=preset.client, target=preset.expression)
