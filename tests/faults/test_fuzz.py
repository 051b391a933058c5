"""Case 58: whatever strangers write, the parser and the name validator survive and agree.

The events are made of the words that matter, so that most get past the first check.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from faults.truth import samples_of
from pingboard.matrix.protocol import pong_content, read_answerable, read_event
from pingboard.matrix.verify import verify
from pingboard.model import Ping, Pong, Rejected, Rejection
from pingboard.servername import is_server_name, server_of

ROOM = "!room"
PING = "$ping"
NOW_TS = 1_780_000_000_000

texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["!ping", "!ping x", PING, "one.example", "@a:one.example", "m.text"]),
    st.sampled_from(["\x00", "\ud800", "\u202e", "!ping\n", "$" + "x" * 300]),
)
numbers = st.one_of(st.integers(), st.integers(0, 1000), st.floats(), st.booleans(), st.none())
anything = st.recursive(
    st.one_of(texts, numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
event_ids = st.one_of(st.just(PING), texts, anything)
relation_types = st.sampled_from(["xyz.maubot.pong", "m.thread", "m.replace", "m.annotation"])


def claims(ping_key: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "ms": st.one_of(st.integers(0, 1000), anything),
            "from": st.one_of(st.just("one.example"), anything),
            ping_key: event_ids,
            "rel_type": st.one_of(relation_types, anything),
        },
    )


contents = st.fixed_dictionaries(
    {},
    optional={
        "msgtype": st.one_of(st.sampled_from(["m.text", "m.notice"]), anything),
        "body": texts,
        "pong": st.one_of(claims("ping"), anything),
        "m.relates_to": st.one_of(claims("event_id"), anything),
    },
)
events = st.fixed_dictionaries(
    {"type": st.one_of(st.just("m.room.message"), anything)},
    optional={
        "event_id": st.one_of(st.just("$pong"), anything),
        "sender": st.one_of(st.just("@bot:two.example"), texts, anything),
        "origin_server_ts": st.one_of(st.just(NOW_TS), anything),
        "content": st.one_of(contents, anything),
        "state_key": texts,
        "unsigned": anything,
    },
)


@settings(max_examples=500, deadline=None)
@given(events)
def test_no_event_breaks_the_parser(event: dict[str, Any]) -> None:
    read = read_event(event, ROOM, NOW_TS, NOW_TS)
    if isinstance(read, Ping | Pong):
        assert is_server_name(read.server)
    if isinstance(read, Rejected):
        assert read.server == "" or is_server_name(read.server)
        assert isinstance(read.reason, Rejection)
    answerable = read_answerable(event, ROOM, NOW_TS)
    assert (answerable is not None) == isinstance(read, Ping)
    if answerable is not None:
        assert isinstance(pong_content(answerable, 5)["body"], str)


@settings(max_examples=500, deadline=None)
@given(contents)
def test_parser_and_oracle_agree_on_what_counts(content: dict[str, Any]) -> None:
    ping = {
        "type": "m.room.message",
        "event_id": PING,
        "sender": "@a:one.example",
        "origin_server_ts": NOW_TS,
        "content": {"msgtype": "m.text", "body": "!ping"},
    }
    answer = {**ping, "event_id": "$pong", "sender": "@bot:two.example", "content": content}
    asked, read = read_event(ping, ROOM, NOW_TS, NOW_TS), read_event(answer, ROOM, NOW_TS, NOW_TS)
    assert isinstance(asked, Ping)
    counts = isinstance(read, Pong) and read.ping_event_id == PING and verify(read, asked) is None
    assert counts == ((PING, "two.example") in samples_of([ping, answer]))


hosts = st.from_regex(r"[0-9A-Za-z.-]{1,40}", fullmatch=True)
literals = st.one_of(
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.ip_addresses(v=4).map(str),
    st.from_regex(r"\[[0-9a-f:.]{0,10}\]?", fullmatch=True),
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
