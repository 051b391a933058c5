"""What stands behind the boards: who was heard, who is fast to whom, one homeserver in detail.

In: a room, a window, a homeserver. Out: lists and a `Profile`, exact, from the store's samples.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from statistics import median
from typing import NamedTuple

from pingboard.boards import Boards
from pingboard.model import Board, BoardName, ChangeKind, Standing, UnknownHomeserverError, Window
from pingboard.ranking import change_points, history, pairs, trends
from pingboard.ranking.boards import select_pairs, select_server
from pingboard.ranking.clocks import Clock
from pingboard.ranking.histogram import Histogram, count_bins
from pingboard.servername import is_server_name
from pingboard.store import homeservers
from pingboard.store.rooms import read_lineage

MAX_TREND_SAMPLES = 5_000_000

MAX_CHANGE_WINDOW = timedelta(days=31)
"""Of a longer window, changes are looked for in so much before its end."""

MIN_CHANGE_WINDOW = timedelta(days=7)
"""Changes are looked for in no less than this, up to the end of the window that is shown."""

_HOUR = timedelta(hours=1)


class Change(NamedTuple):
    """When a homeserver became slower, faster, silent, or came back; see ranking.change_points."""

    kind: ChangeKind
    at: datetime
    """the first hour of the new level, UTC"""
    ratio: float
    """new level / old level; 1 for silent and back"""
    others_ratio: float | None
    """the same of the others; None where they are too few"""
    is_shared: bool
    """the others changed alike: it is probably our side"""


class HomeserverCounts(NamedTuple):
    """How much was heard of a homeserver."""

    name: str
    samples_as_ping_server: int
    samples_as_pong_server: int


class Place(NamedTuple):
    """A homeserver's standing, and those that it stands among."""

    standing: Standing
    homeservers: int
    """how many the board ranks, with itself"""
    others_ms: Sequence[float]
    """the medians of the others, the fastest first"""


@dataclass(frozen=True, slots=True)
class Profile:
    """One homeserver in one room and window."""

    name: str
    places: Mapping[BoardName, Place | None]
    sent: int
    """pings of ours that it answered, or was expected to and did not"""
    lost: int
    """those that it did not"""
    rejected: Mapping[str, int]
    """its pongs that did not count, by `model.Rejection`; of whole UTC days"""
    pongs_to: Sequence[pairs.Pair]
    """it as the ping server: how fast each pong server got its pings, the fastest first"""
    pings_from: Sequence[pairs.Pair]
    """it as the pong server: how fast it got the pings of each ping server, the fastest first"""
    usual_to_ms: Mapping[str, float]
    """for each pong server in `pongs_to`, the middle of how fast the pings of all others reach it;
    without those that nobody else pings"""
    usual_from_ms: Mapping[str, float]
    """for each ping server in `pings_from`, the middle of how fast its pings reach all others"""

    @property
    def first_board(self) -> BoardName | None:
        """The first board that it is on; None where it is on none."""
        return next((board for board, place in self.places.items() if place), None)

    @property
    def clock(self) -> Clock | None:
        """Its clock as the `response` board knows it; None where it does not."""
        place = self.places[BoardName.RESPONSE]
        row = place and place.standing
        if row is None or row.clock_offset_ms is None or row.clock_uncertainty_ms is None:
            return None
        return Clock(row.clock_offset_ms, row.clock_uncertainty_ms)


def list_homeservers(boards: Boards, room_id: str, window: Window) -> list[HomeserverCounts]:
    """Every homeserver that pinged or answered in the window, by name."""
    of_ping, of_pong = read_matrix(boards, room_id, window).count_samples()
    return [
        HomeserverCounts(name, of_ping.get(name, 0), of_pong.get(name, 0))
        for name in sorted(of_ping.keys() | of_pong.keys())
    ]


def read_matrix(boards: Boards, room_id: str, window: Window) -> pairs.Pairs:
    """The ping x pong matrix by one-way latency, by the names of ping and pong server."""
    with boards.snapshot(room_id, window) as snapshot:
        return pairs.pair([*select_pairs(snapshot.blocks, window)], snapshot.names)


def read_trends(
    boards: Boards, board: Board, names: Collection[str], parts: int
) -> dict[str, trends.Trend]:
    """How the median of these homeservers of a board ran over its window, cut into `parts`.

    {} where there are so many samples that drawing them would cost far more than ranking them.
    """
    if board.samples > MAX_TREND_SAMPLES:
        return {}
    with boards.snapshot(board.room_id, board.window) as snapshot:
        servers = {number: name for number, name in enumerate(snapshot.names) if name in names}
        return trends.find_trends(snapshot.blocks, board.name, board.window, servers, parts)


