"""/matrix: how fast each ping server's pings reach each pong server, as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from pingboard import homeservers
from pingboard.model import BoardName
from pingboard.web.charts import heat
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.pages import choices
from pingboard.web.pages.board import find_room, render_waiting
from pingboard.web.pages.layout import TAG, ChoiceLink, PageQuery, language_of, render
from pingboard.web.parameters import WindowQuery
from pingboard.web.worker_health import read_worker

router = APIRouter(tags=[TAG], include_in_schema=False)


class MatrixPageQuery(WindowQuery, PageQuery):
    """Which room and when; beyond a page of homeservers, which of them."""

    pings: int = Field(1, ge=1, le=1000, description="Page of ping servers.")
    pongs: int = Field(1, ge=1, le=1000, description="Page of pong servers.")


@router.get("/matrix")
def show_matrix(
    request: Request, boards: GivenBoards, now: Now, query: Annotated[MatrixPageQuery, Query()]
) -> Response:
    """The matrix, its homeservers in the order of their boards, a page of them each way."""
    room_id, alias = find_room(boards, query)
    if room_id is None:
        return render_waiting(request, boards, now)
    window = query.window_at(now)
    ping_servers, pong_servers = (
        [row.homeserver for row in boards.board(name, window, now=now, room=room_id).standings]
        for name in (BoardName.DELIVERY, BoardName.RECEPTION)
    )
    pairs = [*homeservers.read_matrix(boards, room_id, window)]
    ping_page, pong_page = _find(ping_servers, query.pings), _find(pong_servers, query.pongs)
    shown = heat.draw(pairs, _cut(ping_servers, ping_page), _cut(pong_servers, pong_page))
    path, language = request.url.path, language_of(request)
    context = {
        "query": query,
        "now": now,
        "worker": read_worker(boards.engine, now, room_id),
        "room": alias or room_id,
        "window": choices.describe_window(query, window, language),
        "windows": choices.link_windows(path, query),
        "heat": shown,
        "size": _size(shown),
        "ping_pages": _link_pages(path, query, "pings", ping_page, len(ping_servers)),
        "pong_pages": _link_pages(path, query, "pongs", pong_page, len(pong_servers)),
        "parameters": choices.encode(query, leave_out=frozenset({"lang", "pings", "pongs"})),
    }
    return render(request, "matrix.html", context, room_id=room_id)


def _find(names: Sequence[str], asked: int) -> int:
    """The page that was asked for, or the last."""
    return min(asked, max(_count_pages(len(names)), 1))


def _count_pages(total: int) -> int:
    return -(-total // heat.PAGE)


def _cut(names: Sequence[str], page: int) -> Sequence[str]:
    return names[(page - 1) * heat.PAGE : page * heat.PAGE]


def _size(shown: heat.Heat) -> str:
    """How large a cell is, the name of a class: as large as there is room."""
    longest = max(len(shown.ping_servers), len(shown.pong_servers))
    return "large" if longest <= 10 else "medium" if longest <= 40 else "small"


def _link_pages(
    path: str, query: MatrixPageQuery, name: str, shown: int, total: int
) -> list[ChoiceLink]:
    """A link for each page, one of which is shown; [] where one has all."""
    pages = _count_pages(total)
    if pages < 2:
        return []
    links = []
    for page in range(1, pages + 1):
        change: dict[str, Any] = {name: page}
        first, last = (page - 1) * heat.PAGE + 1, min(page * heat.PAGE, total)
        href = path + choices.encode(query, **change)
        links.append(ChoiceLink(f"{first} – {last}", href, page == shown))
    return links
