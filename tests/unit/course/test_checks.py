"""Checks of a repair, against rules as iptables-save prints them and connections as curl ends."""

from __future__ import annotations

from itertools import cycle

import pytest

from kplab.course.checks import connections, examine, service_rules
from kplab.course.lesson import Connections, ServiceRules
from kplab.rules.iptables_save import parse_iptables_save
from kplab.session.base import ExecResult
from kplab.session.scripted import ScriptedSession

pytestmark = pytest.mark.unit

ENDPOINTS = ("10.244.1.10:8080", "10.244.1.11:8080", "10.244.2.10:8080")
CHECK = ServiceRules("node-a", "demo/web:http", ENDPOINTS)
CURL = Connections("client", "http://10.96.0.42/", 9, ("web-1", "web-2", "web-3"))


def _missed(rules: str) -> tuple[str, ...]:
    return service_rules(CHECK, parse_iptables_save(rules, 4, "nft")).missed


def test_what_kube_proxy_wrote_passes(session: ScriptedSession) -> None:
    """All three endpoints, evenly."""
    found = examine(CHECK, session)
    assert found.missed == ()
    assert found.lines[0] == "node-a: KUBE-SERVICES → KUBE-SVC-WEB, which has 3 endpoint rules"


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("-A KUBE-SERVICES", "no rule for demo/web:http's cluster IP"),
        ("-A KUBE-SEP-THREE", "KUBE-SEP-THREE (demo/web:http -> 10.244.2.10:8080) is empty"),
        ("-A KUBE-SEP-THREE -s", "does not mark its own endpoint's packets"),
        ("-A KUBE-SEP-THREE -p", "KUBE-SEP-THREE has no DNAT rule"),
        ("-j KUBE-SEP-THREE", "no rule of KUBE-SVC-WEB leads to 10.244.2.10:8080"),
        ("-j KUBE-SEP-THREE", "KUBE-SVC-WEB, rule 3 (KUBE-SEP-TWO): probability is 0.5000, needs none"),
    ],
)
def test_each_thing_that_lacks_is_said(session: ScriptedSession, gone: str, said: str) -> None:
    """Rules taken away one by one: the student reads what is wrong, not merely that something is."""
    rest = "".join(line for line in session.rules.splitlines(keepends=True) if gone not in line)
    assert [text for text in _missed(rest) if said in text]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("to-destination 10.244.2.10:8080", "to-destination 10.244.1.10:8080", "is for 10.244.2.10:8080"),
        ("to-destination 10.244.2.10:8080", "to-destination 10.9.9.9:8080", "which is no endpoint"),
        ("0.50000000000", "0.33333333349", "probability is 0.3333, needs 0.5000"),
        ("-s 10.244.2.10/32", "-s 10.244.1.10/32", "does not mark its own endpoint's packets"),
    ],
)
def test_each_thing_that_is_wrong_is_said(session: ScriptedSession, old: str, new: str, said: str) -> None:
    """Rules that are there, and say something else than kube-proxy's."""
    assert [text for text in _missed(session.rules.replace(old, new)) if said in text]


def test_connections_that_all_answer_pass(session: ScriptedSession) -> None:
    """Every endpoint was met, and no connection failed."""
    names = cycle(CURL.answers)
    session.answer = lambda namespace, argv, stdin: ExecResult(0, f"hello from {next(names)}\n", "")
    found = connections(CURL, session)
    assert found.missed == ()
    assert found.lines[0] == "client: curl http://10.96.0.42/, 9 times: 9 answered"


def test_failed_connections_are_told_in_curls_words_and_end_the_check_early(session: ScriptedSession) -> None:
    """Each failure may take its whole time limit, so three are enough."""
    session.answer = lambda namespace, argv, stdin: ExecResult(28, "", "curl: (28) Connection timed out\n")
    found = connections(CURL, session)
    assert found.missed == ("3 of 3 connections failed: curl: (28) Connection timed out",)
    assert len(session.executed) == 3


def test_an_endpoint_that_never_answers_is_named(session: ScriptedSession) -> None:
    """All connections work, and yet one pod is out of the Service."""
    names = cycle(("web-1", "web-2"))
    session.answer = lambda namespace, argv, stdin: ExecResult(0, f"hello from {next(names)}\n", "")
    assert connections(CURL, session).missed == ("in 18 connections, web-3 never answered; chance cannot explain that",)
