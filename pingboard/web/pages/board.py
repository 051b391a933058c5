"""/: the leaderboard, for people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pingboard.boards import Boards
from pingboard.model import Board, UnknownRoomError, from_ts
from pingboard.store.health import read_health
from pingboard.web.api.operations import STALE_AFTER
from pingboard.web.dependencies import GivenAll, Now
from pingboard.web.pages import choices
from pingboard.web.pages.board_view import BoardPageQuery, view
from pingboard.web.pages.layout import TAG, language_of, render

REFRESH_S = 5
"""How often a page without JavaScript that waits for its first pongs looks again."""

router = APIRouter(tags=[TAG], include_in_schema=False)


class Age(NamedTuple):
    """As of when the data is."""

    synced_at: datetime | None
    """when the worker last heard from its homeserver; None where no worker ever did"""
    is_stale: bool


@router.get("/")
def show_board(
    request: Request, given: GivenAll, now: Now, query: Annotated[BoardPageQuery, Query()]
) -> Response:
    """The leaderboard; a page that waits and looks again while there is no room or no pong yet."""
    boards = given.boards
    context: dict[str, Any] = {
        "query": query,
        "meaning": choices.MEANINGS[query.board],
        "refresh_s": REFRESH_S,
    }
    try:
        # All of it: the page searches and sorts before it cuts.
        board = query.model_copy(update={"limit": None}).ask(boards, now)
    except UnknownRoomError:
        if query.room is not None:
            raise
        # The default room has not been joined yet: nobody's mistake, and it passes.
        return render(request, "waiting.html", context)
    context |= {"view": view(boards, board, query), "age": read_age(boards, now)}
    context |= describe_choices(request, query, board)
    if given.embed_origins:
        context["embed"] = str(request.base_url) + "embed"
    return render(request, "board.html", context, room_id=board.room_id)


def describe_choices(request: Request, query: BoardPageQuery, board: Board) -> dict[str, Any]:
    """What can be chosen on the page, each a link that can be shared."""
    path, language = request.url.path, language_of(request)
    asked = query.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {
        "path": path,
        "room": board.room_alias or board.room_id,
        "window": choices.describe_window(query, board.window, language),
        "boards": choices.link_boards(path, query, query.board, language),
        "windows": choices.link_windows(path, query),
        "whole": path + choices.encode(query, limit=len(board.standings)),
        "hidden": {name: one for name, one in asked.items() if name not in ("q", "sort")},
        # A window that ended in the past hears nothing new.
        "is_live": query.to is None and not (query.from_ and query.window),
    }


def read_age(boards: Boards, now: datetime) -> Age:
    """As of when the data is, and whether that is longer ago than it should be."""
    workers = read_health(boards.engine).workers
    synced_ts = workers[0].synced_ts if workers else None
    synced_at = None if synced_ts is None else from_ts(synced_ts)
    return Age(synced_at, synced_at is None or now - synced_at > STALE_AFTER)
