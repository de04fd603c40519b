"""The plain face: a scripted student over plain streams, with a lab that is not there."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kplab.course.dialogue import Dialogue
from kplab.course.engine import LessonRun
from kplab.course.lesson import Lesson
from kplab.course.plain import run_plain
from kplab.course.plain_lines import journey_lines, prose
from kplab.model.journey import Journey
from kplab.session.base import ExecResult, LabPlan, Report, Step
from kplab.session.scripted import ScriptedSession

pytestmark = pytest.mark.unit


def _talk(lesson: Lesson, session: ScriptedSession, journey: Journey, typed: str, step_id: str = "address") -> str:
    run = LessonRun(lesson, None, lambda: 0.0)
    run.index = next(index for index, step in enumerate(lesson.steps) if step.id == step_id)
    out = io.StringIO()
    Dialogue(run, session, (io.StringIO(typed), out), lambda recording: journey).talk()
    return out.getvalue()


def test_predict_send_see_explain(lesson: Lesson, session: ScriptedSession, journey: Journey) -> None:
    """The order of a step: no packet before the answer, then the story, the verdict, the explanation, the next."""
    said = _talk(lesson, session, journey, "send\n2\nsend\nnext\nquit\n")
    places = [
        said.index(text)
        for text in (
            "Step 1 of 11: An address that nobody has",
            "Answer first",
            "You say: It rewrites the destination",
            "  8  node-a    DNAT         seen",
            "PASSED",
            "In PREROUTING, a rule with the target DNAT changed",
            "Step 2 of 11: Rule by rule",
            "Your progress is kept.",
        )
    ]
    assert places == sorted(places)
    assert len(session.sent) == 1


def test_a_wrong_answer_is_not_explained_away(lesson: Lesson, session: ScriptedSession, journey: Journey) -> None:
    """NOT YET, what was said, what happened; next is refused."""
    said = _talk(lesson, session, journey, "1\nsend\nnext\n")
    assert "NOT YET" in said
    assert "No program on node-a received this packet" in said
    assert "Not yet. Answer, then send the SYN" in said
    assert "In PREROUTING, a rule with the target DNAT" not in said


def test_the_end_of_input_ends_politely(lesson: Lesson, session: ScriptedSession, journey: Journey) -> None:
    """A pipe that runs dry is no error."""
    assert _talk(lesson, session, journey, "").endswith("\nYour progress is kept.\n")


def test_a_wrong_expression_is_pointed_at(lesson: Lesson, session: ScriptedSession, journey: Journey) -> None:
    """The caret stands under the part that is wrong, and the conversation goes on."""
    said = _talk(lesson, session, journey, 'IP(dst="10.96.0.42")/TPC(dport=80)\nsend IP(src=os)\n').splitlines()
    at = said.index('  IP(dst="10.96.0.42")/TPC(dport=80)')
    assert said[at + 1].index("^") == said[at].index("TPC")
    again = said.index("  send IP(src=os)")
    assert said[again + 1].index("^") == said[again].index("os")
    assert session.sent == []


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ('IP(dst="10.96.0.42")/ICMP()', [("IP/ICMP", "client")]),
        ('from web-1\nIP(dst="10.96.0.42")/ICMP()', [("IP/ICMP", "web-1")]),
        ("curl http://10.96.0.42/", [("curl http://10.96.0.42/", "client")]),
        ("udp 10.96.0.10:53", [("udp 10.96.0.10:53", "client")]),
        ("preset 3", [("IP/TCP", "web-1")]),
        ("from nowhere", []),
        ("curl", []),
        ("preset 99", []),
        ("7", []),
        ("dance", []),
    ],
)
def test_other_packets(
    lesson: Lesson, session: ScriptedSession, journey: Journey, typed: str, sent: list[tuple[str, str]]
) -> None:
    """A student may send what and from where they like."""
    _talk(lesson, session, journey, typed + "\n")
    found = [
        (
            "/".join(layer.name for layer in spec.layers)
            if hasattr(spec, "layers")
            else f"{spec.client} {spec.target}",
            by,
        )
        for spec, by in session.sent
    ]
    assert found == sent


def test_a_shell_without_a_terminal_is_a_line_at_a_time(
    lesson: Lesson, session: ScriptedSession, journey: Journey
) -> None:
    """Each line is a program run in the step's node; exit comes back to the lesson."""
    session.answer = lambda namespace, argv, stdin: ExecResult(0, f"{namespace} ran {argv[-1]}\n", "")
    said = _talk(lesson, session, journey, "shell\niptables -t nat -S\nexit\nshell client ip route\nquit\n", "repair")
    assert "node-a ran iptables -t nat -S" in said
    assert "client ran ip route" in said
    assert said.count("step 10> ") == 3


def test_hints_reset_steps_and_help(lesson: Lesson, session: ScriptedSession, journey: Journey) -> None:
    """Every command says something."""
    said = _talk(lesson, session, journey, "hint\nhint\nhint\nreset\nsteps\nhelp\nall\ncheck\nback\npresets\nagain\n")
    for text in ("Hint 1 of 2:", "No more hints.", "The step begins anew.", "you are here", "scapy expression",
                 "Nothing has been sent yet.", "nothing to check", "This is the first step.", "curl http"):  # fmt: skip
        assert text in said


def test_skipped_rules_are_folded_with_their_count(journey: Journey) -> None:
    """Eleven rules in one line, unless all are asked for."""
    folded = list(journey_lines(journey))
    unfolded = list(journey_lines(journey, everything=True))
    assert any(line.startswith("      11 rules tried before, and skipped; the last: ") for line in folded)
    assert sum(line.startswith("        not: ") for line in unfolded) == sum(len(hop.skipped) for hop in journey.hops)
    assert folded[-1] == f"Outcome: {journey.outcome}"


def test_prose_keeps_code_and_wraps_the_rest() -> None:
    """Commands stay whole, to be copied; emphasis marks go; items hang."""
    text = "One *two*\n`three` **four**.\n\n    iptables -t nat -S   # as it is\n\n- an item\n  of two lines\n- another"
    assert list(prose(text)) == [
        "One two three four.", "", "    iptables -t nat -S   # as it is", "", "- an item of two lines", "- another", "",
    ]  # fmt: skip


def test_run_plain_starts_a_lab_keeps_progress_and_ends_the_lab(
    session: ScriptedSession, journey: Journey, tmp_path: Path
) -> None:
    """From the command to the end: the lab's steps, the lesson, the progress of the next time."""
    plans: list[LabPlan] = []

    def start(plan: LabPlan, report: Report) -> ScriptedSession:
        plans.append(plan)
        report(Step("namespaces and links", done=True, seconds=0.1))
        return session

    environment = {"XDG_STATE_HOME": str(tmp_path)}
    for typed, expected in (("2\nsend\nnext\n", "Step 1 of 11"), ("", "Step 2 of 11")):
        out = io.StringIO()
        status = run_plain(
            "3", "legacy", io.StringIO(typed), out, start=start, tell=lambda recording: journey,
            environment=environment, clock=lambda: 0.0,
        )  # fmt: skip
        assert status == 0
        assert expected in out.getvalue()
        assert "Go on with: kplab start lesson-3 --plain" in out.getvalue()
    assert (plans[0].backend, plans[0].mode) == ("legacy", "iptables")
    assert session.closed
