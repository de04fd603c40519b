"""The packet prompt: errors in their place, completion, history, clients; and keys that stay out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kplab.model.packet import ClientSpec, PacketSpec
from kplab.tui.asking import translate
from kplab.tui.widgets.prompt import PacketPrompt

if TYPE_CHECKING:
    from tests.tui.conftest import FakeSession, OpenStage

pytestmark = pytest.mark.tui


def column(text: str, part: str) -> int:
    """Return the column in which a part stands on the screen."""
    return next(row.index(part) for row in text.splitlines() if part in row)


async def test_an_error_points_at_its_character(stage: OpenStage, session: FakeSession) -> None:
    """The caret stands beneath the wrong field, with the reason beside it; nothing was sent."""
    async with stage() as s:
        await s.press("slash")
        await s.type('IP(dst="10.96.0.42")/TCP(dprot=80)')
        await s.press("enter")

        assert column(s.text(), "^^^^^ !") == column(s.text(), "dprot=80")
        assert "TCP has no field dprot" in s.text()
        assert "did you mean dport?" in s.text()
        assert session.sent == []

        await s.type("x")
        assert "^^^^^" not in s.text()


async def test_an_error_at_the_right_edge_is_still_told(stage: OpenStage) -> None:
    """Where there is no room behind the caret, the reason stands before it."""
    async with stage(size=(80, 24)) as s:
        await s.press("slash")
        await s.type('IP(dst="10.96.0.42")/TCP(dport=80, flags="S", window=100, zzz=1)')
        await s.press("enter")

        assert column(s.text(), "^^^") == column(s.text(), "zzz=1")
        assert "! TCP has no field zzz" in s.text()


async def test_layers_fields_and_service_names_are_completed(stage: OpenStage) -> None:
    """Tab takes the first; the others stand beside it."""
    async with stage() as s:
        await s.press("slash")
        await s.type("I")
        await s.press("tab")
        assert s.screen.query_one(PacketPrompt).text == "IP("
        await s.type("ds")
        await s.press("tab")
        await s.type("web")
        assert "Service demo/web" in s.text()

        await s.press("tab")

        assert s.screen.query_one(PacketPrompt).text.startswith('IP(dst="10.96.0.42"')


async def test_up_recalls_and_down_goes_on(stage: OpenStage, session: FakeSession) -> None:
    """What was sent comes back, the newest first."""
    async with stage() as s:
        for target in ("10.96.0.42", "10.96.0.10"):
            await s.press("slash", "ctrl+u")
            await s.type(f'IP(dst="{target}")')
            await s.press("enter")
        await s.press("slash", "up")
        prompt = s.screen.query_one(PacketPrompt)
        assert prompt.text == 'IP(dst="10.96.0.10")'
        await s.press("up")
        assert prompt.text == 'IP(dst="10.96.0.42")'

        await s.press("down")

        assert prompt.text == 'IP(dst="10.96.0.10")'
        assert [spec.expression for spec, _ in session.sent if isinstance(spec, PacketSpec)] == [
            'IP(dst="10.96.0.42")',
            'IP(dst="10.96.0.10")',
        ]


async def test_no_key_is_stolen_from_the_prompt(stage: OpenStage) -> None:
    """Every letter that is a key elsewhere is a letter here; Esc gives the keys back."""
    async with stage() as s:
        await s.press("slash")
        await s.keys("qnpsrhxcfevmwkuiy123 -+[]/?")

        assert s.screen.query_one(PacketPrompt).text == "qnpsrhxcfevmwkuiy123 -+[]/?"
        await s.press("escape", "k")
        assert "[ conntrack ]" in s.text()
        await s.press("tab")
        assert s.screen.query_one(PacketPrompt).entry.has_focus


async def test_c_changes_the_client_and_keeps_the_question(stage: OpenStage, session: FakeSession) -> None:
    """The address and port asked for go with it; curl follows a whole connection."""
    async with stage() as s:
        await s.press("slash")
        await s.type('IP(dst="10.96.0.42")/TCP(dport=8080)')
        await s.press("escape", "c")
        assert "curl> http://10.96.0.42:8080/" in s.text()
        await s.press("slash", "enter")
        assert session.sent[-1][0] == ClientSpec("curl", "http://10.96.0.42:8080/")

        await s.press("c")

        assert "tcp> 10.96.0.42:8080" in s.text()


async def test_a_clients_target_is_checked_like_an_expression(stage: OpenStage, session: FakeSession) -> None:
    """A wrong target is pointed at, with an example of a right one."""
    async with stage() as s:
        await s.press("c", "c", "slash", "ctrl+u")
        await s.type("10.96.0.42")
        await s.press("enter")

        assert "! this is not address:port: found 10.96.0.42" in s.text()
        assert session.sent == []


async def test_f_sends_it_again_from_elsewhere(stage: OpenStage, session: FakeSession) -> None:
    """A list of pods and nodes; the chosen one sends what is written."""
    async with stage() as s:
        await s.press("slash")
        await s.type('IP(dst="10.96.0.42")')
        await s.press("escape", "f", "down", "enter")
        await s.settle()

        assert [sender for _, sender in session.sent] == ["web-1"]
        assert "from web-1" in s.text()


async def test_examples_fill_the_prompt(stage: OpenStage) -> None:
    """`e` offers packets that are ready to be sent, with their client."""
    async with stage() as s:
        await s.press("e", "down", "enter")
        await s.settle()

        assert "curl> http://10.96.0.42/" in s.text()


@pytest.mark.parametrize(
    ("text", "client", "wanted"),
    [
        ('IP(dst="10.96.0.42")/TCP(dport=80)', "curl", "http://10.96.0.42/"),
        ('IPv6(dst="fd00::42")/TCP(dport=8080)', "tcp", "[fd00::42]:8080"),
        ("http://10.96.0.42:8080/x", "scapy", 'IP(dst="10.96.0.42")/TCP(dport=8080, flags="S")'),
        ("http://[fd00::42]/", "scapy", 'IPv6(dst="fd00::42")/TCP(dport=80, flags="S")'),
        ("half a packet(", "curl", "half a packet("),
    ],
)
def test_a_question_is_put_in_another_clients_words(text: str, client: str, wanted: str) -> None:
    """What says nothing about an address is left as it is."""
    assert translate(text, client) == wanted  # type: ignore[arg-type]  # a parametrised Literal
