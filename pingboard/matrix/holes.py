"""When to look for what our homeserver itself missed: it, or another one, was away for hours.

What it fetches from others when it is asked for history comes before all tokens (Synapse:
"backfilled"), in no sync and in no gap that ends at one. That there is a hole it says by a timeline
that is limited, though short. A homeserver that always gives short ones seems to have holes all the
time, so it is asked ever more rarely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pingboard.matrix.stream import Timeline

FULL_TIMELINE = 100
"""Events in a timeline that is limited because there are more: Synapse's own limit."""

SHORTEST_PAUSE_NS = 60_000_000_000
LONGEST_PAUSE_NS = 60 * SHORTEST_PAUSE_NS


class _Look(NamedTuple):
    at_ns: int
    pause_ns: int
    """until the next at the earliest"""


class Holes:
    """The holes of all rooms."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._looks: dict[str, _Look] = {}

    def is_due(self, timeline: Timeline, now_ns: int) -> bool:
        """Whether to look behind a hole now; `now_ns` is `clock.now_ns()`.

        Each of a hundred homeservers that come back can leave one, so of several in a minute the
        later wait; and where it never ends, twice as long each time.
        """
        room_id = timeline.room_id
        if timeline.limited and len(timeline.events) < FULL_TIMELINE:
            self._found.add(room_id)
        if room_id not in self._found:
            return False
        pause_ns = SHORTEST_PAUSE_NS
        if (last := self._looks.get(room_id)) is not None:
            since_ns = now_ns - last.at_ns
            if since_ns < last.pause_ns:
                return False
            if since_ns < 2 * last.pause_ns:
                pause_ns = min(2 * last.pause_ns, LONGEST_PAUSE_NS)
        self._found.discard(room_id)
        self._looks[room_id] = _Look(now_ns, pause_ns)
        return True
