"""What several JSON answers have in common."""

from __future__ import annotations

import json
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from pingboard.boards import Boards
from pingboard.model import Window, write_instant
from pingboard.render.standing_fields import LOSS_DIGITS
from pingboard.web.parameters import WindowQuery

EXAMPLES: dict[str, Any] = json.loads(
    files("pingboard.web").joinpath("examples.json").read_text("utf-8")
)
"""An answer of each model, by its name."""


def shorten(ms: float) -> int | float:
    """A whole number as an integer, so that JSON says 403 and not 403.0."""
    return int(ms) if ms.is_integer() else ms


Milliseconds = Annotated[float, PlainSerializer(shorten), WithJsonSchema({"type": "number"})]

Ratio = Annotated[
    float,
    PlainSerializer(lambda share: shorten(round(share, LOSS_DIGITS))),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]


Instant = Annotated[
    datetime,
    PlainSerializer(write_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""UTC, always with milliseconds."""

Count = Annotated[int, Field(ge=0)]


class RoomName(BaseModel):
    """A room, wherever one is named."""

    id: str = Field(description="Room ID; in room version 12 without a `:`.")
    alias: str | None = Field(description="The alias that leads to it now; null without one.")


class Interval(BaseModel):
    """A half-open interval of pong times, [from, to), UTC."""

    from_at: Instant
    to_at: Instant

    @classmethod
    def of(cls, window: Window) -> Interval:
        """A window as the API shows it."""
        return cls(from_at=window.start, to_at=window.end)


class Loss(BaseModel):
    """What became of our own pings that a homeserver was expected to answer."""

    sent_count: Count = Field(description="Pings of ours that an answer was expected to.")
    lost_count: Count = Field(description="Those not answered within 10 minutes.")
    loss: Ratio | None = Field(
        description="lost_count / sent_count, to four digits; null where nothing was sent."
    )

    @classmethod
    def of(cls, sent: int, lost: int) -> Loss:
        """The loss with its ratio."""
        return cls(sent_count=sent, lost_count=lost, loss=lost / sent if sent else None)


class Answer(BaseModel):
    """What every answer about a room and a window says of itself."""

    generated_at: Instant = Field(description="When the answer was made, UTC.")
    room: RoomName
    unit: Literal["ms"] = Field("ms", description="Of every latency: milliseconds.")
    window: Interval


def describe(boards: Boards, query: WindowQuery, now: datetime) -> Answer:
    """What an answer says of itself; raises UnknownRoomError, and a 422 for a wrong window."""
    room_id, alias = boards.find_room(query.room)
    return Answer(
        generated_at=now,
        room=RoomName(id=room_id, alias=alias),
        window=Interval.of(query.window_at(now)),
    )
