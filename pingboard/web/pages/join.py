"""/join: how a homeserver comes onto the board, and whether it did."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from pingboard import homeservers
from pingboard.boards import Boards
from pingboard.homeservers import Profile
from pingboard.model import (
    DEFAULT_WINDOW,
    BoardName,
    UnknownHomeserverError,
    Window,
)
from pingboard.servername import is_server_name, read_server_name
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.pages.board import find_room
from pingboard.web.pages.layout import TAG, PageQuery, describe_room, render
from pingboard.web.pages.remedies import REMEDIES
from pingboard.web.worker_health import read_worker

SIMILAR = 3
"""Names that may have been meant, at most."""

router = APIRouter(tags=[TAG], include_in_schema=False)


class JoinQuery(PageQuery):
    homeserver: Annotated[str, Field(max_length=255)] = Field(
        "", description="Matrix server name, or a user ID on it, to look for."
    )


class BotVerdict(StrEnum):
    """What is known of a homeserver's bot."""

    INVALID = "invalid"
    """no server name"""
    UNKNOWN = "unknown"
    """never heard"""
    SILENT = "silent"
    """heard before, but not in the last days"""
    ONLY_PINGS = "only-pings"
    """its users ping, but no bot of it answers"""
    REJECTED = "rejected"
    """its bot answers, and none of it counts"""
    COUNTS = "counts"


class Check(NamedTuple):
    """The answer of the form."""

    asked: str
    verdict: BotVerdict
    profile: Profile | None
    """None where nothing was ever heard"""
    similar: list[str]
    """names that may have been meant"""


@router.get("/join")
def show_join(
    request: Request, boards: GivenBoards, now: Now, query: Annotated[JoinQuery, Query()]
) -> Response:
    """Three ways to bring a homeserver, and whether one is heard."""
    context: dict[str, Any] = {
        "query": query,
        "check": None,
        "room": None,
        "remedies": REMEDIES,
    }
    room_id, alias = find_room(boards, query)
    if room_id is None:
        return render(request, "join.html", context)
    context["room"] = describe_room(alias or room_id)
    if query.homeserver.strip():
        window = Window.named(DEFAULT_WINDOW, now)
        context["check"] = check(boards, room_id, window, query.homeserver.strip())
        context["worker"] = read_worker(boards.engine, now, room_id)
    return render(request, "join.html", context, room_id=room_id)


def check(boards: Boards, room_id: str, window: Window, asked: str) -> Check:
    """Whether the bot of a homeserver was heard in a window, and whether its pongs count."""
    name = read_server_name(asked)
    if not is_server_name(name):
        return Check(asked, BotVerdict.INVALID, None, [])
    try:
        profile = homeservers.read_profile(boards, room_id, window, name, now=window.end)
    except UnknownHomeserverError:
        return Check(
            name, BotVerdict.UNKNOWN, None, homeservers.find_similar(boards, name, SIMILAR)
        )
    return Check(name, _judge(profile), profile, [])


def _judge(profile: Profile) -> BotVerdict:
    places = profile.places
    if places[BoardName.RESPONSE] or places[BoardName.RECEPTION]:
        return BotVerdict.COUNTS
    if profile.rejected:
        return BotVerdict.REJECTED
    return BotVerdict.ONLY_PINGS if places[BoardName.DELIVERY] else BotVerdict.SILENT
