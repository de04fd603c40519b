"""Running modes for `kplab compare`: a limit of time, an end that is asked for, and what a failed one says."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kplab.cli import compare as command
from kplab.cli.compare import read_options
from kplab.cli.report import ExitCode
from kplab.errors import LabError, ProtocolError, UsageError
from kplab.model.packet import ClientSpec, SendSpec
from kplab.session.base import ExecResult, LabPlan, Report, Session, Step
from kplab.session.replay import ReplaySession
from kplab.session.runs import OverdueError, Runs
from kplab.trace.compare import Comparison
from kplab.trace.file import read_trace
from kplab.trace.recording import Recording

pytestmark = pytest.mark.unit

TRACE = Path(__file__).parents[2] / "data" / "recordings" / "lab-nft-other-node.kptrace"
SPEC = ClientSpec("curl", "http://10.96.0.42")
PLAN = LabPlan(manifest="")


@dataclass
class Lab(ReplaySession):
    """Answers with the recording, or hangs until it is closed."""

    hangs: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__(read_trace(TRACE))
        self.hangs, self.closed = hangs, threading.Event()

    def send(self, spec: SendSpec, sender: str) -> Recording:
        """Return the recording; one that hangs ends as a closed channel does."""
        if self.hangs:
            assert self.closed.wait(10)
            raise ProtocolError("ask the lab (Send)", "the agent has gone")
        return self.recording

    def execute(self, namespace: str, argv: tuple[str, ...], stdin: str = "") -> ExecResult:
        """Time three rounds."""
        return ExecResult(0, '{"nanoseconds": [1000, 2000, 3000], "from_call": [2000, 3000, 4000], "missed": 0}', "")

    def close(self) -> None:
        """End."""
        self.closed.set()


def runs(lab: Session, limit: float = 60.0) -> Runs:
    """Runs whose labs are all this one; its building has one step."""

    def start(plan: LabPlan, told: Report) -> Session:
        assert plan.until is not None
        assert 0 < plan.until - time.monotonic() <= limit
        told(Step("links", False, 0.0))
        return lab

    return Runs(limit, start)


def test_a_lab_is_closed_when_its_work_is_done() -> None:
    """What it saw is told; inside the block it stands."""
    lab = Lab()
    said: list[str] = []

    with runs(lab).lab(PLAN, SPEC, "client", said.append) as ran:
        assert len(ran.journey.hops) > 10
        assert not lab.closed.is_set()

    assert lab.closed.is_set()
    assert said == ["building a lab", "links", "sending the packet", "timing connections"]


def test_a_mode_that_takes_too_long_says_so_and_where_it_was() -> None:
    """At the limit the lab is closed; the reason names the limit and what was being done."""
    lab = Lab(hangs=True)

    with pytest.raises(OverdueError) as told, runs(lab, 0.05).lab(PLAN, SPEC, "client"):
        pytest.fail("it hangs")

    assert lab.closed.is_set()
    assert str(told.value).splitlines()[0] == "it was not done within 0.05 s: it was at: sending the packet"
    assert "--limit" in told.value.hint


def test_a_mode_that_fails_by_itself_says_its_own_reason() -> None:
    """Only what the limit ended is put down to the limit."""

    def start(plan: LabPlan, told: Report) -> Session:
        raise LabError("build the lab", "no such module")

    with pytest.raises(LabError, match="no such module"), Runs(60, start).lab(PLAN, SPEC, "client"):
        pytest.fail("it cannot be built")


def test_stop_ends_the_lab_that_stands_and_begins_no_other() -> None:
    """Whoever waits for it is told that it was interrupted; the next one is not built further than its first step."""
    lab = Lab(hangs=True)
    mine = runs(lab)
    threading.Timer(0.05, mine.stop).start()

    with pytest.raises(OverdueError, match="it was interrupted"), mine.lab(PLAN, SPEC, "client"):
        pytest.fail("it hangs")
    with pytest.raises(OverdueError, match="it was interrupted"), mine.lab(PLAN, SPEC, "client"):
        pytest.fail("it was stopped")

    assert lab.closed.is_set()


@pytest.mark.parametrize(
    ("modes", "backends", "columns"),
    [
        ("iptables", "nft,legacy", [("iptables", "nft"), ("iptables", "legacy")]),
        ("iptables,iptables-legacy", "nft", [("iptables", "nft"), ("iptables", "legacy")]),
        ("iptables-legacy,iptables-nft", "nft", [("iptables", "legacy"), ("iptables", "nft")]),
        ("nftables,iptables,nftables", "legacy", [("nftables", "legacy"), ("iptables", "legacy")]),
    ],
)
def test_iptables_has_a_column_for_each_back_end(modes: str, backends: str, columns: list[tuple[str, str]]) -> None:
    """Both back-ends are columns side by side, by --backends or by a name of their own; each once."""
    options = read_options(
        "http://10.96.0.42", modes=modes, backends=backends, manifest=None, sender="client", client=None, form="text",
        output=None, rounds=2, sizes="",
    )  # fmt: skip

    assert list(options.columns) == columns


def test_a_mode_that_does_not_exist_is_named() -> None:
    """Before anything is built."""
    with pytest.raises(UsageError, match="'ebfp'"):
        read_options(
            "x", modes="ebfp", backends="nft", manifest=None, sender="client", client=None, form="text", output=None,
            rounds=2, sizes="",
        )  # fmt: skip


def test_ctrl_c_ends_the_lab_and_what_was_done_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first mode's column is in the answer, which says that it was interrupted; so does the exit status."""
    labs: list[Lab] = []

    def start(plan: LabPlan, told: Report) -> Session:
        labs.append(Lab())
        if len(labs) == 2:
            monkeypatch.setattr(labs[1], "send", interrupted)
        return labs[-1]

    def interrupted(spec: SendSpec, sender: str) -> Recording:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_start", lambda say: start)
    options = command.read_options(
        "http://10.96.0.42", modes="iptables,nftables", backends="nft", manifest=None, sender="client", client=None,
        form="json", output=tmp_path / "found.json", rounds=3, sizes="10",
    )  # fmt: skip

    assert command.compare(options) == ExitCode.INTERRUPTED
    found = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Comparison)
    assert (found.interrupted, [each.name for each in found.columns], found.sizes) == (True, ["iptables-nft"], ())
    assert [lab.closed.is_set() for lab in labs] == [True, True]


