"""What is logged of an outage: a line when it begins, one for each other kind, one when it ends."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.testing import capture_logs

from pingboard.matrix.retry import Outage
from pingboard.model import HomeserverError


def log_of(texts: Sequence[str]) -> list[str]:
    """The lines of an outage in which these errors come one after the other."""
    with capture_logs() as lines:
        outage = Outage("begins", "ends")
        for text in texts:
            outage.note(HomeserverError(text))
        outage.end()
    return [line["event"] for line in lines if line["log_level"] != "debug"]


def test_a_homeserver_that_is_away_in_several_ways_is_one_outage() -> None:
    ways = [
        "can't be reached: Server disconnected",
        "closed the connection while a ping was sent",
        "does not answer within 35 s",
        "answered 502, without a Matrix error code",
    ]
    assert log_of(ways + ways[::-1]) == ["begins", "ends"]


def test_another_fault_has_a_line_of_its_own_but_another_number_has_not() -> None:
    errors = ["can't be reached: reset", "asks to wait 1 s", "asks to wait 20 s", "is locked"]
    assert log_of(errors) == ["begins", "begins", "begins", "ends"]


def test_what_did_not_begin_does_not_end() -> None:
    assert log_of([]) == []
