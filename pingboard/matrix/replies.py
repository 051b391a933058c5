"""What pingboard says in a room: boards -> the content of notices. Pure.

Notices, because no bot answers a notice; and they mention nobody.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from pingboard.render.markdown import shortest_decimal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pingboard.model import Board, Standing

TOP = 5

HELP = (
    "!pingboard shows the fastest homeservers of the past week, !pingboard one.example where that "
    "homeserver stands, !pingboard help this. To join the game, run an echo bot on your homeserver."
)


def notice(title: str, lines: Sequence[str] = ()) -> dict[str, Any]:
    """A notice: a line, and a list below it."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return {
        "msgtype": "m.notice",
        "body": "\n".join([title, *(f"- {line}" for line in lines)]),
        "format": "org.matrix.custom.html",
        "formatted_body": html.escape(title) + (f"<ul>{items}</ul>" if items else ""),
        "m.mentions": {},
    }


def top(boards: Sequence[Board]) -> dict[str, Any]:
    """The best of the first board that has any."""
    for board in boards:
        if board.standings:
            return notice(
                f"Fastest homeservers of the past week ({board.name}):",
                [_line(row) for row in board.standings[:TOP]],
            )
    return notice("No pongs were heard here in the past week.")


def standing(homeserver: str, boards: Sequence[Board]) -> dict[str, Any]:
    """A homeserver's place on each board that it is on."""
    lines = [
        f"{board.name}: {row.rank} of {len(board.standings)}, "
        f"{shortest_decimal(row.median_ms)} ms over {row.samples} pongs"
        for board in boards
        for row in board.standings
        if row.homeserver == homeserver
    ]
    if not lines:
        return notice(f"{homeserver} was not heard here in the past week.")
    return notice(f"{homeserver} in the past week:", lines)


def announcement(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The best of an edition, from the rows of its document."""
    lines = [
        f"{row['rank']}. {row['homeserver']}: {shortest_decimal(row['median_ms'])} ms"
        for row in rows[:TOP]
    ]
    return notice(f"The week {name} is closed. Its fastest homeservers:", lines)


def _line(row: Standing) -> str:
    return f"{row.rank}. {row.homeserver}: {shortest_decimal(row.median_ms)} ms"
