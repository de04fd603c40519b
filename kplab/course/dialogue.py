"""The lesson as a conversation: a command a line in, lines of text out. Knows no terminal and starts no lab."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TextIO

from kplab.course.engine import LessonRun
from kplab.course.lesson import Preset
from kplab.course.live_parts import OpenShell, Tell
from kplab.course.plain_lines import journey_lines, preset_line, prose, question_lines, step_lines, verdict_lines
from kplab.course.presets import send_spec
from kplab.errors import ExpressionError, KplabError
from kplab.model.expression import parse_expression
from kplab.model.journey import Journey
from kplab.model.packet import Client, SendSpec
from kplab.session.base import Session

HELP = """\
  1, 2, …            answer the question
  send               send this step's packet
  IP(dst="…")/…      send a packet of your own, as a scapy expression
  curl URL           run curl; also: tcp ADDRESS:PORT, udp ADDRESS:PORT
  from POD           send your own packets from another pod, a node, or outside
  presets, preset N  packets that are ready to be sent
  all                the last story again, with every rule that was tried
  hint               the next hint
  check              judge what you mended
  shell [WHERE]      a shell in the lab, on the step's node unless you say where; exit leaves it
  shell WHERE CMD    one command there
  reset              begin this step anew; reset all: the whole lesson
  next, back, again  the next step, the one before, this one's text again
  steps              all steps, and which are passed
  quit               leave; your progress is kept"""


class Dialogue:
    """One conversation over one lesson, in one lab.

    `open_shell` gives the user a whole terminal in a namespace; None where there is none, and then a shell is a
    line at a time.
    """

    def __init__(
        self,
        run: LessonRun,
        session: Session,
        streams: tuple[TextIO, TextIO],
        tell: Tell,
        open_shell: OpenShell | None = None,
    ) -> None:
        self.run = run
        self.session = session
        self._in, self._out = streams
        self._tell = tell
        self._open_shell = open_shell
        self._sender: str | None = None
        self._last: Journey | None = None
        self._explained: set[str] = set()
        self._commands: dict[str, Callable[[str], None]] = {
            "send": self._send_step, "curl": self._send_curl, "tcp": self._send_tcp, "udp": self._send_udp,
            "from": self._from, "presets": self._presets, "preset": self._preset, "all": self._everything,
            "hint": self._hint, "check": self._check, "shell": self._shell, "reset": self._reset,
            "next": self._next, "back": self._back, "again": self._again, "steps": self._steps, "help": self._help,
        }  # fmt: skip

    def talk(self) -> bool:
        """Converse until quit or the end of input; return whether the whole lesson is passed."""
        self._enter()
        while (line := self._ask(f"step {self.run.index + 1}> ")) is not None:
            if line in {"quit", "exit", "q"}:
                break
            if line:
                self._obey(line)
        self._say("Your progress is kept." if not self.run.finished else "The lesson is finished. Well done.")
        return self.run.finished

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        try:
            if line.isdigit():
                self._answer(int(line))
            elif word in self._commands:
                self._commands[word](rest.strip())
            elif "(" in line:
                self._send_expression(line)
            else:
                self._say(f"{word} is not a command. Type help for those that are.")
        except ExpressionError as error:
            self._say(f"  {line}", f"  {' ' * (error.position + len(line) - len(self._typed(line)))}^", str(error))
        except KplabError as error:
            self._say(str(error))

    def _answer(self, number: int) -> None:
        question = self.run.step.question
        if question is None or not 1 <= number <= len(question.choices):
            self._say("There is no such answer here.")
            return
        if self.run.state.passed:
            self._say("This step is passed already; next goes on.")
            return
        choice = question.choices[number - 1]
        self.run.predict(choice.id)
        self._say(f"You say: {choice.label}. Now: send.")

    def _send_step(self, rest: str) -> None:
        if rest:
            self._send_expression(rest)
        elif self.run.step.preset is None:
            self._say("This step has no packet of its own. Type presets for some, or an expression.")
        elif not self.run.ready_to_send:
            self._say("Answer first: the number of what you think will happen.", *question_lines(self.run.step, None))
        else:
            self._send_preset(self.run.step.preset)

    def _send_expression(self, text: str) -> None:
        self._send(parse_expression(text), self._sender or self._usual_sender())

    def _send_curl(self, url: str) -> None:
        self._send_client("curl", url)

    def _send_tcp(self, target: str) -> None:
        self._send_client("tcp", target)

    def _send_udp(self, target: str) -> None:
        self._send_client("udp", target)

    def _send_client(self, client: Client, target: str) -> None:
        if not target:
            self._say(f"Say where to: {client} {'http://10.96.0.42/' if client == 'curl' else '10.96.0.42:80'}")
            return
        self._send_preset(Preset("", target, self._sender or self._usual_sender(), client))

    def _send_preset(self, preset: Preset) -> None:
        self._send(send_spec(preset), preset.sender)

    def _send(self, spec: SendSpec, sender: str) -> None:
        journey = self._tell(self.session.send(spec, sender))
        self._last = journey
        self._say(*journey_lines(journey))
        attempts = self.run.state.attempts
        verdict = self.run.saw(journey)
        if self.run.state.attempts > attempts:
            self._say("", *verdict_lines(verdict))
            self._explain()
        else:
            self._say(*verdict.missed)

    def _usual_sender(self) -> str:
        preset = self.run.step.preset or next(iter(self.run.lesson.presets), None)
        return preset.sender if preset else self.session.topology.namespaces[0].name

    def _from(self, name: str) -> None:
        places = [ns.name for ns in self.session.topology.namespaces if ns.role != "underlay"]
        if name not in places:
            self._say(f"Senders: {', '.join(places)}")
            return
        self._sender = name
        self._say(f"Your own packets are now sent from {name}.")

    def _presets(self, _: str) -> None:
        self._say(*(f"  {n}  {preset_line(preset)}" for n, preset in enumerate(self.run.lesson.presets, 1)))

    def _preset(self, number: str) -> None:
        presets = self.run.lesson.presets
        if not number.isdigit() or not 1 <= int(number) <= len(presets):
            self._presets("")
            return
        self._send_preset(presets[int(number) - 1])

    def _everything(self, _: str) -> None:
        self._say(*(journey_lines(self._last, everything=True) if self._last else ["Nothing has been sent yet."]))

    def _hint(self, _: str) -> None:
        hint = self.run.hint()
        count = len(self.run.step.hints)
        self._say(*(prose(f"Hint {self.run.state.hints_shown} of {count}: {hint}") if hint else ["No more hints."]))

    def _check(self, _: str) -> None:
        self._say(*verdict_lines(self.run.check(self.session)))
        self._explain()

    def _shell(self, rest: str) -> None:
        repair = self.run.step.repair
        where, _, command = rest.partition(" ")
        where = where or (repair.node if repair else "node-a")
        if self.session.topology.namespace(where) is None:
            self._say(f"There is no {where}. Try: shell node-a")
        elif command:
            self._execute(where, command.removeprefix("-- "))
        elif self._open_shell is not None:
            self._open_shell(self.session, where)
        else:
            self._shell_by_lines(where)

    def _shell_by_lines(self, where: str) -> None:
        self._say(f"Each line is run by a shell of its own in {where}; exit leaves it.")
        while (line := self._ask(f"{where}# ")) not in {None, "exit"}:
            if line:
                self._execute(where, line)

    def _execute(self, where: str, command: str) -> None:
        done = self.session.execute(where, ("sh", "-c", command))
        self._say(*done.stdout.splitlines(), *done.stderr.splitlines())
        if done.status != 0:
            self._say(f"(ended with status {done.status})")

    def _reset(self, what: str) -> None:
        if what == "all":
            self.run.restart(self.session)
            self._explained.clear()
            self._say("The lesson begins anew; its progress is forgotten.")
        else:
            self.run.reset(self.session)
            self._explained.discard(self.run.step.id)
            self._say("The step begins anew.")
        self._again("")

    def _next(self, _: str) -> None:
        if not self.run.can_advance:
            self._say(f"Not yet. {self.run.step.task}")
        elif self.run.advance():
            self._enter()
        else:
            self._say(
                "That was the last step." if self.run.finished else "That was the last step; steps says what is left."
            )

    def _back(self, _: str) -> None:
        if self.run.back():
            self._enter()
        else:
            self._say("This is the first step.")

    def _again(self, _: str) -> None:
        self._say(*step_lines(self.run))
        if self.run.state.passed:
            self._say("", *prose(self.run.step.explanation))

    def _steps(self, _: str) -> None:
        for n, (step, state) in enumerate(zip(self.run.lesson.steps, self.run.states, strict=True), 1):
            here = "  you are here" if n == self.run.index + 1 else ""
            self._say(f"  {n:>2}  {'passed' if state.passed else 'open':<6}  {step.title}{here}")

    def _help(self, _: str) -> None:
        self._say(HELP)

    def _enter(self) -> None:
        self.run.enter(self.session)
        self._say("", *step_lines(self.run))

    def _explain(self) -> None:
        """Say the step's explanation, once, when it is passed."""
        step = self.run.step
        if self.run.state.passed and step.id not in self._explained:
            self._explained.add(step.id)
            self._say("", *prose(step.explanation), "Type next to go on.")

    def _typed(self, line: str) -> str:
        """Return the part of a line that is a packet expression."""
        return line.removeprefix("send ").lstrip()

    def _ask(self, prompt: str) -> str | None:
        """Return the next line without blanks around it; None at the end of input."""
        self._out.write(prompt)
        self._out.flush()
        line = self._in.readline()
        if not line:
            self._say("")
            return None
        if not self._in.isatty():
            self._say(line.rstrip())
        return line.strip()

    def _say(self, *lines: str | Iterable[str]) -> None:
        for line in lines:
            self._out.write(f"{line}\n")
        self._out.flush()
