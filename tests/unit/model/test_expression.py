"""A packet expression is parsed, never evaluated; what is refused is pointed at."""

from __future__ import annotations

import builtins
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kplab.errors import ExpressionError
from kplab.model.completion import KnownName, complete
from kplab.model.expression import parse_expression
from kplab.model.layers import LAYERS
from kplab.model.packet import Field, Layer, Octets

pytestmark = pytest.mark.unit


def test_the_expression_of_every_lesson_parses() -> None:
    """Layers keep scapy's names, in order, with just the fields that were given."""
    spec = parse_expression('IP(dst="10.96.0.42")/TCP(dport=80, flags="S")')

    assert spec.layers == (
        Layer("IP", (Field("dst", "10.96.0.42"),)),
        Layer("TCP", (Field("dport", 80), Field("flags", "S"))),
    )


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ('IP(dst="10.0.0.1")/UDP(dport=53)/"hi"', "hi"),
        ('IP(dst="10.0.0.1")/UDP(dport=53)/Raw(load="hi")', "hi"),
        ('IP(dst="10.0.0.1")/UDP(dport=53)/b"\\xff"', Octets(b"\xff")),
    ],
)
def test_a_payload_is_text_bytes_or_raw(text: str, load: object) -> None:
    """Text or bytes in the last place are scapy's Raw layer."""
    assert parse_expression(text).layers[-1] == Layer("Raw", (Field("load", load),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "points_at", "says"),
    [
        ("", "", "there is no packet"),
        ("   ", " ", "there is no packet"),
        ('IP("1.2.3.4")', '"1.2.3.4"', "keyword arguments only"),
        ('IP(dts="1.2.3.4")', "dts", "did you mean dst?"),
        ("IPX()", "IPX", "did you mean IP?"),
        ('IP(dst="1.2.3")', '"1.2.3"', "an IPv4 address is expected"),
        ('IP(dst="fd00::1")', '"fd00::1"', "begin with IPv6"),
        ('IP(dst="10.0.0.0/24")', '"10.0.0.0/24"', "an IPv4 address is expected"),
        ('IP(dst=__import__("os").getcwd())', '__import__("os").getcwd()', "only literals"),
        ('IP(dst=f"{1}")', 'f"{1}"', "only literals"),
        ('IP(dst="1.2.3.4" + "")', '"1.2.3.4" + ""', "only literals"),
        ('IP(ttl=[x for x in "a"])', '[x for x in "a"]', "only literals"),
        ("IP(ttl=-1)", "-1", "from 0 to 255"),
        ("IP(ttl=True)", "True", "from 0 to 255"),
        ('IP(dst="1.2.3.4", dst="1.2.3.4")', 'dst="1.2.3.4"', "is given dst twice"),
        ('IP(dst="1.2.3.4")/TCP(dport=70000)', "70000", "from 0 to 65535"),
        ('IP(dst="1.2.3.4")/TCP(flags="Z")', '"Z"', "is no flag"),
        ('IP(dst="1.2.3.4")/TCP()/UDP()', "UDP()", "cannot stand behind TCP"),
        ('TCP(dport=80)/IP(dst="1.2.3.4")', "TCP(dport=80)", "begins with IP or IPv6"),
        ('IPv6(dst="fd00::1")/ICMP()', "ICMP()", "belongs in an IPv4 packet"),
        ('IP(dst="1.2.3.4")/ICMPv6EchoRequest()', "ICMPv6EchoRequest()", "belongs in an IPv6 packet"),
        ('IP(dst="1.2.3.4")/"a"/TCP()', "TCP()", "cannot stand behind Raw"),
        ('IP(**{"a": 1})', '**{"a": 1}', "keyword arguments only"),
        ("lambda: 1", "lambda: 1", "a layer is expected"),
        ("send(IP())", "send", "there is no layer send"),
        ('   IP(dst="1.2.3.4")/Foo()', "Foo", "there is no layer Foo"),
        ('IP(dst="é")/Foo()', '"é"', "an IPv4 address is expected"),
        ("x" * 5000, "x", "too long"),
        ('IP(dst="1.2.3.4")\x00', "I", "null bytes"),
    ],
)
def test_what_is_refused_is_pointed_at(text: str, points_at: str, says: str) -> None:
    """The error holds the column and the length of the wrong part, and says what was expected."""
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)

    error = caught.value
    assert says in str(error)
    assert text[error.position : error.position + error.length] == points_at


def test_columns_count_characters_not_bytes() -> None:
    """A letter outside ASCII before the mistake does not move the mark."""
    text = 'IP(dst="1.2.3.4")/Raw(load="žluťoučký")/Foo()'

    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)

    assert text[caught.value.position :].startswith("Foo")


def test_nothing_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither eval nor exec runs, and no name is looked up."""

    def forbidden(*args: object, **kwargs: object) -> object:
        raise AssertionError("evaluated")

    monkeypatch.setattr(builtins, "eval", forbidden)
    monkeypatch.setattr(builtins, "exec", forbidden)
    with pytest.raises(ExpressionError):
        parse_expression('IP(dst=print("x"))')


@given(st.text(alphabet=string.printable, max_size=60))
def test_any_text_parses_or_is_refused_with_a_place_in_it(text: str) -> None:
    """No other exception leaves the parser, and the mark lies within the text or just behind it."""
    try:
        parse_expression(text)
    except ExpressionError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017


def test_the_table_of_layers_is_scapys() -> None:
    """Every layer and every field in our table exists in the installed scapy, under the same name."""
    from scapy.layers import inet, inet6
    from scapy.packet import Raw

    for name, fields in LAYERS.items():
        layer = Raw if name == "Raw" else getattr(inet, name, None) or getattr(inet6, name)
        known = {field.name for field in layer.fields_desc}
        assert set(fields) <= known, name


NAMES = (KnownName("demo/web", "10.96.0.42", 80), KnownName("demo/web6", "fd00:10:96::42", 80))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("I", "IP("),
        ("IP(d", "dst="),
        ("IP(dst=", '"10.96.0.42"'),
        ('IP(dst="10.9', '10.96.0.42"'),
        ('IP(dst="web', '10.96.0.42"'),
        ('IPv6(dst="', 'fd00:10:96::42"'),
        ('IP(dst="10.96.0.42")/T', "TCP("),
        ('IP(dst="10.96.0.42")/TCP(dport=', "80"),
        ('IP(dst="10.96.0.42")/TCP(dport=80, fl', "flags="),
        ('IP(dst="10.96.0.42")/TCP(dport=80, flags="S', 'S"'),
    ],
)
def test_completion_offers_what_may_stand_there(text: str, first: str) -> None:
    """The likeliest completion replaces just what was typed."""
    offered = complete(text, len(text), NAMES)

    assert offered[0].insert == first
    assert text[: offered[0].start] + offered[0].insert


def test_completion_never_offers_a_field_twice() -> None:
    """A field that was given already is not offered again."""
    text = "IP(dst='1.2.3.4', "

    assert "dst=" not in {c.insert for c in complete(text, len(text))}
