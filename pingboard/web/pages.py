"""The pages for people: the leaderboard, and what is wrong where one can't be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import jinja2
from fastapi import APIRouter, FastAPI, Query, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from pingboard.model import (
    DEFAULT_WINDOW,
    WINDOWS,
    Board,
    BoardName,
    Standing,
    UnknownRoomError,
    Window,
)
from pingboard.render.markdown import shortest_decimal, table
from pingboard.web.bars import draw_bars
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.middleware import HEADERS
from pingboard.web.parameters import TABLE_ROWS, BoardQuery

TAG = "pages"
"""Marks the paths whose errors are pages too (see problems)."""

REFRESH_S = 5
"""How often a page that waits for its first pongs looks again."""

router = APIRouter(tags=[TAG], include_in_schema=False)


def _find_root(request: Request) -> dict[str, Any]:
    """The prefix below which a reverse proxy shows this site: every link begins with it."""
    return {"root": request.scope.get("root_path", "")}


templates = Jinja2Templates(
    context_processors=[_find_root],
    env=jinja2.Environment(
        loader=jinja2.PackageLoader("pingboard.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a board answers, in words."""

    question: str
    sentence: str


MEANINGS = {
    BoardName.RESPONSE: Meaning(
        "Who answers us fastest?",
        "Homeservers by the median round trip of our own pings: from the moment we send a ping "
        "until its pong reaches us, by our clock alone.",
    ),
    BoardName.DELIVERY: Meaning(
        "Whose messages reach everybody fastest?",
        "Homeservers that send pings, by the median time until the echo bots of all others have "
        "them, as the bots report it. This is the number that This Week in Matrix prints.",
    ),
    BoardName.RECEPTION: Meaning(
        "Who receives fastest?",
        "Homeservers with an echo bot, by the median time that pings from everybody take to reach "
        "it, as the bot reports it.",
    ),
}


@dataclass(frozen=True, slots=True)
class Link:
    """One choice among boards or windows."""

    text: str
    href: str
    is_current: bool


def format_decimal(ms: float) -> tuple[str, str]:
    """A median for a column that lines up at its decimal point: ("1,512", ".5"), ("403", "")."""
    whole, point, fraction = shortest_decimal(ms).partition(".")
    return f"{int(whole):,}", point + fraction


def format_range(row: Standing) -> str:
    """5th to 95th percentile, to the millisecond."""
    return f"{row.p5_ms:,.0f} \N{EN DASH} {row.p95_ms:,.0f}"


def format_time(at: datetime) -> str:
    """To the minute, for reading; UTC."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


_SCRIPTS = {"Content-Security-Policy": f"{HEADERS['Content-Security-Policy']}; script-src 'self'"}

templates.env.globals["refresh_s"] = REFRESH_S
templates.env.filters.update(decimal=format_decimal, range=format_range)


@router.get("/")
def show_board(
    request: Request, boards: GivenBoards, now: Now, query: Annotated[BoardQuery, Query()]
) -> Response:
    """The leaderboard; a page that waits and looks again while there is no room or no pong yet."""
    context: dict[str, Any] = {"query": query, "meaning": MEANINGS[query.board]}
    try:
        board = query.ask(boards, now)
    except UnknownRoomError:
        if query.room is not None:
            raise
        # The default room has not been joined yet: nobody's mistake, and it passes.
        return templates.TemplateResponse(request, "waiting.html", context)
    context |= {
        "board": board,
        "room": board.room_alias or board.room_id,
        "window": _describe_window(query, board.window),
        "boards": _board_links(query),
        "windows": _window_links(query),
        "rows": list(zip(board.standings, draw_bars(board.standings), strict=True)),
        "summary": _summarise(board),
        "parameters": _encode(query),
        "markdown": table(board.standings[: query.limit or TABLE_ROWS]),
    }
    return templates.TemplateResponse(request, "board.html", context, headers=_SCRIPTS)


def render_problem(
    request: Request, problem: Mapping[str, Any], headers: Mapping[str, str]
) -> Response:
    """A problem (RFC 9457) as a page, with its status."""
    return templates.TemplateResponse(
        request, "problem.html", {"problem": problem}, problem["status"], headers
    )


def mount(app: FastAPI) -> None:
    """Serve the pages and their files."""
    app.include_router(router)
    app.mount("/static", StaticFiles(packages=[("pingboard.web", "static")]), name="static")


def _board_links(query: BoardQuery) -> list[Link]:
    return [
        Link(name.capitalize(), _address(query, board=name), name is query.board)
        for name in BoardName
    ]


def _window_links(query: BoardQuery) -> list[Link]:
    current = None if query.from_ or query.to else query.window or DEFAULT_WINDOW
    return [
        Link(
            name,
            _address(query, window=None if name == DEFAULT_WINDOW else name, from_=None, to=None),
            name == current,
        )
        for name in WINDOWS
    ]


def _describe_window(query: BoardQuery, window: Window) -> str:
    if query.from_ or query.to:
        return f"{format_time(window.start)} to {format_time(window.end)}"
    name = query.window or DEFAULT_WINDOW
    count, unit = name[:-1], {"h": "hour", "d": "day"}[name[-1]]
    return f"Last {unit}" if count == "1" else f"Last {count} {unit}s"


def _address(query: BoardQuery, **changes: object) -> str:
    return "/" + _encode(query.model_copy(update=changes))


def _encode(query: BoardQuery) -> str:
    """`?` and what differs from the defaults; empty where nothing does."""
    parameters = query.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return "?" + urlencode(parameters) if parameters else ""


def _summarise(board: Board) -> str:
    """The first three in one line, for whoever shares the link."""
    return ", ".join(
        f"{row.rank}. {row.homeserver} {shortest_decimal(row.median_ms)} ms"
        for row in board.standings[:3]
    )
