"""What several answers have in common, and the OpenAPI description of all.

That is FastAPI's, with examples, and with what stands around the paths: the cache, which answers
conditional requests, HEAD, and the limits. Of it FastAPI knows nothing; and it leaves out of the
description all that is null, so it must not see the examples.
"""

from __future__ import annotations

import json
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import FastAPI
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

NextCursor = Annotated[str | None, Field(description="For the next page; null on the last.")]


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
        return cls(from_at=window.start, to_at=window.end)


class Loss(BaseModel):
    """What became of our own pings that a homeserver answered, or was expected to."""

    sent_count: Count = Field(description="Our own pings that it answered, or was expected to.")
    lost_count: Count = Field(description="Those not answered within 10 minutes.")
    loss: Ratio | None = Field(
        description="lost_count / sent_count, to four digits; null where nothing was sent."
    )

    @classmethod
    def of(cls, sent: int, lost: int) -> Loss:
        return cls(sent_count=sent, lost_count=lost, loss=lost / sent if sent else None)


class AnswerHead(BaseModel):
    """What every answer about a room and a window says of itself."""

    generated_at: Instant = Field(description="When the answer was made, UTC.")
    room: RoomName
    unit: Literal["ms"] = Field("ms", description="Of every latency: milliseconds.")
    window: Interval


def make_answer_head(boards: Boards, query: WindowQuery, now: datetime) -> AnswerHead:
    """What an answer says of itself; raises UnknownRoomError, and a 422 for a wrong window."""
    room_id, alias = boards.find_room(query.room)
    return AnswerHead(
        generated_at=now,
        room=RoomName(id=room_id, alias=alias),
        window=Interval.of(query.window_at(now)),
    )


def describe_text(
    media_type: str, description: str, **more: Any
) -> dict[int | str, dict[str, Any]]:
    """Return the description of an answer that is a text of this type."""
    content = {media_type: {"schema": {"type": "string"}, **more}}
    return {200: {"description": description, "content": content}}


_HEADERS: dict[str, Any] = {
    "ETag": {
        "description": "Stays the same as long as the data does; send it as `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "How long the answer is fresh.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimit": {
        "description": "What is left: `r` units now, and in `t` seconds enough for a request "
        "(draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"units";r=0;t=1',
    },
    "RateLimit-Policy": {
        "description": "`q` units at once, which come back within `w` seconds.",
        "schema": {"type": "string"},
        "example": '"units";q=60;w=30',
    },
}
_PARAMETERS: dict[str, Any] = {
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` of an answer that the client has.",
        "schema": {"type": "string"},
    }
}

TAGS = [
    {"name": "rankings", "description": "The boards: as JSON, as a table to paste, as CSV."},
    {"name": "editions", "description": "The boards of past weeks, frozen."},
    {"name": "rooms", "description": "The rooms that can be asked for."},
    {"name": "homeservers", "description": "One homeserver in detail: is it me or them?"},
    {"name": "matrix", "description": "How fast each ping server's pings reach each pong server."},
    {"name": "samples", "description": "The samples themselves, in pages or in one stream."},
    {"name": "live", "description": "Server-sent events, as they come."},
    {"name": "badges", "description": "Images for a web page or a README."},
    {"name": "pingstat", "description": "maubot/pingstat's own interface, for its clients."},
    {"name": "operations", "description": "Whether it runs, and how well."},
]


def install_description(app: FastAPI) -> None:
    """Let the app describe itself so; call it when all paths are there."""
    describe = app.openapi

    def describe_whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = describe()
            description.setdefault("servers", [{"url": "/", "description": "This server"}])
            for operations in description["paths"].values():
                _complete(operations)
            components = description["components"]
            components |= {"headers": _HEADERS, "parameters": _PARAMETERS}
            schemas = components["schemas"]
            refusal = schemas["HTTPValidationError"]
            refusal["properties"]["detail"] = {"type": "string"}
            refusal["required"].append("detail")
            for name, example in EXAMPLES.items():
                schemas[name]["examples"] = [example]
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = describe_whole  # type: ignore[method-assign]


def _complete(operations: dict[str, Any]) -> None:
    """Add to the operations of a path what the layers around it do."""
    get = operations["get"]
    for parameter in get.get("parameters", []):
        schema = parameter["schema"]
        # None stands for a parameter that is left out; a URL has no null.
        if "anyOf" in schema:
            schema.update(schema.pop("anyOf")[0])
        if "$ref" in schema:
            schema.pop("title", None)
    for status, response in get["responses"].items():
        if status in ("429", "503"):
            response.setdefault("headers", {}).update(_refer("Retry-After"))
        if status == "429":
            response["headers"].update(_refer("RateLimit", "RateLimit-Policy"))
    success = get["responses"].get("200")
    if success is None or get["tags"][0] in ("live", "operations"):
        return
    success.setdefault("headers", {}).update(_refer("ETag", "Cache-Control"))
    get["responses"]["304"] = {
        "description": "The client has this answer already",
        "headers": _refer("ETag"),
    }
    get.setdefault("parameters", []).append({"$ref": "#/components/parameters/If-None-Match"})
    operations["head"] = {
        **{name: get[name] for name in ("tags", "parameters")},
        "summary": f"{get['summary']}: its headers",
        "operationId": f"head_{get['operationId']}",
        "responses": {
            status: {name: text for name, text in response.items() if name != "content"}
            for status, response in get["responses"].items()
        },
    }


def _refer(*headers: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
