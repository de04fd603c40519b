"""The keys of the lesson screen, in one list: help, the command palette and the tests read it too."""

from __future__ import annotations

from textual.binding import Binding

PLAY = (
    Binding("space", "toggle_play", "play / pause", id="play.toggle", tooltip="Play, or pause"),
    Binding("right", "hop(1)", "next hop", id="play.hop-on", tooltip="Go to the next hop"),
    Binding("left", "hop(-1)", "hop before", id="play.hop-back", tooltip="Go back a hop"),
    Binding("shift+right", "rule(1)", "next rule", id="play.rule-on", tooltip="Go to the next tried rule"),
    Binding("shift+left", "rule(-1)", "rule before", id="play.rule-back", tooltip="Go back a tried rule"),
    Binding("home", "home", "first hop", id="play.home", tooltip="Go to the beginning"),
    Binding("end", "end", "last hop", id="play.end", tooltip="Go to the end"),
    Binding(
        "plus,equals_sign,right_square_bracket",
        "faster(1)",
        "faster",
        id="play.faster",
        tooltip="Play faster, up to 8x",
    ),
    Binding(
        "minus,left_square_bracket", "faster(-1)", "slower", id="play.slower", tooltip="Play slower, down to 0.25x"
    ),
)

PACKET = (
    Binding("slash,tab", "write", "write a packet", id="packet.write", tooltip="Go to the packet prompt"),
    Binding("enter", "send", "send", id="packet.send", tooltip="Send what stands in the prompt"),
    Binding("e,f3", "examples", "examples", id="packet.examples", tooltip="Choose an example to send"),
    Binding(
        "f", "elsewhere", "send from elsewhere", id="packet.elsewhere", tooltip="Send it again from another pod or node"
    ),
    Binding("c", "client", "other client", id="packet.client", tooltip="Change between scapy, curl, tcp and udp"),
    Binding("d", "beside", "other mode", id="packet.beside", tooltip="The same packet through another mode too"),
)

TABLES = (
    Binding("w", "tab('walk')", "walk", id="tab.walk", tooltip="Show the walk"),
    Binding("k", "tab('conntrack')", "conntrack", id="tab.conntrack", tooltip="Show the conntrack entries"),
    Binding("u", "tab('rules')", "rules", id="tab.rules", tooltip="Browse all rules"),
    Binding("l", "tab('lookup')", "lookup", id="tab.lookup", tooltip="Show what a map or IPVS was asked"),
    Binding("i", "tab('wire')", "wire", id="tab.wire", tooltip="Show what was on each link"),
    Binding("o", "unfold", "unfold", id="walk.toggle", tooltip="Show or hide the skipped rules"),
    Binding("v", "live", "live conntrack", id="conntrack.live", tooltip="Conntrack as it is now, or as of the hop"),
    Binding("y", "why", "all of this hop", id="hop.why", tooltip="The sentence in full, the rule verbatim, headers"),
    Binding("m", "look", "look inside", id="map.look", tooltip="Addresses, routes and tables of a box"),
)

LESSON = (
    Binding("h", "hint", "hint", id="lesson.hint", tooltip="Show the next hint"),
    Binding("r", "reset", "reset the step", id="lesson.reset", tooltip="Begin the step anew"),
    Binding("n", "advance", "next step", id="lesson.next", tooltip="Go to the next step"),
    Binding("p", "back", "step before", id="lesson.back", tooltip="Go to the step before"),
    Binding("pagedown", "page(1)", "read on", id="lesson.on", tooltip="Scroll the lesson's text"),
    Binding("pageup", "page(-1)", "read back", id="lesson.up", tooltip="Scroll the lesson's text back"),
    Binding("s", "shell", "shell", id="lesson.shell", tooltip="Open a shell in the lab"),
    Binding("x", "check", "check", id="lesson.check", tooltip="Check the repair"),
    Binding("f2", "side", "lesson / picture", id="lesson.side", tooltip="Lesson or picture, on a narrow screen"),
    *(
        Binding(
            str(n), f"answer({n - 1})", f"answer {n}", show=False, id=f"lesson.answer-{n}", tooltip=f"Choose answer {n}"
        )
        for n in range(1, 10)
    ),
)

ALWAYS = (
    Binding("question_mark,f1", "help", "help", id="help", tooltip="What am I looking at?"),
    Binding("q", "app.quit", "quit", id="quit", tooltip="End the lab and leave"),
)

KEYS = (*PLAY, *PACKET, *TABLES, *LESSON, *ALWAYS)


def keys_text() -> str:
    """Return all keys as a Markdown list."""
    rows = []
    for title, bindings in (
        ("Play", PLAY), ("Packet", PACKET), ("Tables", TABLES), ("Lesson", LESSON), ("Always", ALWAYS)
    ):  # fmt: skip
        shown = [b for b in bindings if b.show]
        rows.append(f"**{title}**  " + " · ".join(f"`{_name(b.key)}` {b.description}" for b in shown))
    return "\n\n".join([*rows, "`1`-`9` answer · `ctrl+p` all commands"])


_NAMES = {
    "plus": "+", "minus": "-", "equals_sign": "=", "right_square_bracket": "]", "left_square_bracket": "[",
    "slash": "/", "question_mark": "?", "right": "→", "left": "←", "shift+right": "⇧→", "shift+left": "⇧←",
    "enter": "⏎", "pagedown": "PgDn", "pageup": "PgUp",
}  # fmt: skip


def _name(key: str) -> str:
    return " ".join(_NAMES.get(one, one) for one in key.split(","))
