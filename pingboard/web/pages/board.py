"""/: the leaderboard; /embed: it in an iframe on another site, where the operator allows that."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pingboard.boards import Boards
from pingboard.model import DEFAULT_BOARD, Board, UnknownRoomError
from pingboard.store.editions import read_edition_names
from pingboard.web import errors
from pingboard.web.dependencies import GivenAll, Now
from pingboard.web.pages import choices
from pingboard.web.pages.board_view import BoardPageQuery, build_view
from pingboard.web.pages.layout import TAG, describe_room, language_of, render
from pingboard.web.parameters import RoomQuery
from pingboard.web.worker_health import read_worker

REFRESH_S = 5
"""How often a page without JavaScript that waits for its first pongs looks again."""

EMBEDDED_ROWS = 10
"""Of the board, where nothing else is asked for."""

_EMBED_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors "
)
"""No script at all: who embeds it gets a table."""

router = APIRouter(tags=[TAG], include_in_schema=False)


class LastPong(NamedTuple):
    """When a room was heard last, and the page that shows it."""

    at: datetime
    href: str


@router.get("/")
def show_board(
    request: Request, given: GivenAll, now: Now, query: Annotated[BoardPageQuery, Query()]
) -> Response:
    """The leaderboard; a page that waits and looks again while there is no room or no pong yet."""
    boards = given.boards
    if find_room(boards, query)[0] is None:
        return render_waiting(request, boards, now)
    # All of it: the page searches and sorts before it cuts.
    board = query.model_copy(update={"limit": None}).ask(boards, now)
    worker = read_worker(boards.engine, now, board.room_id)
    context = {
        "worker": worker,
        **build_context(request, boards, query, board),
    }
    context["has_editions"] = bool(read_edition_names(boards.engine))
    context["last_pong"] = None if board.samples else find_last_pong(request, boards, query, board)
    if given.embed_origins:
        context["embed"] = str(request.base_url) + "embed"
    return render(request, "board.html", context, room_id=board.room_id)


@router.get("/embed")
def show_embedded(
    request: Request, given: GivenAll, now: Now, query: Annotated[BoardPageQuery, Query()]
) -> Response:
    """The board without all around it; 403 where embedding is not turned on."""
    if not given.embed_origins:
        raise errors.problem(
            "embedding-off",
            "Embedding is off here. The operator turns it on by naming the sites that may show "
            "the board, for example PINGBOARD_EMBED_ORIGINS=https://blog.example, or * for all.",
        )
    board = query.model_copy(update={"limit": None}).ask(given.boards, now)
    shown = query.model_copy(update={"limit": query.limit or EMBEDDED_ROWS})
    context = build_context(request, given.boards, shown, board)
    context["worker"] = read_worker(given.boards.engine, now, board.room_id)
    context["whole"] = "/" + choices.encode(query, limit=None)
    policy = _EMBED_POLICY + " ".join(given.embed_origins)
    return render(request, "embed.html", context, headers={"Content-Security-Policy": policy})


def find_room(boards: Boards, query: RoomQuery) -> tuple[str | None, str | None]:
    """Return the ID and alias of a page's room; None where the default one is not joined yet.

    That is nobody's mistake, and passes.
    """
    try:
        return boards.find_room(query.room)
    except UnknownRoomError:
        if query.room is not None:
            raise
        return None, None


def find_last_pong(
    request: Request, boards: Boards, query: BoardPageQuery, board: Board
) -> LastPong | None:
    """The last pong of an empty board's room from before its window; None where there is none."""
    at = next((room.last_pong_at for room in boards.rooms() if room.room_id == board.room_id), None)
    if at is None or at >= board.window.start:
        return None
    href = choices.encode(query, window=None, from_=None, to=at + timedelta(seconds=1))
    return LastPong(at, request.url.path + href)


def render_waiting(request: Request, boards: Boards, now: datetime) -> Response:
    """The page while there is no room yet, which looks again by itself."""
    worker = read_worker(boards.engine, now)
    return render(request, "waiting.html", {"refresh_s": REFRESH_S, "worker": worker})


def build_context(
    request: Request, boards: Boards, query: BoardPageQuery, board: Board
) -> dict[str, Any]:
    """A board, and what can be chosen on its page, each a link that can be shared."""
    path, language = request.url.path, language_of(request)
    default = board.name if query.board is None else DEFAULT_BOARD
    # Named in each link where it is not the one that is shown without a name.
    query = query.model_copy(update={"board": None if board.name is DEFAULT_BOARD else board.name})
    asked = query.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {
        "query": query,
        "meaning": choices.MEANINGS[board.name],
        "view": build_view(boards, board, query),
        "is_fallback": default is not DEFAULT_BOARD and bool(board.samples),
        "refresh_s": REFRESH_S,
        "path": path,
        "room": describe_room(board.room_alias or board.room_id),
        "window": choices.describe_window(query, board.window, language),
        "boards": choices.link_boards(path, query, board.name, language, default),
        "windows": choices.link_windows(path, query),
        "whole": path + choices.encode(query, limit=len(board.standings)),
        "hidden": {name: value for name, value in asked.items() if name not in ("q", "sort")},
    }