def read_profile(
    boards: Boards, room_id: str, window: Window, name: str, *, now: datetime
) -> Profile:
    """What a homeserver's admin wants to know; UnknownHomeserverError where it was never heard."""
    _require(boards, name)
    rooms = read_lineage(boards.engine, room_id)
    answers = homeservers.read_answers(boards.engine, rooms, window, name, now)
    rejected = homeservers.read_rejections(boards.engine, rooms, window, name)
    places = {board: _find_place(boards, board, room_id, window, name, now) for board in BoardName}
    # Tens of thousands, so last: nothing else is waited for with them in memory.
    by_speed = sorted(read_matrix(boards, room_id, window), key=lambda pair: pair.median_ms)
    return Profile(
        name=name,
        places=places,
        sent=len(answers.answered_ts) + len(answers.lost_ts),
        lost=len(answers.lost_ts),
        rejected=rejected,
        pongs_to=[pair for pair in by_speed if pair.ping_server == name],
        pings_from=[pair for pair in by_speed if pair.pong_server == name],
        usual_to_ms=_take_middles(
            (pair.pong_server, pair.median_ms) for pair in by_speed if pair.ping_server != name
        ),
        usual_from_ms=_take_middles(
            (pair.ping_server, pair.median_ms) for pair in by_speed if pair.pong_server != name
        ),
    )


def read_history(
    boards: Boards,
    room_id: str,
    window: Window,
    name: str,
    board: BoardName,
    step: timedelta,
    *,
    now: datetime,
) -> list[history.Bucket]:
    """A homeserver's number on a board over time; UnknownHomeserverError as for its profile."""
    _require(boards, name)
    rooms = read_lineage(boards.engine, room_id)
    with boards.snapshot(room_id, window) as snapshot:
        # One of which nothing counted has no samples, and may be too new to be among the names.
        server = snapshot.names.index(name) if name in snapshot.names else -1
        seen_ts, ms = select_server(snapshot.blocks, board, window, server)
    answers = homeservers.read_answers(boards.engine, rooms, window, name, now)
    return history.cut(window, step, seen_ts, ms, *answers)


def read_changes(
    boards: Boards, room_id: str, window: Window, name: str, board: BoardName
) -> list[Change]:
    """Since when a homeserver's number on a board is as it is, or it is silent; the oldest first.

    In the window, or a week up to its end where that is longer; at most `MAX_CHANGE_WINDOW`.
    """
    end = window.end.replace(minute=0, second=0, microsecond=0) + _HOUR
    start = max(min(window.start, window.end - MIN_CHANGE_WINDOW), end - MAX_CHANGE_WINDOW)
    hours = Window(start.replace(minute=0, second=0, microsecond=0), end)
    hour_count = (hours.end - hours.start) // _HOUR
    with boards.snapshot(room_id, hours) as snapshot:
        if name not in snapshot.names:
            return []
        names, server = dict(enumerate(snapshot.names)), snapshot.names.index(name)
        courses = trends.find_trends(snapshot.blocks, board, hours, names, hour_count)
        heard = trends.find_heard(snapshot.blocks, hours, len(names), hour_count)
    changes = change_points.find_change_points(courses, name)
    changes += change_points.find_silences(heard, server)
    return [
        Change(
            change.kind,
            hours.start + _HOUR * change.hour,
            change.ratio,
            change.others_ratio,
            change.is_shared,
        )
        for change in sorted(changes, key=lambda change: change.hour)
    ]


def read_histogram(
    boards: Boards, room_id: str, window: Window, name: str, board: BoardName
) -> Histogram | None:
    """How a homeserver's latencies on a board are spread; None where it has none."""
    with boards.snapshot(room_id, window) as snapshot:
        if name not in snapshot.names:
            return None
        server = snapshot.names.index(name)
        _, ms = select_server(snapshot.blocks, board, window, server)
    return count_bins(ms)


def find_similar(boards: Boards, name: str, limit: int) -> list[str]:
    """The homeservers whose names are most like one that is not there, the likest first.

    A name that is a part of another, or that another is a part of, is like it, however much longer
    one of them is.
    """
    known = [other for other in homeservers.read_homeservers(boards.engine) if other]
    lower = name.lower()
    parts = [
        other
        for other in known
        if min(len(lower), len(other)) > 3 and (lower in other.lower() or other.lower() in lower)
    ]
    return list(dict.fromkeys([*get_close_matches(lower, known, limit, cutoff=0.8), *parts]))[
        :limit
    ]


def _take_middles(named: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The median of the numbers of each name."""
    by_name: dict[str, list[float]] = {}
    for name, number in named:
        by_name.setdefault(name, []).append(number)
    return {name: median(numbers) for name, numbers in by_name.items()}


def is_known(boards: Boards, name: str) -> bool:
    """Whether a homeserver pinged or answered at any time."""
    # What can't be a name is not asked for: PostgreSQL takes no NUL.
    return is_server_name(name) and homeservers.has_homeserver(boards.engine, name)


def _require(boards: Boards, name: str) -> None:
    if not is_known(boards, name):
        raise UnknownHomeserverError(
            f"no homeserver {name!r} was ever seen here; /api/v1/homeservers lists the known ones"
        )


def _find_place(
    boards: Boards, name: BoardName, room_id: str, window: Window, homeserver: str, now: datetime
) -> Place | None:
    standings = boards.board(name, window, now=now, room=room_id).standings
    for row in standings:
        if row.homeserver == homeserver:
            others = [other.median_ms for other in standings if other is not row]
            return Place(row, len(standings), others)
    return None
