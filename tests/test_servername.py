"""The table of what is a server name and what is not."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pingboard.servername import decode_server_name, is_server_name, read_server_name, server_of

NAMES = [
    "matrix.org",
    "localhost:8481",
    "pc.koesters.xyz:6167",
    "1.2.3.4",
    "1.2.3.4:1234",
    "[::1]:8448",
    "[1234:5678::abcd]",
    "xn--bcher-kva.example",
    "UPPER.example",
    "a" * 230,
]
NO_NAMES = [
    "",
    ":8448",
    "a.example:",
    "a.example:99999",
    "a.example:123456",
    "a.example:٣",
    "evil|name",
    "<svg onload=alert(1)>",
    "=cmd()",
    "bücher.example",
    "сервер.example",
    "[::1",
    "[]",
    "::1",
    "a.example\n",
    "a b.example",
    "a_b.example",
    "a" * 256,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_by_the_grammar_is_accepted(name: str) -> None:
    assert is_server_name(name)
    assert server_of(f"@alice:{name}") == name


@pytest.mark.parametrize("name", NO_NAMES)
def test_anything_else_is_refused(name: str) -> None:
    assert not is_server_name(name)
    assert server_of(f"@alice:{name}") is None


@pytest.mark.parametrize("localpart", ["", "a b", "💥", "=2f", "ALICE", "@"])
def test_a_localpart_can_be_nearly_anything(localpart: str) -> None:
    assert server_of(f"@{localpart}:one.example:8448") == "one.example:8448"


@pytest.mark.parametrize("user_id", ["", "alice:one.example", "@alice", "#alice:one.example"])
def test_what_is_no_user_id_has_no_server(user_id: str) -> None:
    assert server_of(user_id) is None


hosts = st.from_regex(r"[0-9A-Za-z.-]{1,40}", fullmatch=True)
literals = st.one_of(
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=4).map(str),
    st.from_regex(r"\[[0-9a-f:.]{0,10}\]?", fullmatch=True),
)
# `st.text()` has no lone surrogates, which JSON can bring.
texts = st.one_of(
    st.text(), st.sampled_from(["\x00", "\ud800", "\u202e", "a.example\n", "x" * 300])
)
ports = st.one_of(st.just(""), st.integers(0, 99_999).map(lambda port: f":{port}"), texts)
names = st.one_of(texts, st.tuples(st.one_of(hosts, literals), ports).map("".join))


@settings(max_examples=500, deadline=None)
@given(names)
def test_the_name_validator_is_the_grammar(name: str) -> None:
    accepted = is_server_name(name)
    assert server_of(f"@a:{name}") == (name if accepted else None)
    if accepted:
        assert name.isascii()
        assert name.isprintable()
        assert not set(name) & set("|<>&\"'`=\\/@,;\n\t\r ")
        assert re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+)(:\d{1,5})?", name)


@given(st.ip_addresses(v=6), st.integers(0, 65_535))
def test_every_address_is_a_name(address: ipaddress.IPv6Address, port: int) -> None:
    assert is_server_name(f"[{address}]:{port}")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("two.example", "two.example"),
        ("@bot:two.example:8448", "two.example:8448"),
        ("münchen.example:8448", "xn--mnchen-3ya.example:8448"),
        ("@bot:MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("[::1]:8448", "[::1]:8448"),
        ("\ud800.example", "\ud800.example"),
        ("ü" * 300, "ü" * 300),
        # Too long for a name: to encode as much as fits into an event would take minutes.
        ("ü." * 150, "ü." * 150),
    ],
)
def test_a_name_is_read_as_a_person_writes_it(written: str, name: str) -> None:
    assert read_server_name(written) == name


@pytest.mark.parametrize(
    ("name", "decoded"),
    [("xn--mnchen-3ya.example", "münchen.example"), ("two.example", ""), ("xn--\x80", "")],
)
def test_a_name_is_decoded_where_it_can_be(name: str, decoded: str) -> None:
    assert decode_server_name(name) == decoded
