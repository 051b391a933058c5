"""What makes a pong count."""

from __future__ import annotations

import dataclasses

from pingboard.matrix.verify import verify
from pingboard.model import PONG_TIMEOUT_MS, Rejection
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


def test_a_late_pong_counts_as_lost() -> None:
    last = dataclasses.replace(PONG, seen_ts=PING.seen_ts + PONG_TIMEOUT_MS)
    late = dataclasses.replace(last, seen_ts=last.seen_ts + 1)
    assert verify(last, PING) is None
    assert verify(late, PING) is Rejection.LATE
