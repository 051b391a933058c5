"""Boards of a week -> an edition: its JSON document and its Markdown. Pure.

What is rendered here is kept; to change it changes later editions alone.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from pingboard.model import Board, Standing, Window, write_instant
from pingboard.render.markdown import table
from pingboard.render.section import room_link
from pingboard.render.standing_fields import describe_standing

ROWS = 10
"""In each table of the Markdown; the JSON has all."""

_NAMESPACE = uuid.UUID("6f0d52f3-4f0e-5d3c-9a64-50d0a5a3c1de")


def to_json(name: str, window: Window, boards: Sequence[Board]) -> str:
    """The document, ended by a newline; latencies in ms, whole ones as integers."""
    rooms = dict.fromkeys((board.room_id, board.room_alias) for board in boards)
    document = {
        "edition": name,
        # The same week of other rooms is another edition, on whichever site.
        "id": uuid.uuid5(_NAMESPACE, " ".join([name, *sorted(room for room, _ in rooms)])).urn,
        "window": {"from_at": write_instant(window.start), "to_at": write_instant(window.end)},
        "unit": "ms",
        "rooms": [
            {
                "room": {"id": room_id, "alias": alias},
                "boards": {
                    str(board.name): {
                        "sample_count": board.samples,
                        "standings": [_row(row) for row in board.standings],
                    }
                    for board in boards
                    if board.room_id == room_id
                },
            }
            for room_id, alias in rooms
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def to_markdown(name: str, window: Window, boards: Sequence[Board]) -> str:
    """A heading for each room and board, and its table as This Week in Matrix prints it."""
    parts = [f"# {name}", f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"]
    last = None
    for board in boards:
        if board.room_id != last:
            parts.append(f"## {room_link(board.room_alias or board.room_id)}")
            last = board.room_id
        parts += [f"### {board.name}", table(board.standings[:ROWS]).rstrip("\n")]
    return "\n\n".join(parts) + "\n"


def _row(row: Standing) -> dict[str, Any]:
    return {key: _shorten(value) for key, value in describe_standing(row).items()}


def _shorten(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [_shorten(part) for part in value] if isinstance(value, tuple) else value
