"""What makes a pong count."""

from __future__ import annotations

import dataclasses

import pytest

from pingboard.matrix.verify import is_implausible, verify
from pingboard.model import PONG_TIMEOUT_MS, Rejection, Sample
from tests.samples import make_ping, make_pong

PING = make_ping()
PONG = make_pong(PING)


def test_a_truthful_pong_counts() -> None:
    assert verify(PONG, PING) is None


def test_a_pong_that_names_no_ping_server_counts() -> None:
    assert verify(dataclasses.replace(PONG, claimed_from=None), PING) is None


def test_a_pong_to_a_ping_that_nobody_sent_does_not_count() -> None:
    assert verify(PONG, None) is Rejection.UNKNOWN_PING


def test_a_pong_to_a_ping_of_another_room_does_not_count() -> None:
    elsewhere = dataclasses.replace(PING, room_id="!other")
    assert verify(PONG, elsewhere) is Rejection.UNKNOWN_PING


def test_a_lie_about_the_ping_server_does_not_count() -> None:
    forged = dataclasses.replace(PONG, claimed_from="winner.example")
    assert verify(forged, PING) is Rejection.FORGED_FROM


def test_a_pong_counts_up_to_ten_minutes_after_its_ping_and_no_later() -> None:
    last = dataclasses.replace(PONG, seen_ts=PING.seen_ts + PONG_TIMEOUT_MS)
    late = dataclasses.replace(last, seen_ts=last.seen_ts + 1)
    assert verify(last, PING) is None
    assert verify(late, PING) is Rejection.LATE


@pytest.mark.parametrize(
    ("one_way_ms", "sent_after_ms", "round_trip_ms", "implausible"),
    [
        (100, 120, 240, False),
        (20, 40, 240, False),
        (1, 400, 800, True),  # says "at once", then held its answer back for 399 ms
        (10, 30, 3_000, False),  # the way back was slow
        (200, 2_200, 2_400, True),  # a bot that waits so long is not to be told from a liar
        (500, 520, 300, True),  # longer one way than there and back
        (300, 100, 400, True),  # saw the ping after it answered
        (1, 20, 40, False),  # on the same machine everything is at once
        (1, 400, None, False),
    ],
)
def test_a_claim_that_contradicts_the_round_trip_is_implausible(
    one_way_ms: int, sent_after_ms: int, round_trip_ms: int | None, implausible: bool
) -> None:
    pong = dataclasses.replace(
        PONG, one_way_ms=one_way_ms, origin_server_ts=PING.origin_server_ts + sent_after_ms
    )
    assert is_implausible(Sample(PING, pong, round_trip_ms)) is implausible
