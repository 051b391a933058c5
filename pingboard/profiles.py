"""What stands behind the boards: who was heard, who is fast to whom, one homeserver in detail.

In: a room, a window, a homeserver. Out: lists and a `Profile`, exact, from the store's samples.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pingboard.model import Board, BoardName, Standing, UnknownHomeserverError, Window
from pingboard.ranking import history, pairs, trends
from pingboard.ranking.samples import pair_columns
from pingboard.store import figures

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pingboard.boards import Boards


MOST_TREND_SAMPLES = 5_000_000
LONGEST_TREND = timedelta(days=31)
"""Longer windows are ranked from counts of whole months, which know no course."""


class Homeserver(NamedTuple):
    """How much was heard of a homeserver."""

    name: str
    samples_as_ping_server: int
    samples_as_pong_server: int


class Place(NamedTuple):
    """A homeserver's standing, and how many others there are."""

    standing: Standing
    homeservers: int


@dataclass(frozen=True, slots=True)
class Profile:
    """One homeserver in one room and window."""

    name: str
    places: Mapping[BoardName, Place | None]
    sent: int
    """pings of ours that it was expected to answer"""
    lost: int
    """those that it did not answer in time"""
    rejected: Mapping[str, int]
    """its pongs that did not count, by `model.Rejection`; of whole UTC days"""
    pongs_to: Sequence[pairs.Pair]
    """it as the ping server: how fast each pong server got its pings, the fastest first"""
    pings_from: Sequence[pairs.Pair]
    """it as the pong server: how fast it got the pings of each ping server, the fastest first"""


def list_homeservers(boards: Boards, room_id: str, window: Window) -> list[Homeserver]:
    """Every homeserver that pinged or answered in the window, by name."""
    of_ping: Counter[str] = Counter()
    of_pong: Counter[str] = Counter()
    for one in read_pairs(boards, room_id, window):
        of_ping[one.ping_server] += one.samples
        of_pong[one.pong_server] += one.samples
    return [Homeserver(name, of_ping[name], of_pong[name]) for name in sorted(of_ping | of_pong)]


def read_pairs(boards: Boards, room_id: str, window: Window) -> list[pairs.Pair]:
    """The ping x pong matrix by one-way latency, by the names of ping and pong server."""
    snapshot = boards.snapshot(room_id, window)
    return pairs.pair(*pair_columns(snapshot.blocks, window), snapshot.names)


def read_trends(
    boards: Boards, board: Board, names: Collection[str], parts: int
) -> dict[str, trends.Trend]:
    """How the median of these homeservers of a board ran over its window, cut into `parts`.

    {} where drawing them would cost far more than ranking them: of many samples or a long window.
    """
    length = board.window.end - board.window.start
    if board.samples > MOST_TREND_SAMPLES or length > LONGEST_TREND:
        return {}
    snapshot = boards.snapshot(board.room_id, board.window)
    wanted = {number: name for number, name in enumerate(snapshot.names) if name in names}
    return trends.find_trends(snapshot.blocks, board.name, board.window, wanted, parts)


def read_profile(
    boards: Boards, room_id: str, window: Window, name: str, *, now: datetime
) -> Profile:
    """What a homeserver's admin wants to know; UnknownHomeserverError where it was never heard."""
    _require(boards, name)
    rooms = figures.lineage(boards.engine, room_id)
    answers = figures.read_answers(boards.engine, rooms, window, name, now)
    by_speed = sorted(read_pairs(boards, room_id, window), key=lambda one: one.median_ms)
    return Profile(
        name=name,
        places={
            board: _find_place(boards, board, room_id, window, name, now) for board in BoardName
        },
        sent=len(answers.answered_ts) + len(answers.lost_ts),
        lost=len(answers.lost_ts),
        rejected=figures.read_rejections(boards.engine, rooms, window, name),
        pongs_to=[one for one in by_speed if one.ping_server == name],
        pings_from=[one for one in by_speed if one.pong_server == name],
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
    rooms = figures.lineage(boards.engine, room_id)
    seen_ts, ms = figures.read_samples(boards.engine, rooms, window, board, name)
    answers = figures.read_answers(boards.engine, rooms, window, name, now)
    return history.cut(window, step, seen_ts, ms, *answers)


def _require(boards: Boards, name: str) -> None:
    if not figures.has_homeserver(boards.engine, name):
        raise UnknownHomeserverError(
            f"nothing was heard of a homeserver {name!r}; /api/v1/homeservers lists those heard"
        )


def _find_place(
    boards: Boards, name: BoardName, room_id: str, window: Window, homeserver: str, now: datetime
) -> Place | None:
    standings = boards.board(name, window, now=now, room=room_id).standings
    for row in standings:
        if row.homeserver == homeserver:
            return Place(row, len(standings))
    return None
