"""A student who works through a lesson over the plain face: predicts wrong once, then right; mends by hand."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Generator, Iterator

from kplab.course.lesson import Lesson, LessonStep
from kplab.course.load import solution_answers

Mending = Generator[str, str, None]
"""Yields what is typed in a shell on node-a, a line each, and is sent what that printed."""

SENDS_AT_MOST = 60


def mend_nftables() -> Mending:
    """Find the Service's chain, and lead its address to it again."""
    printed = yield "nft list table ip kube-proxy | grep 'chain service-.*demo/web/'"
    chain = re.findall(r"chain (service-\S+)", printed)[-1]
    yield f"nft add element ip kube-proxy service-ips '{{ 10.96.0.42 . tcp . 80 : goto {chain} }}'"


def mend_maps() -> Mending:
    """Find the backend that no pod is, and write web-3's address over it."""
    backends = "/run/kplab/bpf/node-a/cilium_lb4_backends_v3"
    printed = yield f"bpftool map dump pinned {backends} | grep '0a f4 02 63'"
    key = re.findall(r"key: ((?:[0-9a-f]{2} ){4})", printed)[-1]
    yield f"bpftool map update pinned {backends} key hex {key}value hex 0a f4 02 0a 1f 90 06 00 00 00 00 00"


def mend_ipvs_address() -> Mending:
    """Give the address back to kube-ipvs0, and web-3 its weight."""
    yield "ip address add 10.96.0.42/32 dev kube-ipvs0"
    yield "ipvsadm -e -t 10.96.0.42:80 -r 10.244.2.10:8080 -m -w 1"


def mend_ipvs_leftover() -> Mending:
    """Take away each jump to iptables mode's chain, as `iptables -S` prints it, then the chain."""
    printed = yield "iptables -S | grep -e '-j KUBE-EXTERNAL-SERVICES'"
    for jump in re.findall(r"^-A ((?:INPUT|FORWARD) .*)$", printed, re.MULTILINE):
        yield f"iptables -D {jump.strip()}"
    yield "iptables -F KUBE-EXTERNAL-SERVICES"
    yield "iptables -X KUBE-EXTERNAL-SERVICES"


MENDINGS: dict[tuple[str, str], Callable[[], Mending]] = {
    ("lesson-7", "address"): mend_ipvs_address,
    ("lesson-7", "leftover"): mend_ipvs_leftover,
    ("lesson-12", "repair"): mend_nftables,
    ("lesson-13", "repair"): mend_maps,
}
"""A lesson's id and a step's, to how it is mended."""


def wrong_and_right(lesson: Lesson, step: LessonStep) -> tuple[int, int]:
    """Return the numbers, from 1, of the first answer that is wrong and of the one that is right."""
    assert step.question is not None
    ids = [choice.id for choice in step.question.choices]
    right = ids.index(solution_answers(lesson)[step.id])
    return (2 if right == 0 else 1), right + 1


class PlainStudent(io.StringIO):
    """Types a line when one is asked for, and reads what has been printed so far."""

    def __init__(self, lesson: Lesson, screen: io.StringIO) -> None:
        super().__init__()
        self.lesson = lesson
        self.screen = screen
        self.lines = self.work()

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        """Return the next line to be typed, or nothing when the student has finished."""
        return next(self.lines, "")

    def work(self) -> Iterator[str]:
        """Work through every step."""
        for step in self.lesson.steps:
            if step.question is not None:
                for answer in wrong_and_right(self.lesson, step):
                    yield f"{answer}\n"
                    yield "send\n"
            elif step.kind == "send":
                yield from self.send_until_passed()
            elif step.kind == "repair":
                yield from self.mend(MENDINGS[self.lesson.id, step.id]())
            yield "next\n"
        yield "steps\n"

    def send_until_passed(self) -> Iterator[str]:
        """Send again and again, up to a limit."""
        before = self.screen.getvalue().count("PASSED")
        for _ in range(SENDS_AT_MOST):
            if self.screen.getvalue().count("PASSED") > before:
                return
            yield "send\n"

    def mend(self, mending: Mending) -> Iterator[str]:
        """Have it checked, mend it in a shell on node-a, have it checked again."""
        yield "check\n"
        yield "shell node-a\n"
        line = next(mending)
        while line:
            seen = len(self.screen.getvalue())
            yield f"{line}\n"
            try:
                line = mending.send(self.screen.getvalue()[seen:])
            except StopIteration:
                line = ""
        yield "exit\n"
        yield "check\n"


def assert_finished(lesson: Lesson, said: str) -> None:
    """Assert that every step was passed, and that each was not passed at first where it can be wrong."""
    kinds = [step.kind for step in lesson.steps]
    assert said.count("PASSED") == len(kinds) - kinds.count("read"), said[-4000:]
    assert said.count("NOT YET") >= kinds.count("predict") + kinds.count("repair"), said[-4000:]
    assert "The lesson is finished." in said
    assert "DISAGREE" not in said
