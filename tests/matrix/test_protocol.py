"""Event content <-> Ping and Pong."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.truth import samples_of
from faults.user import make_event
from pingboard.matrix.protocol import (
    Answerable,
    Event,
    ping_content,
    pong_content,
    pretty_duration,
    read_answerable,
    read_event,
    read_redacted_ping,
)
from pingboard.matrix.verify import verify
from pingboard.model import Ping, Pong, Rejected, Rejection
from pingboard.model.times import FIRST_EVENT_TS
from pingboard.servername import is_server_name

ROOM = "!room"
ORIGIN_TS = 1_790_000_000_000
SEEN_TS = ORIGIN_TS + 1_000
PINGSTAT_BODY = re.compile(r'^@.+:.+: Pong! \(ping (?:".+" )?took .+ to arrive\)$')


def message(content: Event, **changes: Any) -> Event:
    return make_event("$event", "@bot:two.example", content, ORIGIN_TS) | changes


def pong(**block: Any) -> Event:
    return {"msgtype": "m.notice", "body": "whatever", "pong": block}


def related(**relation: Any) -> Event:
    return {"msgtype": "m.notice", "m.relates_to": {"rel_type": "xyz.maubot.pong", **relation}}


GOOD = {"ms": 213, "from": "one.example", "ping": "$ping"}
GOOD_RELATION = {"ms": 213, "from": "one.example", "event_id": "$ping"}
READ = Pong("$event", ROOM, "two.example", "$ping", "one.example", 213, ORIGIN_TS, SEEN_TS)


def read(content: Event, **changes: Any) -> Ping | Pong | Rejected | None:
    return read_event(message(content, **changes), ROOM, SEEN_TS, SEEN_TS)


def reason(content: Event, **changes: Any) -> Rejection | None:
    event = read(content, **changes)
    return event.reason if isinstance(event, Rejected) else None


def text(body: Any, **more: Any) -> Event:
    return {"msgtype": "m.text", "body": body, **more}


def edit(new: Any, body: str = "* !ping") -> Event:
    relation = {"rel_type": "m.replace", "event_id": "$first"}
    return text(body, **{"m.relates_to": relation, "m.new_content": new})


def reply(body: str, **relation: Any) -> Event:
    return text(body, **{"m.relates_to": {"m.in_reply_to": {"event_id": "$first"}, **relation}})


IN_THREAD = {"rel_type": "m.thread", "event_id": "$root", "is_falling_back": True}
PINGS: list[tuple[Event, str]] = [
    (text("!ping"), ""),
    (text("!PING"), ""),
    (text("!Ping hello"), "hello"),
    (text("!ping two  spaces "), "two  spaces"),
    (text("!ping  \n lines\nof text"), "lines\nof text"),
    (text("!ping ping"), "ping"),
    (reply("!ping"), ""),
    (reply("> <@a:one.example> hello\n\n!ping back"), "back"),
    (reply("> <@a:one.example> two\n> lines\n\n!ping"), ""),
    (reply("> quoted\nwhatever stands in the line after it\n!ping"), ""),
    (reply("!ping", **IN_THREAD), ""),
    (reply("> quoted\n\n!ping x", **IN_THREAD), "x"),
    (edit(text("!ping again")), "again"),
    (text("!ping", **{"m.relates_to": {"rel_type": "m.replace", "event_id": "$first"}}), ""),
    (text("!ping", **{"m.relates_to": "garbage"}), ""),
    (text("!ping", pong=GOOD), ""),
]
NO_PINGS: list[Any] = [
    text(" !ping"),
    text("!ping\nhello"),
    text("!ping\thello"),
    text("!ping\u00a0hello"),
    text("!ping\n"),
    text("!pingfoo"),
    text("!pingstat"),
    text("! ping"),
    text("!"),
    text(""),
    text("ping"),
    text("say !ping"),
    text("> quoted, but no reply\n\n!ping"),
    reply("> quoted\n!ping"),
    reply("> !ping"),
    reply("> quoted\n> !ping"),
    edit(text("no longer"), body="!ping"),
    edit({"msgtype": "m.notice", "body": "!ping"}),
    edit(None),
    edit("!ping"),
    {"msgtype": "m.notice", "body": "!ping"},
    {"msgtype": "m.emote", "body": "!ping"},
    text(5),
    text(None),
    {"msgtype": "m.text"},
    {},
    "nonsense",
    None,
]


@pytest.mark.parametrize(("content", "quote"), PINGS)
def test_a_ping_is_what_maubot_takes_for_one(content: Event, quote: str) -> None:
    assert read(content) == Ping("$event", ROOM, "two.example", ORIGIN_TS, SEEN_TS)
    asked = read_answerable(message(content), ROOM, SEEN_TS)
    assert asked is not None
    assert asked.text == quote


@pytest.mark.parametrize("content", NO_PINGS)
def test_what_maubot_does_not_answer_is_no_ping(content: Any) -> None:
    assert read(content) is None
    assert read_answerable(message(content), ROOM, SEEN_TS) is None


@pytest.mark.parametrize(
    "origin_ts", [0, FIRST_EVENT_TS - 1, SEEN_TS + 600_001, 4_102_444_800_000, -1, "1", None, True]
)
def test_an_event_of_an_impossible_time_is_rejected(origin_ts: Any) -> None:
    assert reason(text("!ping"), origin_server_ts=origin_ts) is Rejection.IMPOSSIBLE_TIME
    assert reason(pong(**GOOD), origin_server_ts=origin_ts) is Rejection.IMPOSSIBLE_TIME
    event = message(text("!ping"), origin_server_ts=origin_ts)
    assert read_answerable(event, ROOM, SEEN_TS) is None


@pytest.mark.parametrize("origin_ts", [FIRST_EVENT_TS, SEEN_TS + 600_000])
def test_an_event_of_a_possible_time_is_taken(origin_ts: int) -> None:
    assert isinstance(read(text("!ping"), origin_server_ts=origin_ts), Ping)


def test_a_redacted_message_can_have_been_a_ping() -> None:
    redacted = message({}, unsigned={"redacted_because": {"type": "m.room.redaction"}})
    assert read_event(redacted, ROOM, SEEN_TS, SEEN_TS) is None
    assert read_redacted_ping(redacted, ROOM, SEEN_TS) == Ping(
        "$event", ROOM, "two.example", ORIGIN_TS, ORIGIN_TS
    )
    others: list[Event] = [{"unsigned": {}}, {"type": "m.room.member"}, {"content": {"body": "x"}}]
    for changes in others:
        assert read_redacted_ping({**redacted, **changes}, ROOM, SEEN_TS) is None


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
    event = read(pong(ms=213, ping="$ping"))
    assert isinstance(event, Pong)
    assert event.claimed_from is None


@pytest.mark.parametrize("ms", [True, 1.5, "5", None, 2**53 - 1, -(2**40), [], {}])
def test_an_ms_that_is_no_integer_or_too_large_is_rejected(ms: Any) -> None:
    assert reason(pong(**{**GOOD, "ms": ms})) is Rejection.INVALID_MS
    assert reason(related(**{**GOOD_RELATION, "ms": ms})) is Rejection.INVALID_MS


@pytest.mark.parametrize("ms", [0, -1, 1, 600_001])
def test_an_ms_of_any_other_integer_is_a_claim_for_the_boards_to_judge(ms: int) -> None:
    assert isinstance(read(pong(**{**GOOD, "ms": ms})), Pong)


@pytest.mark.parametrize("ping", ["", "ping", "$", "$a\x00b", "$a b", "$" + "x" * 255, 5, None])
def test_a_pong_that_names_what_is_no_event_id_answers_an_unknown_ping(ping: Any) -> None:
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
def test_edits_reactions_and_replies_that_carry_a_pong_do_not_count(relation: Event) -> None:
    assert reason({**pong(**GOOD), "m.relates_to": relation}) is Rejection.EDIT_OR_REPLY
    assert read({"msgtype": "m.notice", "body": "", "m.relates_to": relation}) is None


def test_a_pong_that_only_the_new_content_of_an_edit_carries_does_not_count() -> None:
    assert reason(edit({"msgtype": "m.notice", "pong": GOOD})) is Rejection.EDIT_OR_REPLY


def test_a_garbage_relation_beside_a_block_is_ignored() -> None:
    assert read({**pong(**GOOD), "m.relates_to": "garbage"}) == READ


def test_a_sender_whose_server_name_breaks_the_grammar_is_rejected() -> None:
    assert reason(pong(**GOOD), sender="@bot:evil|name") is Rejection.INVALID_SERVER_NAME


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "m.sticker"},
        {"state_key": ""},
        {"event_id": None},
    ],
)
def test_an_event_of_another_kind_is_ignored(changes: Event) -> None:
    assert read(pong(**GOOD), **changes) is None


texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["!ping", "!ping x", "$ping", "one.example", "@a:one.example", "m.text"]),
    st.sampled_from(["\x00", "\ud800", "\u202e", "!ping\n", "$" + "x" * 300]),
)
numbers = st.one_of(st.integers(), st.integers(0, 1000), st.floats(), st.booleans(), st.none())
anything = st.recursive(
    st.one_of(texts, numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
event_ids = st.one_of(st.just("$ping"), texts, anything)
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
        "body": st.one_of(texts, anything),
        "pong": st.one_of(claims("ping"), anything),
        "m.relates_to": st.one_of(claims("event_id"), anything),
    },
)
events = st.fixed_dictionaries(
    {"type": st.one_of(st.just("m.room.message"), anything)},
    optional={
        "event_id": st.one_of(st.just("$pong"), anything),
        "sender": st.one_of(st.just("@bot:two.example"), texts, anything),
        "origin_server_ts": st.one_of(st.just(SEEN_TS), anything),
        "content": st.one_of(contents, anything),
        "state_key": texts,
        "unsigned": st.one_of(st.just({"redacted_because": {}}), anything),
    },
)


@settings(max_examples=500, deadline=None)
@given(events)
def test_nothing_that_a_stranger_writes_raises(event: Event) -> None:
    """Most events get past the first check: they are made of the words that matter."""
    arrived = read_event(event, ROOM, SEEN_TS, SEEN_TS)
    if isinstance(arrived, Ping | Pong):
        assert is_server_name(arrived.server)
    if isinstance(arrived, Rejected):
        assert arrived.server == "" or is_server_name(arrived.server)
        assert isinstance(arrived.reason, Rejection)
    asked = read_answerable(event, ROOM, SEEN_TS)
    assert (asked is not None) == isinstance(arrived, Ping)
    if asked is not None:
        assert isinstance(pong_content(asked, 5)["body"], str)
    read_redacted_ping({**event, "content": {}}, ROOM, SEEN_TS)


@settings(max_examples=500, deadline=None)
@given(contents)
def test_what_counts_is_what_the_oracle_of_the_faults_counts(content: Event) -> None:
    question = message(text("!ping"), event_id="$ping", sender="@a:one.example")
    answer = message(content, event_id="$pong")
    asked, answered = (read_event(event, ROOM, SEEN_TS, SEEN_TS) for event in (question, answer))
    assert isinstance(asked, Ping)
    counts = (
        isinstance(answered, Pong)
        and answered.ping_event_id == "$ping"
        and verify(answered, asked) is None
    )
    assert counts == (("$ping", "two.example") in samples_of([question, answer]))


def answerable(text: str = "", relation: Event | None = None) -> Answerable:
    content: Event = {"msgtype": "m.text", "body": f"!ping {text}"}
    if relation is not None:
        content["m.relates_to"] = relation
    answerable = read_answerable(message(content, sender="@alice:one.example"), ROOM, SEEN_TS)
    assert answerable is not None
    return answerable


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


def test_white_space_is_quoted_as_it_was_sent_but_for_line_feeds() -> None:
    content = pong_content(answerable("  two  spaces,\ta tab\n\nx"), 5)
    assert content["body"].endswith('(ping "two  spaces,\ta tab  " took 5 ms to arrive)')


def test_a_text_is_escaped_in_html() -> None:
    content = pong_content(answerable("<b>&'\""), 5)
    assert "<b>" not in content["formatted_body"]
    assert "&lt;b&gt;&amp;&#x27;&quot;" in content["formatted_body"]


def test_a_ping_inside_a_thread_is_answered_inside_it() -> None:
    thread = {"rel_type": "m.thread", "event_id": "$root"}
    content = pong_content(answerable(relation=thread), 5)
    assert content["m.relates_to"] == {
        "rel_type": "m.thread",
        "event_id": "$root",
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": "$event"},
        "from": "one.example",
        "ms": 5,
    }
    assert content["pong"] == {"ms": 5, "from": "one.example", "ping": "$event"}


@given(st.text(), st.integers(-(2**40), 2**40))
def test_pingstat_counts_every_answer_and_we_read_it_back(text: str, ms: int) -> None:
    asked = answerable(text)
    content = pong_content(asked, ms)
    assert PINGSTAT_BODY.match(content["body"])
    event = read(json.loads(json.dumps(content)))
    if abs(ms) < 2**31:
        assert isinstance(event, Pong)
        assert (event.one_way_ms, event.claimed_from) == (ms, "one.example")


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0 ms"),
        (-5, "-5 ms"),
        (9_999, "9999 ms"),
        (10_000, "10.0 seconds"),
        (12_500, "12.5 seconds"),
        (12_549, "12.5 seconds"),
        (13_950, "13.9 seconds"),
        (13_951, "14.0 seconds"),
        (59_990, "60.0 seconds"),
        (61_000, "1 minute and 1 second"),
        (71_400, "1 minute and 11 seconds"),
        (119_600, "1 minute and 60 seconds"),
        (123_000, "2 minutes and 3 seconds"),
        (3_600_000, "1 hour, 0 minutes and 0 seconds"),
        (90_061_400, "1 day, 1 hour, 1 minute and 1 second"),
        (-12_500, "-12.5 seconds"),
        (-123_000, "-2 minutes and 3 seconds"),
    ],
)
def test_beyond_ten_seconds_the_body_uses_words(ms: int, words: str) -> None:
    assert pretty_duration(ms) == words


def test_our_ping_is_a_ping_with_a_nonce() -> None:
    content = ping_content("abc123")
    assert isinstance(read(content), Ping)
    assert "abc123" in content["body"]
