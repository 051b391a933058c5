"""pingstat's own interface: a room -> `stats.json`, `stats.raw.json`, `stats`.

Its clients need only another host name. The rules, odd ones too, are those of method: "pingstat";
so an unknown parameter is ignored here, a wrong one is its default, and an unknown room is empty.
"""

from __future__ import annotations

import json
import tempfile
import threading
from itertools import islice
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from pingboard.model import ONE_WAY_MIN_MS, PONG_TIMEOUT_MS, PingstatRow, UnknownRoomError, to_ts
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.ranking import pingstat
from pingboard.store.exporter import read_pingstat_rows
from pingboard.store.rooms import read_lineage
from pingboard.web import errors
from pingboard.web.api.streaming import stream_text
from pingboard.web.cache import MAX_BODY_BYTES
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.middleware import is_head
from pingboard.web.pages.layout import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from pingboard.boards import Boards

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
_ROOM_ID: dict[str, Any] = {
    "parameters": [
        {"name": "room_id", "in": "query", "required": True, "schema": {"type": "string"}}
    ]
}

_MISSING_ROOM: dict[int | str, dict[str, Any]] = {
    302: {"description": "To the address with the room in its path"},
    400: {
        "description": "`room_id` is missing",
        "content": {"application/problem+json": {"schema": {"type": "object"}}},
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
CHUNK_BYTES = 1 << 16
_VARY = {"Vary": "Accept-Encoding"}

_SUMMARISING = threading.Lock()
"""The document of a week has each ping in it: one at a time is made, so that many fit."""


def write_list(rows: Iterable[PingstatRow]) -> Iterator[str]:
    """The list as `json.dumps` writes it, in parts."""
    yield "["
    separator = ""
    remaining = iter(rows)
    while chunk := [row._asdict() for row in islice(remaining, CHUNK_ROWS)]:
        yield separator + json.dumps(chunk)[1:-1]
        separator = ", "
    yield "]"


def read_file(file: IO[bytes]) -> Iterator[str]:
    """What was written into a file, in parts."""
    with file:
        file.seek(0)
        while part := file.read(CHUNK_BYTES):
            yield part.decode()


def _redirect_to(target: str) -> Callable[[Request], Response]:
    def redirect(request: Request) -> Response:
        return _redirect(request, target)

    return redirect


for _target, _operation_id, _what in (
    ("stats", "redirect_pingstat", "the page"),
    ("stats.json", "redirect_pingstat_json", "the statistics"),
    ("stats.raw.json", "redirect_pingstat_raw", "single pongs"),
):
    router.get(
        f"/{_target}",
        status_code=302,
        operation_id=_operation_id,
        summary=f"Legacy address of {_what}",
        description="Redirects to the address with the room in its path.",
        openapi_extra=_ROOM_ID,
        response_class=RedirectResponse,
        responses=_MISSING_ROOM,
    )(_redirect_to(_target))


@router.get(
    "/{room:anything}/stats.json",
    operation_id="get_pingstat",
    summary="Statistics as pingstat gives them",
    response_class=Response,
    openapi_extra=_AGES,
    responses={200: {"content": _STATISTICS}},
)
def get_stats_json(request: Request, room: str, boards: GivenBoards, now: Now) -> Response:
    """Ping servers by the median of their pongs; the order of the keys is the ranking."""
    with _SUMMARISING:
        raise_if_abandoned()
        document = pingstat.summarise(_rows(request, room, boards, now, longest_ms=WEEK_MS))
        body = json.dumps(document).encode()
        del document
        if len(body) <= MAX_BODY_BYTES:
            return Response(body, media_type="application/json")
        # Who takes it slowly must not keep it in memory.
        file = tempfile.TemporaryFile()  # noqa: SIM115 (the stream closes it)
        file.write(body)
    return stream_text(request, read_file(file), "application/json", _VARY)


@router.get(
    "/{room:anything}/stats.raw.json",
    operation_id="get_pingstat_raw",
    summary="Single pongs as pingstat gives them",
    response_class=Response,
    openapi_extra=_AGES,
    responses={200: {"content": _PONGS}},
)
def get_stats_raw_json(request: Request, room: str, boards: GivenBoards, now: Now) -> Response:
    """Each pong, in the order of ping and pong server; here a window may be longer than a week."""
    rows = () if is_head(request.scope) else _rows(request, room, boards, now)
    return stream_text(request, write_list(rows), "application/json", _VARY)


@router.get(
    "/{room:anything}/stats",
    operation_id="show_pingstat",
    summary="Statistics as a page, or as JSON",
    openapi_extra=_AGES,
    response_class=Response,
    responses={200: {"content": _STATISTICS | _PAGE}},
)
def show_stats(request: Request, room: str, boards: GivenBoards, now: Now) -> Response:
    """`stats.json` as a page; as JSON for who accepts that."""
    if "application/json" in request.headers.get("accept", ""):
        return get_stats_json(request, room, boards, now)
    document = pingstat.summarise(_rows(request, room, boards, now, longest_ms=WEEK_MS))
    query = f"?{request.url.query}" if request.url.query else ""
    context = {**document, "room": room, "query": query}
    return render(request, "pingstat.html", context, headers={"Vary": "Accept, Accept-Language"})


def _redirect(request: Request, target: str) -> Response:
    room = _first(request, "room_id")
    if room is None:
        detail = "room_id: should name a room, for example ?room_id=!room:one.example"
        missing = errors.problem("bad-parameter", detail)
        missing.status = 400
        raise missing
    # Nothing that a client could take for another site: only of a room ID the colon is left.
    kept = "!:" if room.startswith("!") else ""
    return RedirectResponse(f"{quote(room, safe=kept)}/{target}", status_code=302)


def _rows(
    request: Request, room: str, boards: Boards, now: datetime, longest_ms: int | None = None
) -> Iterator[PingstatRow]:
    oldest_ms = _age_ms(request, "max_age", WEEK_MS)
    newest_ms = _age_ms(request, "min_age", 0)
    if longest_ms is not None and oldest_ms - newest_ms > longest_ms:
        oldest_ms = newest_ms + longest_ms
    now_ts = to_ts(now.replace(microsecond=now.microsecond // 1000 * 1000))
    return read_pingstat_rows(
        boards.engine,
        room,
        _find(boards, room),
        now_ts - oldest_ms,
        now_ts - newest_ms,
        ONE_WAY_MIN_MS,
        PONG_TIMEOUT_MS,
    )


def _find(boards: Boards, room: str) -> list[int]:
    """The rows of a room and of its upgrades; none for an unknown room, which is no error here."""
    try:
        room_id, _ = boards.find_room(room)
    except UnknownRoomError:
        return []
    return read_lineage(boards.engine, room_id)


def _age_ms(request: Request, name: str, default_ms: int) -> int:
    try:
        return int(_first(request, name) or "") * 1000
    except ValueError:
        return default_ms


def _first(request: Request, name: str) -> str | None:
    """A parameter; of a repeated one the first, as in pingstat."""
    return next(iter(request.query_params.getlist(name)), None)
