"""/api/v1/rooms: the rooms that can be asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from pingboard.model import RoomState
from pingboard.store.rooms import read_room_states
from pingboard.web import errors
from pingboard.web.api.paging import cut_page
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.parameters import ListQuery
from pingboard.web.schemas import Count, Instant, NextCursor, RoomName
from pingboard.web.worker_health import read_worker

router = APIRouter(tags=["rooms"], responses=errors.BAD_PARAMETER_RESPONSE)


class RoomSummary(BaseModel):
    """A room that was joined or has samples."""

    room: RoomName
    state: RoomState | None = Field(
        description="`joined`: measured in. `unjoined`: not joined yet. `left`: the account was "
        "kicked or banned, or left. `denied`: it may not send. `encrypted`: nothing may be sent in "
        "the clear. `locked`, `suspended`: so is the account. `resource_limit`, `no_consent`: its "
        "homeserver has reached a limit, or wants its terms agreed to. `upgraded`: another room "
        "took its place. null: never joined, as after an import."
    )
    predecessor_room_id: str | None = Field(
        description="The room that was upgraded to this one. Rankings of any room of a "
        "lineage are those of all of it."
    )
    sample_count: Count = Field(description="Samples stored, of all times.")
    last_pong_at: Instant | None = Field(
        description="When the last pong that counts was seen, UTC; null before the first."
    )


class Rooms(BaseModel):
    """All rooms, the one with the latest ping first."""

    last_sync_at: Instant | None = Field(
        description="When the worker last heard from its homeserver, UTC: what is served here is "
        "as of then. null where no worker ever did."
    )
    is_stale: bool = Field(
        description="The worker does not sync; /readyz says why. All is served still."
    )
    rooms: list[RoomSummary]
    next_cursor: NextCursor


@router.get("/api/v1/rooms", summary="The rooms of this site")
def list_rooms(
    response: Response, boards: GivenBoards, now: Now, query: Annotated[ListQuery, Query()]
) -> Rooms:
    """Those joined or imported, the one with the latest ping first, and whether new data comes."""
    worker = read_worker(boards.engine, now)
    page, cursor = cut_page(boards.rooms(), query, response, lambda room: room.room_id)
    known = read_room_states(boards.engine)  # after them, so that each of them is known
    return Rooms(
        last_sync_at=worker.synced_at,
        is_stale=worker.is_stale,
        rooms=[
            RoomSummary(
                room=RoomName(id=room.room_id, alias=room.alias),
                state=known[room.room_id].state,
                predecessor_room_id=known[room.room_id].predecessor,
                sample_count=room.samples,
                last_pong_at=room.last_pong_at,
            )
            for room in page
        ],
        next_cursor=cursor,
    )
