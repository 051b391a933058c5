"""/api/v1/live: server-sent events, each new pong and each change of rank."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Send

from pingboard.model import BoardName
from pingboard.web import errors
from pingboard.web.api.samples import describe_sample
from pingboard.web.dependencies import Given, GivenAll
from pingboard.web.limits import name_client
from pingboard.web.live_updates import MAX_BATCH, LiveEvent, NewPong, RankChange, Start
from pingboard.web.middleware import is_head
from pingboard.web.parameters import RoomQuery
from pingboard.web.schemas import EXAMPLES

router = APIRouter(tags=["live"], responses=errors.UNKNOWN_ROOM_RESPONSE)

MAX_LISTENERS_PER_CLIENT = 20

MAX_SEND_S = 30.0
"""How long a client may take for a part of the stream."""

RETRY_MS = 2000
"""How soon a browser that was cut off comes back."""


class LiveReset(BaseModel):
    """Something is not told: read what you need again."""

    reason: str


def _describe_event(name: str, data: dict[str, Any], *, has_id: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "event": {"const": name},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": data,
        },
    }
    if has_id:
        properties["id"] = {"type": "string", "pattern": "^[0-9]+$"}
    return {"type": "object", "properties": properties, "required": [*properties]}


def _refer(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


EVENT_SCHEMA = {
    "oneOf": [
        _describe_event("pong", {"$ref": "#/components/schemas/RawSample"}, has_id=True),
        _describe_event("rank", _refer(RankChange), has_id=False),
        _describe_event("reset", _refer(LiveReset), has_id=True),
    ]
}
"""For the OpenAPI description, as its version 3.2 describes the events of a stream."""


_RANK_EXAMPLE = RankChange(
    room_id=EXAMPLES["RawSample"]["room_id"],
    board=BoardName.RESPONSE,
    homeserver="one.example",
    rank=1,
    previous_rank=2,
    median_ms=403,
)
EXAMPLE = b"".join(
    [
        format_sse_event(id="6", retry=RETRY_MS),
        format_sse_event(id="7", event="pong", data_str=json.dumps(EXAMPLES["RawSample"])),
        format_sse_event(event="rank", data_str=_RANK_EXAMPLE.model_dump_json()),
        KEEPALIVE_COMMENT,
    ]
).decode()


class EventStream(StreamingResponse):
    """Begins with its first part: whoever has the headers misses nothing from then on.

    It ends where its client does not take for a while what is sent to it; it may resume.
    """

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """As any stream, with a limit for each part."""
        held: list[Message] = []

        async def send_in_time(message: Message) -> None:
            held.append(message)
            if message["type"] == "http.response.start":
                return  # A browser calls it open as soon as it sees the headers.
            async with asyncio.timeout(MAX_SEND_S):
                for part in held:
                    await send(part)
            held.clear()

        with contextlib.suppress(TimeoutError):
            await super().stream_response(send_in_time)


@dataclass(frozen=True, slots=True)
class _Asked:
    room_id: str
    after: int | None
    client: str | None
    """None for this machine, which stands for all behind a proxy that does not name them"""


async def _ask(
    request: Request,
    given: GivenAll,
    query: Annotated[RoomQuery, Query()],
    last_event_id: Annotated[
        str | None,
        Header(
            pattern="^[0-9]{1,18}$",
            description="The `id` of the last event seen: what came since then comes first. "
            "Browsers send it by themselves.",
        ),
    ] = None,
) -> _Asked:
    """Everything that can be refused, before the stream begins."""
    client = name_client(request.scope["client"])
    if given.live_updates.is_full or given.listeners[client] >= MAX_LISTENERS_PER_CLIENT:
        raise errors.problem("too-busy", "Too many listeners; please try again later.")
    # In the pool, as any path that asks the database.
    room_id, _ = await run_in_threadpool(given.boards.find_room, query.room)
    return _Asked(room_id, None if last_event_id is None else int(last_event_id), client)


@router.get(
    "/api/v1/live",
    summary="New pongs and changed ranks, as they come",
    response_class=EventStream,
    responses={
        200: {
            "description": "Events: `pong` (a sample, as in /api/v1/samples; its `id` is to resume "
            "from), `rank` (a homeserver moved on a board of the default window; `rank` is null "
            "where it left it, `previous_rank` where it is new), `reset` (the last event seen is "
            "too long ago, or more than 500 ranks changed at once: read what you need again). A "
            "comment at least every 15 s.",
            "content": {"text/event-stream": {"itemSchema": EVENT_SCHEMA, "example": EXAMPLE}},
        },
        **errors.TOO_BUSY_RESPONSE,
    },
)
async def follow_live(
    request: Request, given: GivenAll, asked: Annotated[_Asked, Depends(_ask)]
) -> Response:
    """Server-sent events: a pong within a second, a change of rank within a few seconds.

    After a disconnect, a request with `Last-Event-ID` gets every pong since then exactly once, even
    if the server was restarted. Changes of rank are not repeated; ask /api/v1/rankings.
    """
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    if is_head(request.scope):
        return EventStream([], headers=headers)
    return EventStream(_follow(given, asked), headers=headers)


async def _follow(given: Given, asked: _Asked) -> AsyncIterator[bytes]:
    if asked.client is not None:
        given.listeners[asked.client] += 1
    try:
        async for batch in given.live_updates.listen(asked.room_id, asked.after):
            yield b"".join(map(_write, batch)) or KEEPALIVE_COMMENT
    finally:
        if asked.client is not None:
            given.listeners[asked.client] -= 1
            if not given.listeners[asked.client]:
                del given.listeners[asked.client]


# One text for all who listen: FastAPI's own streams would write it anew for each.
@functools.lru_cache(maxsize=2 * MAX_BATCH)
def _write(event: LiveEvent) -> bytes:
    if isinstance(event, NewPong):
        data = json.dumps(describe_sample(event.sample))
        return format_sse_event(id=str(event.id), event="pong", data_str=data)
    if isinstance(event, RankChange):
        return format_sse_event(event="rank", data_str=event.model_dump_json())
    if isinstance(event, Start):
        return format_sse_event(id=str(event.id), retry=RETRY_MS)
    reset = LiveReset(reason=event.reason)
    return format_sse_event(id=str(event.id), event="reset", data_str=reset.model_dump_json())
