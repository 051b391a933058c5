"""When it is looked for what our homeserver itself missed."""

from __future__ import annotations

from itertools import pairwise

from pingboard.matrix.holes import FULL_TIMELINE, Holes
from pingboard.matrix.stream import Timeline

MINUTE_NS = 60_000_000_000


def timeline(events: int = 5, *, limited: bool = True, room_id: str = "!a") -> Timeline:
    return Timeline(room_id, [{}] * events, [], limited)


def test_a_timeline_that_is_full_or_not_limited_has_no_hole() -> None:
    holes = Holes()
    assert not holes.is_due(timeline(FULL_TIMELINE), 0)
    assert not holes.is_due(timeline(limited=False), 0)
    assert holes.is_due(timeline(), 0)


def test_a_hole_that_has_to_wait_is_looked_behind_later() -> None:
    holes = Holes()
    assert holes.is_due(timeline(), 0)
    assert not holes.is_due(timeline(), MINUTE_NS - 1)
    assert holes.is_due(timeline(limited=False), MINUTE_NS)
    assert not holes.is_due(timeline(limited=False), 10 * MINUTE_NS)


def test_a_homeserver_that_always_gives_short_timelines_is_asked_ever_more_rarely() -> None:
    holes = Holes()
    seconds = range(0, 6 * 3600, 20)
    looks = [at for at in seconds if holes.is_due(timeline(), at * MINUTE_NS // 60)]
    pauses = [round((later - one) / 60) for one, later in pairwise(looks)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_after_a_quiet_while_a_hole_is_looked_behind_at_once_again() -> None:
    holes = Holes()
    for minute in (0, 1, 3, 7):
        assert holes.is_due(timeline(), minute * MINUTE_NS)
    assert holes.is_due(timeline(), 60 * MINUTE_NS)
    assert holes.is_due(timeline(), 61 * MINUTE_NS)
    assert holes.is_due(timeline(room_id="!b"), 61 * MINUTE_NS)