def test_a_mode_that_failed_is_not_asked_of_a_larger_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The others go on; the answer says of each size why it is left out."""

    def start(plan: LabPlan, told: Report) -> Session:
        if "svc-00099" in plan.manifest:
            raise OverdueError("it was not done within 5 s", "it was at: kube-proxy's rules")
        return Lab()

    monkeypatch.setattr(command, "_start", lambda say: start)
    options = command.read_options(
        "http://10.96.0.42", modes="iptables", backends="nft", manifest=None, sender="client", client=None,
        form="json", output=tmp_path / "found.json", rounds=3, sizes="10,100,1000",
    )  # fmt: skip

    assert command.compare(options) == ExitCode.OK
    found = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Comparison)
    assert [point.services for point in found.sizes] == [10]
    assert [each.name for each in found.left_out] == [
        "iptables-nft with 100 Services", "iptables-nft with 1,000 Services"
    ]  # fmt: skip
    assert found.left_out[1].reason == "it was not done with 100 Services"


def test_the_sandbox_that_was_asked_for_is_every_labs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of each mode, and of each size."""
    asked_for: list[str] = []

    def start(plan: LabPlan, told: Report) -> Session:
        asked_for.append(plan.sandbox)
        return Lab()

    monkeypatch.setattr(command, "_start", lambda say: start)

    options = asked(form="json", output=tmp_path / "found.json", sizes="10", sandbox="container")
    assert command.compare(options) == ExitCode.OK
    assert asked_for == ["container"] * 4


def asked(**changed: Any) -> command.CompareOptions:
    """What the command line says for two modes on the screen."""
    told: dict[str, Any] = {
        "modes": "iptables,nftables", "backends": "nft", "manifest": None, "sender": "client", "client": None,
        "form": "text", "output": None, "rounds": 2, "sizes": "",
    }  # fmt: skip
    return read_options("http://10.96.0.42", **{**told, **changed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"form": "json"}, "--screen goes without"),
        ({"sizes": "10"}, "--screen goes without"),
        ({"output": Path("x")}, "--screen goes without"),
        ({"modes": "nftables"}, "two modes side by side"),
        ({}, "the screen needs a terminal"),
    ],
)
def test_what_the_screen_cannot_do_is_said_before_a_lab_is_built(changed: dict[str, Any], said: str) -> None:
    """Nothing is started for a question that has no answer."""
    with pytest.raises(UsageError, match=said):
        command.show(asked(**changed))
