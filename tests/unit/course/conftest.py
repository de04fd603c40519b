"""A lab that is not there, a journey that was: what the course's tests are made of."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kplab.course.lesson import Lesson
from kplab.course.load import load_lesson
from kplab.model.journey import Journey
from kplab.model.topology import Topology
from kplab.session.scripted import ScriptedSession

DATA = Path(__file__).parents[2] / "data"

WEB_RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-ONE - [0:0]
:KUBE-SEP-TWO - [0:0]
:KUBE-SEP-THREE - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SERVICES -d 10.96.0.42/32 -p tcp -m comment --comment "demo/web:http cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB ! -s 10.244.0.0/16 -d 10.96.0.42/32 -p tcp -m comment --comment "demo/web:http cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SVC-WEB -m comment --comment "demo/web:http -> 10.244.1.10:8080" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-ONE
-A KUBE-SVC-WEB -m comment --comment "demo/web:http -> 10.244.1.11:8080" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-TWO
-A KUBE-SVC-WEB -m comment --comment "demo/web:http -> 10.244.2.10:8080" -j KUBE-SEP-THREE
-A KUBE-SEP-ONE -s 10.244.1.10/32 -m comment --comment "demo/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-ONE -p tcp -m comment --comment "demo/web:http" -m tcp -j DNAT --to-destination 10.244.1.10:8080
-A KUBE-SEP-TWO -s 10.244.1.11/32 -m comment --comment "demo/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-TWO -p tcp -m comment --comment "demo/web:http" -m tcp -j DNAT --to-destination 10.244.1.11:8080
-A KUBE-SEP-THREE -s 10.244.2.10/32 -m comment --comment "demo/web:http" -j KUBE-MARK-MASQ
-A KUBE-SEP-THREE -p tcp -m comment --comment "demo/web:http" -m tcp -j DNAT --to-destination 10.244.2.10:8080
COMMIT
"""  # noqa: E501


@pytest.fixture
def topology() -> Topology:
    """Two nodes, five pods, an outside host and the underlay."""
    return msgspec.json.decode((DATA / "scene" / "topology.json").read_bytes(), type=Topology)


@pytest.fixture
def session(topology: Topology) -> ScriptedSession:
    """A lab whose nodes hold demo/web's rules as kube-proxy wrote them."""
    return ScriptedSession(topology, rules=WEB_RULES)


@pytest.fixture
def journey() -> Journey:
    """A SYN from client to 10.96.0.42:80, which met web-3 on node-b, and its answer: 41 hops."""
    return msgspec.json.decode((DATA / "scene" / "journey.json").read_bytes(), type=Journey)


@pytest.fixture(scope="session")
def lesson() -> Lesson:
    """Lesson 3 as it is shipped."""
    return load_lesson("lesson-3")
