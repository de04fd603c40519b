"""Running programs: the real runner and the scripted one keep the same promises."""

from __future__ import annotations

import pytest

from kplab.errors import ProgramError
from kplab.lab.run import Expect, Runner, ScriptedRunner, SystemRunner

pytestmark = pytest.mark.unit

ECHO = ["sh", "-c", "cat; echo told >&2"]
FAIL = ["sh", "-c", "echo 'it is broken' >&2; exit 3"]


def runners() -> list[Runner]:
    """Return a real runner, and one that was told what the real one does."""
    script = [
        Expect(ECHO, "given", stdout="given", stderr="told\n"),
        Expect(FAIL, status=3, stderr="it is broken\n"),
        Expect(FAIL, status=3, stderr="it is broken\n"),
    ]
    return [SystemRunner(), ScriptedRunner(script)]


@pytest.mark.parametrize("runner", runners(), ids=["system", "scripted"])
def test_both_runners_keep_the_same_promises(runner: Runner) -> None:
    """Output and status are returned; a failure raises with standard error verbatim, unless it is not checked."""
    ended = runner.run(ECHO, "given")

    assert (ended.status, ended.stdout, ended.stderr) == (0, "given", "told\n")
    assert runner.run(FAIL, check=False).status == 3
    with pytest.raises(ProgramError, match="it is broken") as caught:
        runner.run(FAIL)
    assert caught.value.status == 3


@pytest.mark.parametrize(
    ("program", "package"),
    [("ip6tables-nowhere", "iptables"), ("conntrack", "conntrack"), ("/none/ip", "iproute2")],
)
def test_a_missing_program_names_its_package(program: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's package, with the command that installs it."""
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(ProgramError, match=f"apt-get install {package}") as caught:
        SystemRunner().run([program, "--version"])
    assert caught.value.status == 127


def test_a_program_that_overstays_is_killed() -> None:
    """The limit is in seconds."""
    with pytest.raises(ProgramError, match=r"not done after 0\.05 s"):
        SystemRunner().run(["sleep", "60"], limit=0.05)


def test_a_script_insists_on_what_was_expected() -> None:
    """Another program, other input, one too many, one too few."""
    runner = ScriptedRunner([Expect(["nft", "list"], "x"), Expect(["ip", "link"])])

    with pytest.raises(AssertionError, match="expected the input 'x'"):
        runner.run(["nft", "list"])
    with pytest.raises(AssertionError, match="but this ran"):
        runner.run(["nft", "list"])
    with pytest.raises(AssertionError, match="nothing more"):
        runner.run(["nft", "list"])
    with pytest.raises(AssertionError, match="as well"):
        ScriptedRunner([Expect(["ip", "link"])]).assert_done()
