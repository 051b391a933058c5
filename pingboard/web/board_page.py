"""/: the leaderboard, for people."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pingboard.model import Board, UnknownRoomError
from pingboard.render.markdown import shortest_decimal, table
from pingboard.web import choices
from pingboard.web.bars import draw_bars
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.frame import TAG, PageQuery, language_of, render
from pingboard.web.parameters import TABLE_ROWS, BoardQuery

REFRESH_S = 5
"""How often a page that waits for its first pongs looks again."""

router = APIRouter(tags=[TAG], include_in_schema=False)


class BoardPageQuery(BoardQuery, PageQuery):
    """Which board, in which language."""


@router.get("/")
def show_board(
    request: Request, boards: GivenBoards, now: Now, query: Annotated[BoardPageQuery, Query()]
) -> Response:
    """The leaderboard; a page that waits and looks again while there is no room or no pong yet."""
    context: dict[str, Any] = {
        "query": query,
        "meaning": choices.MEANINGS[query.board],
        "refresh_s": REFRESH_S,
    }
    try:
        board = query.ask(boards, now)
    except UnknownRoomError:
        if query.room is not None:
            raise
        # The default room has not been joined yet: nobody's mistake, and it passes.
        return render(request, "waiting.html", context)
    path, language = f"{request.scope.get('root_path', '')}/", language_of(request)
    context |= {
        "board": board,
        "room": board.room_alias or board.room_id,
        "window": choices.describe_window(query, board.window, language),
        "boards": choices.link_boards(path, query, query.board, language),
        "windows": choices.link_windows(path, query),
        "rows": list(zip(board.standings, draw_bars(board.standings), strict=True)),
        "summary": _summarise(board),
        "parameters": choices.encode(query, leave_out=frozenset({"lang"})),
        "markdown": table(board.standings[: query.limit or TABLE_ROWS]),
    }
    return render(request, "board.html", context, room_id=board.room_id)


def _summarise(board: Board) -> str:
    """The first three in one line, for whoever shares the link."""
    return ", ".join(
        f"{row.rank}. {row.homeserver} {shortest_decimal(row.median_ms)} ms"
        for row in board.standings[:3]
    )
