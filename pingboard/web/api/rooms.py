"""/api/v1/rooms: the rooms that can be asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from pingboard.model import from_ts
from pingboard.store.health import read_health, read_rooms
from pingboard.web import errors
from pingboard.web.api.operations import STALE_AFTER
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.parameters import NoQuery

router = APIRouter(tags=["rooms"], responses=errors.BAD_PARAMETER_RESPONSE)


class RoomSummary(BaseModel):
    """A room that was joined or has samples."""

    id: str = Field(description="Room ID; in room version 12 without a `:`.")
    alias: str | None = Field(description="The alias that leads to it now; null without one.")
    state: Literal["joined", "left", "denied", "upgraded"] | None = Field(
        description="`joined`: measured in. `left`: the account was kicked or banned, or left. "
        "`denied`: it may not send. `upgraded`: another room took its place. null: never joined, "
        "as after an import."
    )
    predecessor: str | None = Field(
        description="ID of the room that was upgraded to this one. Rankings of any room of a "
        "lineage are those of all of it."
    )
    samples: int = Field(description="Samples stored, of all times.")
    last_pong_at: datetime | None = Field(
        description="When the last pong that counts was seen, UTC; null before the first."
    )


class Rooms(BaseModel):
    """All rooms, the most recently heard first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "last_sync_at": None,
                    "is_stale": True,
                    "rooms": [
                        {
                            "id": "!ping:one.example",
                            "alias": "#ping:one.example",
                            "state": "joined",
                            "predecessor": None,
                            "samples": 8,
                            "last_pong_at": "2026-10-11T12:00:04.600000Z",
                        }
                    ],
                }
            ]
        }
    )

    last_sync_at: datetime | None = Field(
        description="When the worker last heard from its homeserver, UTC: what is served here is "
        "as of then. null where no worker ever did."
    )
    is_stale: bool = Field(
        description="The worker has not synced for minutes; /readyz says why. All is served still."
    )
    rooms: list[RoomSummary]


@router.get("/api/v1/rooms", operation_id="list_rooms", summary="The rooms")
def list_rooms(boards: GivenBoards, now: Now, _query: Annotated[NoQuery, Query()]) -> Rooms:
    """Every room that was joined or has samples, the most recently heard first."""
    workers = read_health(boards.engine).workers
    synced_ts = workers[0].synced_ts if workers else None
    synced_at = None if synced_ts is None else from_ts(synced_ts)
    known = read_rooms(boards.engine)
    return Rooms(
        last_sync_at=synced_at,
        is_stale=synced_at is None or now - synced_at > STALE_AFTER,
        rooms=[
            RoomSummary(
                id=room.room_id,
                alias=room.alias,
                state=known[room.room_id].state,
                predecessor=known[room.room_id].predecessor,
                samples=room.samples,
                last_pong_at=room.last_pong_at,
            )
            for room in boards.rooms()
        ],
    )
