"""The user's end of the channel: answers find their questions, and nobody hangs when the agent goes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from kplab.errors import GuardError, LabError, ProtocolError
from kplab.protocol.frames import agent_side, encode
from kplab.protocol.messages import (
    Done,
    ExecDone,
    Failed,
    Progress,
    ShellData,
    ShellEnded,
    Status,
    ToAgent,
    ToUser,
    Welcome,
)
from kplab.session.channel import Channel, error_of
from kplab.session.live import LiveShell, ask

pytestmark = pytest.mark.unit

LIMIT = 5.0


class FakeAgent:
    """The other end: answers each request with what a test says."""

    def __init__(self) -> None:
        ours, self.socket = socket.socketpair()
        self.channel = Channel(ours, lambda: "it was killed by signal 9")
        self._decoder = agent_side()

    def receive(self) -> ToAgent:
        """Wait for one request."""
        while True:
            for message in self._decoder.feed(self.socket.recv(65536)):
                return message

    def say(self, *messages: ToUser) -> None:
        """Send messages."""
        self.socket.sendall(b"".join(encode(each) for each in messages))

    def serve(self, answer: Callable[[ToAgent], None]) -> threading.Thread:
        """Answer one request, in a thread."""
        thread = threading.Thread(target=lambda: answer(self.receive()))
        thread.start()
        return thread


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    """A channel with a fake agent behind it."""
    fake = FakeAgent()
    yield fake
    fake.channel.close()
    fake.socket.close()


def test_progress_comes_before_the_answer(agent: FakeAgent) -> None:
    """What is said on the way goes to `progress`; the answer ends the wait."""
    seen: list[str] = []
    thread = agent.serve(
        lambda r: agent.say(
            Progress(id=r.id, step="a", done=True, seconds=0),
            Progress(id=0, step="x", done=True, seconds=0),
            Done(id=r.id),
        )
    )

    answer = agent.channel.ask(Status(), LIMIT, lambda message: seen.append(message.step))

    thread.join()
    assert isinstance(answer, Done)
    assert seen == ["a"]


def test_answers_find_their_questions_out_of_order(agent: FakeAgent) -> None:
    """Two threads ask; the answers come the other way round; each gets its own."""
    answers: dict[str, ToUser] = {}

    def question(name: str) -> None:
        answers[name] = agent.channel.ask(Status(), LIMIT)

    first = threading.Thread(target=question, args=("first",))
    first.start()
    one = agent.receive()
    second = threading.Thread(target=question, args=("second",))
    second.start()
    two = agent.receive()
    agent.say(ExecDone(id=two.id, status=2, stdout="", stderr=""), ExecDone(id=one.id, status=1, stdout="", stderr=""))
    first.join()
    second.join()

    assert [answers[name].status for name in ("first", "second")] == [1, 2]  # type: ignore[union-attr]


def test_an_agents_error_is_raised_as_its_own_class(agent: FakeAgent) -> None:
    """A Failed message becomes the class of that name, with its three texts."""
    thread = agent.serve(lambda r: agent.say(Failed(id=r.id, error="GuardError", tried="a", happened="b", hint="c")))

    with pytest.raises(GuardError) as caught:
        agent.channel.ask(Status(), LIMIT)

    thread.join()
    assert (caught.value.tried, caught.value.happened, caught.value.hint) == ("a", "b", "c")


@pytest.mark.parametrize("name", ["SystemExit", "KplabError.__init__", "annotations", ""])
def test_only_our_own_errors_can_be_named(name: str) -> None:
    """A name that is not one of our error classes becomes a LabError."""
    assert type(error_of(Failed(error=name, tried="", happened="", hint=""))) is LabError


def test_an_agent_that_dies_is_told_to_whoever_waits(agent: FakeAgent) -> None:
    """The end of the channel ends the wait, with what the agent said last."""
    thread = agent.serve(lambda _: agent.socket.shutdown(socket.SHUT_RDWR))

    with pytest.raises(ProtocolError, match="killed by signal 9"):
        agent.channel.ask(Status(), LIMIT)

    thread.join()
    with pytest.raises(ProtocolError, match="agent has gone"):
        agent.channel.ask(Status(), LIMIT)


def test_garbage_ends_the_channel(agent: FakeAgent) -> None:
    """An agent that talks nonsense is as good as gone; the reason is kept."""
    thread = agent.serve(lambda _: agent.socket.sendall(b"\xff\xff\xff\xff"))

    with pytest.raises(ProtocolError, match="announces"):
        agent.channel.ask(Status(), LIMIT)
    thread.join()


def test_silence_has_a_limit(agent: FakeAgent) -> None:
    """A question that is not answered is given up, and its late answer disturbs nobody."""
    with pytest.raises(ProtocolError, match="not answered within"):
        agent.channel.ask(Status(), 0.05)

    late = agent.receive()
    agent.say(Done(id=late.id))
    thread = agent.serve(lambda r: agent.say(Welcome(id=r.id)))
    assert isinstance(agent.channel.ask(Status(), LIMIT), Welcome)
    thread.join()


def test_closing_ends_every_wait_and_may_be_done_twice(agent: FakeAgent) -> None:
    """A closed session says so to those who wait, and to those who come later."""
    caught: list[ProtocolError] = []

    def question() -> None:
        try:
            agent.channel.ask(Status(), LIMIT)
        except ProtocolError as error:
            caught.append(error)

    thread = threading.Thread(target=question)
    thread.start()
    agent.receive()
    agent.channel.close()
    agent.channel.close()
    thread.join(LIMIT)

    assert "session is closed" in str(caught[0])
    with pytest.raises(ProtocolError, match="closed"):
        agent.channel.tell(Status())


def test_another_answer_than_expected_is_a_protocol_error(agent: FakeAgent) -> None:
    """An agent that answers with the wrong type is not believed."""
    thread = agent.serve(lambda r: agent.say(Welcome(id=r.id)))

    with pytest.raises(ProtocolError, match="Welcome"):
        ask(agent.channel, Status(), Done, LIMIT)
    thread.join()


def test_a_shell_keeps_what_it_printed_after_its_end(agent: FakeAgent) -> None:
    """`read` gives everything that was printed; only then has the shell `ended`."""
    shell = LiveShell(agent.channel)
    agent.say(
        ShellData(id=shell.number, data=b"one "), ShellData(id=shell.number, data=b"two"), ShellEnded(id=shell.number)
    )

    printed = b""
    while not shell.ended:
        printed += shell.read(LIMIT)

    assert printed == b"one two"
    assert shell.read(LIMIT) == b""


def test_a_shell_ends_with_its_lab(agent: FakeAgent) -> None:
    """When the agent goes, a shell that is being read ends rather than hangs; typing into it is no error."""
    shell = LiveShell(agent.channel)
    agent.socket.close()

    assert shell.read(LIMIT) == b""
    assert shell.ended
    shell.write(b"x")
    shell.close()
