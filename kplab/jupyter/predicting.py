"""A question that the next journey answers: choices that claim hops, as in lessons, and the kernel's verdict."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from kplab.course.expect import Written, expectation
from kplab.course.grading import Verdict, grade_prediction, off_topic
from kplab.course.lesson import About, Choice, Claim, Grade, LessonStep, Question
from kplab.errors import UsageError
from kplab.jupyter.progress import Shown, in_notebook
from kplab.model.journey import Journey
from kplab.model.topology import Topology

Hops = Sequence[Mapping[str, Written]]
"""Patterns of hops that must come in this order; docs/lessons.md has the language."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Prediction:
    """A question with choices. At the end of a cell it asks: by buttons in a live notebook, else by `answer`."""

    def __init__(self, prompt: str, claims: Mapping[str, Mapping[str, Any]], about: About) -> None:
        """`claims` maps each choice's label to its `hops`, `never` and `why`. Raises UsageError for one ill-formed."""
        if not 2 <= len(claims) <= len(LETTERS):
            raise UsageError("ask for a prediction", f"it has {len(claims)} choices", "Give two choices or more")
        choices = tuple(Choice(LETTERS[n], label) for n, label in enumerate(claims))
        made = tuple(_claim(choice, claims[choice.label]) for choice in choices)
        self._step = LessonStep(
            id="prediction", title="", kind="predict", text="", task="", question=Question(prompt, choices),
            grade=Grade(about, claims=made),
        )  # fmt: skip
        self.answer: str | None = None
        """The letter of the choice that was made."""
        self.verdict: Verdict | None = None
        """What the kernel said of it; None before a journey was seen."""
        self._graded: str | None = None
        self._reminded = False

    @property
    def prompt(self) -> str:
        """What is asked."""
        return self._question.prompt

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The answers, with their letters as `id`."""
        return self._question.choices

    @property
    def _question(self) -> Question:
        assert self._step.question is not None  # noqa: S101 - made with one
        return self._step.question

    def say(self, answer: str) -> Shown:
        """Choose, by letter or by the choice's own words, which are returned; may be changed until it was right.

        Raises:
            UsageError: there is no such choice.
        """
        found = next((c for c in self.choices if answer in (c.id, c.label)), None)
        if found is None:
            letters = ", ".join(choice.id for choice in self.choices)
            raise UsageError(f"answer {answer!r}", "there is no such choice", f"One of {letters}")
        self.answer = found.id
        return _remark(f"You said: {found.id}) {found.label}")

    def asked_again(self, before: Prediction) -> None:
        """Keep the answer to the same question that no journey has graded yet: its cell was only run once more.

        A click on an answer makes that cell the current one, so the next Shift-Enter runs it again.
        """
        if before.verdict is None and (before.prompt, before.choices) == (self.prompt, self.choices):
            self.answer = before.answer

    def saw(self, journey: Journey) -> Shown | None:
        """Grade the answer by a journey; return what the student reads, if there is anything new to be said."""
        reasons = off_topic(self._step.grade.about, journey)
        if self.answer is None:
            if reasons or self._reminded:
                return None
            self._reminded = True
            return _remark("You have not answered yet. Choose, then send the packet again.")
        if self.answer == self._graded:
            return None
        if reasons:
            return _remark(reasons[0])
        self._graded = self.answer
        self.verdict = grade_prediction(self._step, self.answer, journey)
        return shown_verdict(self.verdict)

    @property
    def done(self) -> bool:
        """Whether it was answered rightly."""
        return self.verdict is not None and self.verdict.passed

    def __repr__(self) -> str:
        lines = [self.prompt, *(f"  {choice.id}) {choice.label}" for choice in self.choices)]
        return "\n".join([*lines, f"  you said: {self.answer}"] if self.answer else lines)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        rows = "".join(f"<li>{escape(choice.label)}</li>" for choice in self.choices)
        said = f"<p>You said: {self.answer}</p>" if self.answer else ""
        html = (
            f'<div><p><b>{escape(self.prompt)}</b></p><ol style="list-style-type:lower-alpha">{rows}</ol>{said}</div>'
        )
        display(Shown(html, repr(self)))  # type: ignore[no-untyped-call]
        if in_notebook() and self.verdict is None:
            self._show_buttons()

    def _show_buttons(self) -> None:
        """Offer the letters to be clicked; without ipywidgets, say how to answer."""
        from IPython.display import display

        try:
            from ipywidgets import ToggleButtons
        except ImportError:
            display(_remark('Answer with lab.answer("a"), then send the packet.'))  # type: ignore[no-untyped-call]
            return
        buttons = ToggleButtons(
            options=[choice.id for choice in self.choices], value=self.answer, description="Your answer:"
        )
        buttons.observe(lambda change: self.say(change["new"]) if change["new"] else None, names="value")
        display(buttons)  # type: ignore[no-untyped-call]


def _remark(text: str) -> Shown:
    return Shown(f"<p><i>{escape(text)}</i></p>", text)


def shown_verdict(verdict: Verdict) -> Shown:
    """Return a verdict as it is read: what was found, and what was missed."""
    mark, colour = ("✓", "#2ca02c") if verdict.passed else ("✗", "#d62728")
    lines = [*verdict.lines, *verdict.missed]
    head, *rest = lines or ["nothing was found"]
    body = "".join(f"<div>{escape(line)}</div>" for line in rest)
    html = f'<div style="border-left:4px solid {colour};padding-left:8px"><b>{mark} {escape(head)}</b>{body}</div>'
    return Shown(html, "\n".join([f"{mark} {head}", *(f"  {line}" for line in rest)]))


def read_claims(
    choices: Sequence[str] | Mapping[str, Hops | Mapping[str, Any]], topology: Topology
) -> dict[str, Mapping[str, Any]]:
    """Return each choice's claim; names of pods and of chains claim for themselves.

    Raises:
        UsageError: a choice is neither a name that the kernel's trace could hold, nor has hops.
    """
    if isinstance(choices, Mapping):
        return {label: claim if isinstance(claim, Mapping) else {"hops": claim} for label, claim in choices.items()}
    pods = {ns.name for ns in topology.namespaces if ns.role == "pod"}
    found: dict[str, Mapping[str, Any]] = {}
    for name in choices:
        if name in pods:
            found[name] = {"hops": [{"kind": "delivered", "direction": "request", "node": name}]}
        elif name.upper() == name and name.strip():
            found[name] = {"hops": [{"chain": name}]}
        else:
            raise UsageError(
                f"ask whether it is {name!r}", "it is no pod of this lab and no chain's name",
                'Say what the kernel would do: {"a label": [{"kind": "DNAT", "node": "node-a"}], …}',
            )  # fmt: skip
    return found


def _claim(choice: Choice, told: Mapping[str, Any]) -> Claim:
    unknown = sorted(set(told) - {"hops", "never", "why"})
    try:
        if unknown or not (told.get("hops") or told.get("never")):
            raise ValueError(f"{unknown[0]} is not known" if unknown else "it claims nothing: hops or never")
        return Claim(choice.id, expectation(told.get("hops", ()), told.get("never", ())), told.get("why", ""))
    except ValueError as error:
        raise UsageError(
            f"read the choice {choice.label!r}", str(error), "docs/lessons.md has the language of hops"
        ) from None


def show(shown: object) -> None:
    """Display something beside a cell's own value; in plain Python nothing is shown."""
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from IPython.display import display

        display(shown)  # type: ignore[no-untyped-call]
