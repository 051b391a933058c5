"""/homeservers/{name}/feed.atom: an entry for each change of a homeserver."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from pingboard import homeservers
from pingboard.model import BoardName, Window
from pingboard.web import errors
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.pages.language import get_language
from pingboard.web.pages.layout import render_text
from pingboard.web.parameters import RoomQuery

LENGTH = timedelta(days=31)
"""How far back its entries go."""

_NAMESPACE = uuid.UUID("b9b7e0b4-3f0a-5d8e-9a52-1c6d7f3f5a10")

router = APIRouter(tags=["homeservers"], responses=errors.UNKNOWN_HOMESERVER_RESPONSE)


@router.get(
    "/homeservers/{name:anything}/feed.atom",
    operation_id="get_homeserver_feed",
    summary="What changed about a homeserver, as a feed (Atom)",
    response_class=Response,
    responses={
        200: {
            "description": "The feed",
            "content": {"application/atom+xml": {"schema": {"type": "string"}}},
        }
    },
)
def get_homeserver_feed(
    request: Request,
    boards: GivenBoards,
    now: Now,
    name: Annotated[str, Path(min_length=1, max_length=255, examples=["two.example"])],
    query: Annotated[RoomQuery, Query()],
) -> Response:
    """An entry each time it fell silent, came back, or got much slower or faster, of 31 days.

    /method says what counts as a change. The number is that of the first board it is on.
    """
    room_id, alias = boards.find_room(query.room)
    window = Window(now - LENGTH, now)
    profile = homeservers.read_profile(boards, room_id, window, name, now=now)
    board = next((board for board in BoardName if profile.places[board]), BoardName.RESPONSE)
    changes = homeservers.read_changes(boards, room_id, window, name, board)
    entries: list[dict[str, Any]] = [
        {
            # An hour may be dated differently once more is known, a day hardly ever.
            "id": uuid.uuid5(
                _NAMESPACE, f"{room_id} {name} {change.kind} {change.at:%Y-%m-%d}"
            ).urn,
            "change": change,
            "at": change.at.isoformat().replace("+00:00", "Z"),
        }
        for change in reversed(changes)
    ]
    context = {
        "base": str(request.base_url),
        "name": name,
        "room": alias or room_id,
        "entries": entries,
        "language": get_language("en"),
        "updated": entries[0]["at"] if entries else "1970-01-01T00:00:00Z",
    }
    text = render_text("homeserver_feed.atom", context)
    return Response(text, media_type="application/atom+xml")
