"""Freezes the boards of each week, with the movement since the edition before.

In: the boards and a schedule. Out: editions, made once and kept as they were rendered. A week that
nobody was there to close is closed later, from the samples of that week.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pingboard.boards import Boards
from pingboard.edition_schedule import Schedule, Week
from pingboard.model import (
    PONG_TIMEOUT_MS,
    Board,
    BoardName,
    Window,
    WorkerState,
    from_ts,
    to_ts,
)
from pingboard.render import edition as render
from pingboard.render.standing_fields import read_standing
from pingboard.store import editions as store
from pingboard.store.backlog import has_open_gap
from pingboard.store.editions import Edition
from pingboard.store.engine import Engine
from pingboard.store.rooms import read_lineage_ids
from pingboard.store.status import read_status

GRACE = timedelta(milliseconds=PONG_TIMEOUT_MS) + timedelta(minutes=1)
"""After the close the last pings of the week may still be answered, or become lost."""

MAX_SHIFT = timedelta(days=6, hours=20)
"""By how much a schedule can be shifted within its week. What closes less than that before an
edition is part of it, and of two editions so near the later follows the earlier."""

MAX_STORING = timedelta(minutes=1)
"""By then what a sync has brought is stored, or the gap that it has left."""

PATIENCE = timedelta(hours=6)
"""How long a close waits for a homeserver that is away, and for a gap in the room's history to be
filled."""


def due(engine: Engine, schedule: Schedule, now: datetime) -> list[Week]:
    """Return the week of each edition that should be there and is not, the oldest first."""
    oldest_ts = store.find_oldest_ping(engine)
    if oldest_ts is None or has_open_gap(engine, to_ts(now - PATIENCE)):
        return []
    made = store.read_edition_names(engine)
    closes = [from_ts(closed_ts) for closed_ts in made.values()]
    missing = []
    for week in schedule.weeks(from_ts(oldest_ts), _find_told_until(engine, now) - GRACE):
        is_covered = any(timedelta(0) < close - week.end < MAX_SHIFT for close in closes)
        if week.name not in made and not is_covered:
            missing.append(_follow(closes, week))
            closes.append(week.end)
    return missing


def _find_told_until(engine: Engine, now: datetime) -> datetime:
    """Until when the worker has stored what its homeserver tells; now where that is given up."""
    worker = max(read_status(engine).workers, key=lambda worker: worker.since_ts, default=None)
    if worker is None:
        return now
    is_away = worker.state != WorkerState.RUNNING
    if is_away and now - from_ts(worker.since_ts) >= PATIENCE:
        return now
    return min(now, from_ts(worker.synced_ts or 0) - MAX_STORING)


def _follow(closes: Sequence[datetime], week: Week) -> Week:
    """Let a week begin where the edition before it ended, also under another schedule."""
    before = max((close for close in closes if close < week.end), default=week.start)
    return replace(week, start=before) if week.start - before < MAX_SHIFT else week


def make(boards: Boards, week: Week) -> Edition | None:
    """Return the edition of a week; None where nothing was heard in it."""
    name, window = week.name, Window(week.start, week.end)
    ranked = [
        with_movement(boards.engine, board)
        for room_id in boards.newest_rooms()
        for board_name in BoardName
        if (board := boards.board(board_name, window, now=week.end + GRACE, room=room_id)).standings
    ]
    if not ranked:
        return None
    return Edition(
        name,
        to_ts(week.end),
        render.to_json(name, window, ranked),
        render.to_markdown(name, window, ranked),
    )


def with_movement(engine: Engine, board: Board) -> Board:
    """The board with the rank of each homeserver in the last edition before the window's end."""
    before = store.read_edition_before(engine, board.window.end_ts)
    rooms = read_lineage_ids(engine, board.room_id)
    ranks = _find_ranks(before, rooms, board.room_alias, board.name) if before else {}
    standings = [row._replace(previous_rank=ranks.get(row.homeserver)) for row in board.standings]
    return replace(board, standings=standings)


def read_boards(edition: Edition, names: Sequence[BoardName]) -> list[Board]:
    """Of each room of an edition the first of these boards that it has, as it was frozen."""
    document = json.loads(edition.json)
    window = Window(
        *(datetime.fromisoformat(document["window"][end]) for end in ("from_at", "to_at"))
    )
    boards = []
    for room in document["rooms"]:
        name = next((name for name in names if name in room["boards"]), None)
        names_of_room = room["room"]
        if name is None:
            continue
        frozen = room["boards"][name]
        standings = [read_standing(row) for row in frozen["standings"]]
        boards.append(
            Board(
                names_of_room["id"],
                names_of_room["alias"],
                name,
                window,
                window.end,
                frozen["sample_count"],
                standings,
            )
        )
    return boards


def read_ranks(
    engine: Engine, weeks: int, room_id: str, alias: str | None, board: BoardName
) -> list[tuple[str, dict[str, int]]]:
    """Name and ranks of the last editions that have a room's board, the oldest first."""
    rooms = read_lineage_ids(engine, room_id)
    weekly = [
        (edition.name, _find_ranks(edition, rooms, alias, board))
        for edition in reversed(store.read_latest_editions(engine, weeks))
    ]
    return [(name, ranks) for name, ranks in weekly if ranks]


def _find_ranks(
    edition: Edition, lineage: Collection[str], alias: str | None, board: BoardName
) -> dict[str, int]:
    """The rank of each homeserver on a board of a lineage of rooms; {} where there is none."""
    rooms: list[dict[str, Any]] = json.loads(edition.json)["rooms"]
    for room in rooms:
        known = room["room"]
        if known["id"] in lineage or (known["alias"] and known["alias"] == alias):
            standings = room["boards"].get(board, {"standings": []})["standings"]
            return {row["homeserver"]: row["rank"] for row in standings}
    return {}
