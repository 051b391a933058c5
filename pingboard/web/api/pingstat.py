"""pingstat's own interface: a room -> `stats.json`, `stats.raw.json`, `stats`.

Its clients need only another host name. The rules are pingstat's, odd ones too: so an unknown
parameter is ignored here, a wrong one is its default, and an unknown room is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS, PingstatRow, UnknownRoomError, to_ts
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.ranking import pingstat
from pingboard.store.exporter import PingstatRows, read_pingstat_rows
from pingboard.store.rooms import read_lineage
from pingboard.web import errors
from pingboard.web.api.streaming import require_stream, stream_text
from pingboard.web.dependencies import Given, GivenAll
from pingboard.web.middleware import is_head
from pingboard.web.negotiation import names_json
from pingboard.web.pages.language import LANGUAGES
from pingboard.web.pages.layout import render

PREFIX = "/_matrix/maubot/plugin/pingstat"
WEEK_MS = 7 * 24 * 3600 * 1000

_AGES: dict[str, Any] = {
    "parameters": [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": f"{meaning}, seconds; what is no integer counts as {default}.",
            "schema": {"type": "string", "default": str(default)},
        }
        for name, meaning, default in (
            ("max_age", "Age of the oldest pong", WEEK_MS // 1000),
            ("min_age", "Age of the newest pong", 0),
        )
    ]
}
_LANGUAGE: dict[str, Any] = {
    "name": "lang",
    "in": "query",
    "required": False,
    "description": f"{', '.join(LANGUAGES)}; else what Accept-Language likes best.",
    "schema": {"type": "string"},
}
_REDIRECT: dict[str, Any] = {
    "status_code": 302,
    "openapi_extra": {
        "parameters": [
            {"name": "room_id", "in": "query", "required": True, "schema": {"type": "string"}}
        ]
    },
    "response_class": RedirectResponse,
    "responses": {
        302: {"description": "To the address with the room in its path"},
        400: {
            "description": "`room_id` is missing",
            "content": {"application/problem+json": {"schema": {"type": "object"}}},
        },
    },
}
_STATISTICS: dict[str, Any] = {
    "application/json": {"schema": {"type": "object", "required": ["pings", "mean"]}}
}
_PONGS: dict[str, Any] = {
    "application/json": {"schema": {"type": "array", "items": {"type": "object"}}}
}
_PAGE: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}

router = APIRouter(prefix=PREFIX, tags=["pingstat"])


CHUNK_ROWS = 500
MAX_KEPT_CHARACTERS = 1 << 19
"""Of an answer that is not streamed."""


def write_list(rows: Iterable[PingstatRow]) -> Iterator[str]:
    """The list as `json.dumps` writes it, in parts."""
    yield "["
    separator = ""
    remaining = iter(rows)
    while chunk := [row._asdict() for row in islice(remaining, CHUNK_ROWS)]:
        yield separator + json.dumps(chunk)[1:-1]
        separator = ", "
    yield "]"


@router.get(
    "/stats.raw.json",
    name="redirect_pingstat_raw",
    summary="Old address of single pongs",
    **_REDIRECT,
)
@router.get(
    "/stats.json",
    name="redirect_pingstat_json",
    summary="Old address of the statistics",
    **_REDIRECT,
)
@router.get("/stats", name="redirect_pingstat", summary="Old address of the page", **_REDIRECT)
def redirect(request: Request) -> Response:
    """Redirects to the address with the room in its path."""
    room = _first(request, "room_id")
    if room is None:
        detail = "room_id: should name a room, for example ?room_id=!room:one.example"
        missing = errors.problem("bad-parameter", detail)
        missing.status = 400
        raise missing
    # Nothing that a client could take for another site: only of a room ID the colon is left.
    kept = "!:" if room.startswith("!") else ""
    target = request.url.path.rpartition("/")[2]
    return RedirectResponse(f"{quote(room, safe=kept)}/{target}", status_code=302)


@router.get(
    "/{room:anything}/stats.json",
    summary="pingstat's statistics",
    response_class=Response,
    openapi_extra=_AGES,
    responses={200: {"content": _STATISTICS}},
)
async def get_pingstat(request: Request, room: str, given: GivenAll) -> Response:
    """Ping servers by the median of their pongs; the order of the keys is the ranking."""
    require_stream(request)  # sooner than the list is read
    rows = await _read(request, room, given, longest_ms=WEEK_MS)
    return await _answer(request, given, pingstat.write_document(rows.split()))


@router.get(
    "/{room:anything}/stats.raw.json",
    summary="pingstat's raw pongs",
    response_class=Response,
    openapi_extra=_AGES,
    responses={200: {"content": _PONGS}},
)
async def get_pingstat_raw(request: Request, room: str, given: GivenAll) -> Response:
    """Ordered by ping server and pong server. Only here may the window exceed a week."""
    require_stream(request)
    rows = await _read(request, room, given)
    return await _answer(request, given, write_list(rows))


@router.get(
    "/{room:anything}/stats",
    summary="pingstat's statistics as a page",
    openapi_extra={"parameters": [*_AGES["parameters"], _LANGUAGE]},
    response_class=Response,
    responses={200: {"content": _PAGE}},
)
async def show_pingstat(request: Request, room: str, given: GivenAll) -> Response:
    """`Accept: application/json` gives what `stats.json` does."""
    if names_json(request.headers.get("accept", "")):
        answer = await get_pingstat(request, room, given)
        answer.headers.add_vary_header("Accept")
        return answer
    rows = await _read(request, room, given, longest_ms=WEEK_MS)
    return await given.pingstat.run(_render, request, room, rows)


def _render(request: Request, room: str, rows: PingstatRows) -> Response:
    ping_servers = [
        _describe(name, document) for name, document in pingstat.summarise(rows.split())
    ]
    context = {
        "ping_servers": ping_servers,
        "pong_servers": sorted({name for of in ping_servers for name in of["pongs"]}),
        "room": room,
        "query": f"?{request.url.query}" if request.url.query else "",
    }
    return render(request, "pingstat.html", context, headers={"Vary": "Accept, Accept-Language"})


def _describe(name: str, document: pingstat.Document) -> dict[str, Any]:
    """What the page says of a ping server; it has no place for each ping."""
    pongs = {
        other: {"mean": of["mean"], "count": len(of["diffs"])}
        for other, of in document["pongs"].items()
    }
    return {**document, "name": name, "pings": len(document["pings"]), "pongs": pongs}


async def _read(
    request: Request, room: str, given: Given, *, longest_ms: int | None = None
) -> PingstatRows:
    """Read the rows that are asked for; of an unknown room none, which is no error here."""
    oldest_ms = _age_ms(request, "max_age", WEEK_MS)
    newest_ms = _age_ms(request, "min_age", 0)
    if longest_ms is not None and oldest_ms - newest_ms > longest_ms:
        oldest_ms = newest_ms + longest_ms
    boards, now = given.boards, given.clock()
    now_ts = to_ts(now.replace(microsecond=now.microsecond // 1000 * 1000))

    def read() -> PingstatRows:
        try:
            room_id, _ = boards.find_room(room)
        except UnknownRoomError:
            lineage: list[int] = []
        else:
            lineage = read_lineage(boards.engine, room_id)
        window = (now_ts - oldest_ms, now_ts - newest_ms)
        return read_pingstat_rows(
            boards.engine, room, lineage, *window, ONE_WAY_MIN_MS, PONG_TIMEOUT_MS
        )

    return await given.pingstat.read(read)


async def _answer(request: Request, given: Given, parts: Iterator[str]) -> Response:
    """Answer with a text: a short one at once, so that it is kept, and a long one as a stream."""
    head, is_whole = await given.pingstat.run(_join, parts)
    if is_whole:
        return Response(head, media_type="application/json")
    rest = iter(()) if is_head(request.scope) else chain(iter([head]), parts)
    return stream_text(
        request, rest, "application/json", {"Vary": "Accept-Encoding"}, given.pingstat
    )


def _join(parts: Iterator[str]) -> tuple[str, bool]:
    """Return the text up to `MAX_KEPT_CHARACTERS` and a part, and whether that is all of it."""
    text, length = [], 0
    for part in parts:
        raise_if_abandoned()
        text.append(part)
        length += len(part)
        if length > MAX_KEPT_CHARACTERS:
            return "".join(text), False
    return "".join(text), True


def _age_ms(request: Request, name: str, default_ms: int) -> int:
    try:
        return int(_first(request, name) or "") * 1000
    except ValueError:
        return default_ms


def _first(request: Request, name: str) -> str | None:
    """A parameter; of a repeated one the first, as in pingstat."""
    return next(iter(request.query_params.getlist(name)), None)
