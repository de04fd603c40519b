"""The check of eBPF mode's maps, against what bpftool dumps."""

from __future__ import annotations

import json

import pytest

from kplab.course.checks import examine
from kplab.course.lesson import MapService
from kplab.model import bpf_maps as layout
from kplab.session.base import ExecResult
from kplab.session.scripted import ScriptedSession

pytestmark = pytest.mark.unit

ENDPOINTS = ("10.244.1.10:8080", "10.244.2.10:8080")
CHECK = MapService("node-a", "TCP 10.96.0.42:80", ENDPOINTS)

Maps = dict[str, dict[bytes, bytes]]


def slot(number: int) -> bytes:
    """Return the key of a slot of demo/web's."""
    return layout.ServiceKey("10.96.0.42", 80, "TCP", number).pack()


@pytest.fixture
def maps() -> Maps:
    """A Service with two slots, and their backends, 3 and 7."""
    return {
        layout.SERVICES: {
            slot(0): layout.ServiceValue(1 << 24, 2, 14, 0).pack(),
            slot(1): layout.ServiceValue(3, 0, 14, 0).pack(),
            slot(2): layout.ServiceValue(7, 0, 14, 0).pack(),
        },
        layout.BACKENDS: {
            layout.pack_backend_id(3): layout.pack_backend("10.244.1.10", 8080, "TCP"),
            layout.pack_backend_id(7): layout.pack_backend("10.244.2.10", 8080, "TCP"),
        },
    }


def _missed(session: ScriptedSession, maps: Maps) -> tuple[str, ...]:
    def answer(namespace: str, argv: tuple[str, ...], stdin: str) -> ExecResult:
        assert (namespace, argv[:5]) == ("node-a", ("bpftool", "-j", "map", "dump", "pinned"))
        found = maps[argv[5].rpartition("/")[2]]
        return ExecResult(0, json.dumps([{"key": _words(k), "value": _words(v)} for k, v in found.items()]), "")

    session.answer = answer
    return examine(CHECK, session).missed


def _words(data: bytes) -> list[str]:
    return [f"0x{byte:02x}" for byte in data]


def test_maps_that_lead_to_each_endpoint_pass(session: ScriptedSession, maps: Maps) -> None:
    """Frontend, slots and backends, followed as the program follows them."""
    assert _missed(session, maps) == ()


def test_a_service_that_is_not_there_is_said(session: ScriptedSession, maps: Maps) -> None:
    """Without slot 0 there is no Service."""
    del maps[layout.SERVICES][slot(0)]
    assert _missed(session, maps) == ("node-a: cilium_lb4_services_v2 has no element for TCP 10.96.0.42:80, slot 0",)


def test_a_backend_that_no_pod_is_is_said(session: ScriptedSession, maps: Maps) -> None:
    """The slot, the backend's number and the address that it holds; and whom nothing leads to."""
    maps[layout.BACKENDS][layout.pack_backend_id(7)] = layout.pack_backend("10.244.2.99", 8080, "TCP")
    assert _missed(session, maps) == (
        "slot 2 says backend_id 7, which is 10.244.2.99:8080: no endpoint of this Service",
        "no slot leads to 10.244.2.10:8080",
    )


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        (layout.SERVICES, slot(2), "slot 2 of 2 is not in cilium_lb4_services_v2"),
        (
            layout.BACKENDS,
            layout.pack_backend_id(7),
            "slot 2 says backend_id 7, which is not in cilium_lb4_backends_v3",
        ),
    ],
)
def test_an_element_that_lacks_is_said(session: ScriptedSession, maps: Maps, name: str, key: bytes, said: str) -> None:
    """A slot that the count promises, a backend that a slot names."""
    del maps[name][key]
    assert _missed(session, maps) == (said, "no slot leads to 10.244.2.10:8080")


def test_an_endpoint_with_two_slots_is_said(session: ScriptedSession, maps: Maps) -> None:
    """It would get twice its share, and another none."""
    maps[layout.SERVICES][slot(2)] = maps[layout.SERVICES][slot(1)]
    assert "10.244.1.10:8080 has 2 slots" in _missed(session, maps)
