"""Event content <-> Ping and Pong."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.matrix.protocol import (
    Answerable,
    Event,
    ping_content,
    pong_content,
    pretty_duration,
    read_answerable,
    read_event,
)
from pingboard.model import Ping, Pong, Rejected, Rejection

ROOM = "!room"
SEEN_TS = 2_000
PINGSTAT_BODY = re.compile(r'^@.+:.+: Pong! \(ping (?:".+" )?took .+ to arrive\)$')


def message(content: Event, **changes: Any) -> Event:
    event = {
        "type": "m.room.message",
        "event_id": "$event",
        "sender": "@bot:two.example",
        "origin_server_ts": 1_000,
        "content": content,
    }
    return {**event, **changes}


def pong(**block: Any) -> Event:
    return {"msgtype": "m.notice", "body": "whatever", "pong": block}


def related(**relation: Any) -> Event:
    return {"msgtype": "m.notice", "m.relates_to": {"rel_type": "xyz.maubot.pong", **relation}}


GOOD = {"ms": 213, "from": "one.example", "ping": "$ping"}
GOOD_RELATION = {"ms": 213, "from": "one.example", "event_id": "$ping"}
READ = Pong("$event", ROOM, "two.example", "$ping", "one.example", 213, 1_000, SEEN_TS)


def read(content: Event, **changes: Any) -> Ping | Pong | Rejected | None:
    return read_event(message(content, **changes), ROOM, SEEN_TS)


def reason(content: Event, **changes: Any) -> Rejection | None:
    found = read(content, **changes)
    return found.reason if isinstance(found, Rejected) else None


@pytest.mark.parametrize("body", ["!ping", "!ping abc", " !ping abc def", "!ping\nabc"])
def test_a_ping_is_read(body: str) -> None:
    assert read({"msgtype": "m.text", "body": body}) == Ping(
        "$event", ROOM, "two.example", 1_000, SEEN_TS
    )


@pytest.mark.parametrize(
    "content",
    [
        {"msgtype": "m.notice", "body": "!ping"},
        {"msgtype": "m.text", "body": "!pingstat"},
        {"msgtype": "m.text", "body": "say !ping"},
        {"msgtype": "m.text", "body": "* !ping", "m.relates_to": {"rel_type": "m.replace"}},
        {"msgtype": "m.text", "body": 5},
        {"msgtype": "m.text"},
        {},
        "nonsense",
        None,
    ],
)
def test_what_is_no_ping_is_not_read(content: Any) -> None:
    assert read(content) is None


@pytest.mark.parametrize(
    "content",
    [
        pong(**GOOD),
        related(**GOOD_RELATION),
        {**pong(**GOOD), **related(**GOOD_RELATION)},
        {**pong(**GOOD), **related(event_id="$ping")},
        {**pong(**GOOD), "m.relates_to": {"rel_type": "m.thread", "event_id": "$root"}},
        {**pong(**GOOD), "msgtype": "m.text", "body": "no notice"},
    ],
)
def test_a_pong_is_read_from_block_or_relation(content: Event) -> None:
    assert read(content) == READ


def test_a_pong_without_from_claims_no_ping_server() -> None:
    found = read(pong(ms=213, ping="$ping"))
    assert isinstance(found, Pong)
    assert found.claimed_from is None


@pytest.mark.parametrize("ms", [True, 1.5, "5", None, 2**53 - 1, -(2**40), [], {}])
def test_ms_that_is_no_integer_of_sense_is_rejected(ms: Any) -> None:
    assert reason(pong(**{**GOOD, "ms": ms})) is Rejection.INVALID_MS
    assert reason(related(**{**GOOD_RELATION, "ms": ms})) is Rejection.INVALID_MS


@pytest.mark.parametrize("ms", [0, -1, 1, 600_001])
def test_any_other_integer_is_a_claim_for_the_boards_to_judge(ms: int) -> None:
    assert isinstance(read(pong(**{**GOOD, "ms": ms})), Pong)


@pytest.mark.parametrize("ping", ["", "ping", "$", "$a\x00b", "$a b", "$" + "x" * 255, 5, None])
def test_a_ping_that_can_not_be_an_event_is_unknown(ping: Any) -> None:
    assert reason(pong(**{**GOOD, "ping": ping})) is Rejection.UNKNOWN_PING


@pytest.mark.parametrize(
    "relation",
    [
        {**GOOD_RELATION, "ms": 1},
        {**GOOD_RELATION, "from": "three.example"},
        {**GOOD_RELATION, "event_id": "$other"},
    ],
)
def test_a_relation_that_contradicts_the_block_is_rejected(relation: Event) -> None:
    assert reason({**pong(**GOOD), **related(**relation)}) is Rejection.CONTRADICTORY


@pytest.mark.parametrize(
    "relation",
    [
        {"rel_type": "m.replace", "event_id": "$x"},
        {"rel_type": "m.annotation", "event_id": "$x"},
        {"m.in_reply_to": {"event_id": "$x"}},
    ],
)
def test_edits_reactions_and_replies_that_carry_a_pong_are_ignored(relation: Event) -> None:
    assert read({**pong(**GOOD), "m.relates_to": relation}) is None


def test_a_garbage_relation_beside_a_block_is_ignored() -> None:
    assert read({**pong(**GOOD), "m.relates_to": "garbage"}) == READ


def test_a_sender_without_a_server_name_is_rejected() -> None:
    assert reason(pong(**GOOD), sender="@bot:evil|name") is Rejection.INVALID_SERVER_NAME


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "m.sticker"},
        {"state_key": ""},
        {"origin_server_ts": "1000"},
        {"origin_server_ts": True},
        {"event_id": None},
    ],
)
def test_an_event_of_another_kind_is_ignored(changes: Event) -> None:
    assert read(pong(**GOOD), **changes) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
blocks = st.fixed_dictionaries(
    {}, optional={"ms": json_values, "from": json_values, "ping": json_values}
)
relations = st.fixed_dictionaries(
    {"rel_type": st.sampled_from(["xyz.maubot.pong", "m.thread", "m.replace"]) | json_values},
    optional={"ms": json_values, "from": json_values, "event_id": json_values},
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "msgtype": json_values | st.just("m.text"),
        "body": json_values | st.just("!ping"),
        "pong": blocks | json_values,
        "m.relates_to": relations | json_values,
    },
)


@given(contents | json_values, json_values, json_values, json_values)
def test_nothing_that_a_stranger_writes_breaks_it(
    content: Any, sender: Any, event_id: Any, ts: Any
) -> None:
    event = message(content, sender=sender, event_id=event_id, origin_server_ts=ts)
    read_event(event, ROOM, SEEN_TS)
    read_event(message(content), ROOM, SEEN_TS)
    read_answerable(message(content), ROOM, SEEN_TS)


def answerable(text: str = "", relation: Event | None = None) -> Answerable:
    content: Event = {"msgtype": "m.text", "body": f"!ping {text}".strip()}
    if relation is not None:
        content["m.relates_to"] = relation
    found = read_answerable(message(content, sender="@alice:one.example"), ROOM, SEEN_TS)
    assert found is not None
    return found


def test_the_answer_is_what_maubot_echo_writes() -> None:
    assert pong_content(answerable(), 213) == {
        "msgtype": "m.notice",
        "body": "@alice:one.example: Pong! (ping took 213 ms to arrive)",
        "format": "org.matrix.custom.html",
        "formatted_body": (
            "<a href='https://matrix.to/#/@alice:one.example'>@alice:one.example</a>: Pong! "
            "(<a href='https://matrix.to/#/!room/$event'>ping</a> took 213 ms to arrive)"
        ),
        "pong": {"ms": 213, "from": "one.example", "ping": "$event"},
        "m.relates_to": {
            "rel_type": "xyz.maubot.pong",
            "event_id": "$event",
            "from": "one.example",
            "ms": 213,
        },
    }


def test_a_text_after_the_ping_is_quoted_up_to_20_characters() -> None:
    content = pong_content(answerable("abcdefghijklmnopqrstuvwxyz"), 5)
    assert content["body"].endswith('(ping "abcdefghijklmnopqrst" took 5 ms to arrive)')


def test_a_text_is_escaped_in_html() -> None:
    content = pong_content(answerable("<b>&'\""), 5)
    assert "<b>" not in content["formatted_body"]
    assert "&lt;b&gt;&amp;&#x27;&quot;" in content["formatted_body"]


def test_a_ping_inside_a_thread_is_answered_inside_it() -> None:
    thread = {"rel_type": "m.thread", "event_id": "$root"}
    content = pong_content(answerable(relation=thread), 5)
    assert content["m.relates_to"]["rel_type"] == "m.thread"
    assert content["m.relates_to"]["event_id"] == "$root"
    assert content["pong"] == {"ms": 5, "from": "one.example", "ping": "$event"}


@given(st.text(), st.integers(-(2**40), 2**40))
def test_pingstat_counts_every_answer_and_we_read_it_back(text: str, ms: int) -> None:
    asked = answerable(text)
    content = pong_content(asked, ms)
    assert PINGSTAT_BODY.match(content["body"])
    found = read(json.loads(json.dumps(content)))
    if abs(ms) < 2**31:
        assert isinstance(found, Pong)
        assert (found.one_way_ms, found.claimed_from) == (ms, "one.example")


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0 ms"),
        (-5, "-5 ms"),
        (9_999, "9999 ms"),
        (10_000, "10.0 seconds"),
        (12_500, "12.5 seconds"),
        (59_990, "1 minute and 0.0 seconds"),
        (61_000, "1 minute and 1.0 second"),
        (123_000, "2 minutes and 3.0 seconds"),
        (3_600_000, "1 hour, 0 minutes and 0.0 seconds"),
        (90_061_500, "1 day, 1 hour, 1 minute and 1.5 seconds"),
        (-123_000, "-2 minutes and 3.0 seconds"),
    ],
)
def test_beyond_ten_seconds_the_body_uses_words(ms: int, words: str) -> None:
    assert pretty_duration(ms) == words


def test_our_ping_is_a_ping_with_a_nonce() -> None:
    found = read(ping_content("abc123"))
    assert isinstance(found, Ping)
