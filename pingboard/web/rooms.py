"""/api/v1/rooms: the rooms that can be asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from pingboard.web import problems
from pingboard.web.dependencies import GivenBoards
from pingboard.web.parameters import NoQuery

router = APIRouter(tags=["rooms"], responses=problems.BAD_PARAMETER_RESPONSE)


class RoomSummary(BaseModel):
    """A room that was joined or has samples."""

    id: str = Field(description="Room ID; in room version 12 without a `:`.")
    alias: str | None
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
                    "rooms": [
                        {
                            "id": "!ping:one.example",
                            "alias": "#ping:one.example",
                            "samples": 8,
                            "last_pong_at": "2026-10-11T12:00:04.600000Z",
                        }
                    ]
                }
            ]
        }
    )

    rooms: list[RoomSummary]


@router.get("/api/v1/rooms", operation_id="list_rooms", summary="The rooms")
def list_rooms(boards: GivenBoards, _query: Annotated[NoQuery, Query()]) -> Rooms:
    """Every room that was joined or has samples, the most recently heard first."""
    return Rooms(
        rooms=[
            RoomSummary(
                id=room.room_id,
                alias=room.alias,
                samples=room.samples,
                last_pong_at=room.last_pong_at,
            )
            for room in boards.rooms()
        ]
    )
