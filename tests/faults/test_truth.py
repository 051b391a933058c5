"""The oracle itself: it has to be right before it may judge."""

from __future__ import annotations

from typing import Any

import pytest

from faults.truth import Event, differences, samples_of
from faults.user import make_event, pong

PING = make_event("$ping", "@alice:one.example", {"msgtype": "m.text", "body": "!ping now"}, 1_000)


def answer(content: Event, **changes: Any) -> Event:
    return make_event("$pong", "@bot:two.example:8448", content, 1_213) | changes


GOOD = pong("$ping", "one.example", 213)
SAMPLE = {("$ping", "two.example:8448"): 213}


def test_a_truthful_pong_is_a_sample() -> None:
    assert samples_of([PING, answer(GOOD)]) == SAMPLE


def test_the_order_of_ping_and_pong_does_not_matter() -> None:
    assert samples_of([answer(GOOD), PING]) == SAMPLE


@pytest.mark.parametrize("part", ["pong", "m.relates_to"])
def test_block_or_relation_alone_is_enough(part: str) -> None:
    content = {key: value for key, value in GOOD.items() if key != part}
    assert samples_of([PING, answer(content)]) == SAMPLE


def test_the_first_of_two_pongs_counts() -> None:
    second = answer(pong("$ping", "one.example", 99), event_id="$second")
    assert samples_of([PING, answer(GOOD), second]) == SAMPLE


def test_two_servers_are_two_samples() -> None:
    other = answer(GOOD, sender="@bot:three.example", event_id="$other")
    assert len(samples_of([PING, answer(GOOD), other])) == 2


@pytest.mark.parametrize(
    "content",
    [
        {},
        pong("$other", "one.example", 213),
        pong("$ping", "winner.example", 213),
        *(pong("$ping", "one.example", ms) for ms in (True, None, "5", 1.5, 2**31)),
        {**GOOD, "pong": {**GOOD["pong"], "ms": 212}},
        {**GOOD, "m.relates_to": {"rel_type": "m.replace", "event_id": "$ping"}},
        {**GOOD, "m.relates_to": {"m.in_reply_to": {"event_id": "$ping"}}},
    ],
)
def test_lies_and_disguises_are_no_samples(content: Event) -> None:
    assert samples_of([PING, answer(content)]) == {}


def test_a_pong_that_came_too_late_is_lost() -> None:
    assert samples_of([PING, answer(GOOD, origin_server_ts=601_001)]) == {}


def test_what_was_due_and_is_not_stored_is_lost() -> None:
    due = {("$a", "one"): 5, ("$b", "one"): 6}
    assert differences(due, {("$a", "one"): 5}, due) == ([], [("$b", "one")])


def test_what_arrives_while_the_room_is_read_is_not_lost() -> None:
    before = {("$a", "one"): 5}
    assert differences(before, before, {**before, ("$new", "one"): 7}) == ([], [])


def test_what_was_redacted_since_is_not_lost() -> None:
    assert differences({("$a", "one"): 5}, {}, {}) == ([], [])


def test_what_is_stored_and_not_true_is_wrong() -> None:
    stored = {("$a", "one"): 5, ("$invented", "one"): 1}
    assert differences({}, stored, {("$a", "one"): 4})[0] == list(stored)
