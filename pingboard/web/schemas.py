"""What several JSON answers have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainSerializer, WithJsonSchema

from pingboard.boards import Boards
from pingboard.model import Window
from pingboard.web.parameters import WindowQuery


def shorten(ms: float) -> int | float:
    """A whole number as an integer, so that JSON says 403 and not 403.0."""
    return int(ms) if ms.is_integer() else ms


Milliseconds = Annotated[float, PlainSerializer(shorten), WithJsonSchema({"type": "number"})]

Ratio = Annotated[
    float,
    PlainSerializer(shorten),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]


class RoomName(BaseModel):
    """The room that an answer is about."""

    id: str
    alias: str | None


class Interval(BaseModel):
    """A half-open interval of pong times, [from, to), UTC."""

    from_: datetime = Field(serialization_alias="from")
    to: datetime

    @classmethod
    def of(cls, window: Window) -> Interval:
        """A window as the API shows it."""
        return cls(from_=window.start, to=window.end)


class Loss(BaseModel):
    """What became of our own pings that a homeserver was expected to answer."""

    sent: int = Field(description="Pings of ours that an answer was expected to.")
    lost: int = Field(description="Those not answered within 10 minutes.")
    loss: Ratio | None = Field(description="lost / sent; null where nothing was sent.")

    @classmethod
    def of(cls, sent: int, lost: int) -> Loss:
        """The loss with its ratio."""
        return cls(sent=sent, lost=lost, loss=lost / sent if sent else None)


class Answer(BaseModel):
    """What every answer about a room and a window says of itself."""

    generated_at: datetime = Field(description="When the answer was made, UTC.")
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
