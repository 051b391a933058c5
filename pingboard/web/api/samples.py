"""/api/v1/samples: the samples themselves, in pages or whole, as JSON, NDJSON or CSV.

Long ones are streamed: the store reads a chunk when the client has taken the one before.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from pingboard.boards import Boards
from pingboard.model import Provenance, from_ts, write_instant
from pingboard.render.csv import harmless
from pingboard.store.journal import find_version
from pingboard.store.retention import find_kept_from
from pingboard.store.rooms import read_lineage
from pingboard.store.samples import (
    SampleFilter,
    SampleKey,
    StoredSample,
    digest_samples,
    find_page_end,
    stream,
)
from pingboard.web import errors
from pingboard.web.api.paging import link_next, read_cursor, write_cursor
from pingboard.web.api.streaming import open_stream, stream_text
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.middleware import is_head
from pingboard.web.negotiation import choose_media_type, is_matched
from pingboard.web.parameters import SampleFormat, SamplesQuery
from pingboard.web.schemas import EXAMPLES, AnswerHead, Instant, NextCursor, make_answer_head

_SAMPLE = EXAMPLES["RawSample"]
NDJSON_EXAMPLE = json.dumps(_SAMPLE, separators=(",", ":")) + "\n"
CSV_EXAMPLE = f"{','.join(_SAMPLE)}\r\n{','.join(map(str, _SAMPLE.values()))}\r\n"


class RawSample(BaseModel):
    """One ping x one pong server: all that is kept of it."""

    room_id: str = Field(description="Of a room's upgrades, the one that it was sent in.")
    ping_event_id: str
    ping_server: str
    pong_server: str
    one_way_ms: int = Field(
        description="Milliseconds from the ping's send to its arrival at the pong server, as the "
        "bot claims; two clocks made it, so it may be negative."
    )
    round_trip_ms: int | None = Field(
        description="Milliseconds from our send to the pong's arrival, by our clock; only for our "
        "own pings whose pong we saw arrive."
    )
    ping_seen_at: Instant = Field(
        description="When we received the ping, UTC; for history its `origin_server_ts`."
    )
    pong_seen_at: Instant = Field(description="The same of the pong. A window is of these.")
    ping_origin_server_ts: int = Field(
        description="By the ping server's clock, which may be wrong: ms since 1970."
    )
    pong_origin_server_ts: int = Field(
        description="By the pong server's clock, which may be wrong: ms since 1970."
    )
    provenance: Literal["live", "gap_fill", "import"] = Field(description="How it came to us.")


class Samples(AnswerHead):
    """A page of samples, in the order in which their pings were seen."""

    kept_from_at: Instant | None = Field(
        description="Single samples of before are not kept here any more, though boards still have "
        "them; null where all are."
    )
    next_cursor: NextCursor
    samples: list[RawSample]


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Samples,
        "description": "The samples",
        "headers": {
            "Link": {
                "description": 'The next page, `<?...>; rel="next"`, relative to this one; absent '
                "on the last.",
                "schema": {"type": "string"},
            }
        },
        "content": {
            "application/json": {},  # the first is what a client gets who does not choose
            "application/x-ndjson": {"schema": {"type": "string"}, "example": NDJSON_EXAMPLE},
            "text/csv": {"schema": {"type": "string"}, "example": CSV_EXAMPLE},
        },
    }
}
"""For the OpenAPI description."""


router = APIRouter(tags=["samples"], responses=errors.UNKNOWN_ROOM_RESPONSE)

JSON_PAGE = 1000
"""How many samples a JSON page has where `limit` is left out; a stream has all."""

MAX_KEPT = 1000
"""Samples of a JSON page that is not streamed."""

MEDIA_TYPES = {
    SampleFormat.JSON: "application/json",
    SampleFormat.NDJSON: "application/x-ndjson",
    SampleFormat.CSV: "text/csv; charset=utf-8; header=present",
}

SampleRow = dict[str, Any]


@router.get(
    "/api/v1/samples",
    summary="The samples themselves",
    response_class=Response,
    responses=RESPONSES,
)
def list_samples(
    request: Request, boards: GivenBoards, now: Now, query: Annotated[SamplesQuery, Query()]
) -> Response:
    """Those whose pong was seen in the window, in the order in which their pings were seen.

    JSON comes in pages, with `next_cursor`; NDJSON and CSV come whole, unless `limit` makes pages
    of them too. Every page but the last has a `Link` with `rel="next"`.
    """
    chosen = query.format or _choose_format(request.headers.get("accept", ""))
    limit = query.limit or (JSON_PAGE if chosen is SampleFormat.JSON else None)
    headers = {"Vary": "Accept, Accept-Encoding"}
    # A page is kept, with a tag of its content, which stays the same as long as the samples do.
    is_page = chosen is SampleFormat.JSON and limit is not None and limit <= MAX_KEPT
    answer, window = make_answer_head(boards, query, now), query.window_at(now)
    rooms = read_lineage(boards.engine, answer.room.id)
    sample_filter = SampleFilter(rooms, window, query.ping_server, query.pong_server)
    if not is_page:
        headers["ETag"] = _make_tag(boards, query, sample_filter, chosen, now)
        if is_matched(request.headers.get("if-none-match", "").encode(), headers["ETag"].encode()):
            return Response(status_code=304, headers=headers)
        open_stream(request)
    binding = f"samples {answer.room.id} {query.ping_server} {query.pong_server}"
    after = _read_key(query.cursor, binding)
    last, cursor = None, None
    if limit is not None:
        last, has_more = find_page_end(boards.engine, sample_filter, after, limit)
        cursor = write_cursor(list(last), binding) if last and has_more else None
    is_left_out = is_head(request.scope) and not is_page
    chunks = iter(()) if is_left_out else stream(boards.engine, sample_filter, after, last)
    described = ([describe_sample(sample) for sample in chunk] for chunk in chunks)
    if chosen is SampleFormat.JSON:
        body = _write_json(described, answer, find_kept_from(boards.engine, rooms), cursor)
    else:
        body = _write_ndjson(described) if chosen is SampleFormat.NDJSON else _write_csv(described)
    response: Response
    if is_page:
        response = Response("".join(body), 200, headers, MEDIA_TYPES[chosen])
    else:
        response = stream_text(request, body, MEDIA_TYPES[chosen], headers)
    if cursor is not None:
        link_next(response, {**query.keep(window), "cursor": cursor})
    return response


def _read_key(cursor: str | None, binding: str) -> SampleKey | None:
    if cursor is None:
        return None
    seen_ts, ping, pong_server = read_cursor(cursor, binding, int, 3)
    return seen_ts, ping, pong_server


def _make_tag(
    boards: Boards,
    query: SamplesQuery,
    sample_filter: SampleFilter,
    chosen: SampleFormat,
    now: datetime,
) -> str:
    """Say which samples an answer has. Weak, because the time in the answer differs.

    Of a window in the past it is made of the samples, so that it stays the same for ever; of one
    that more may come into, of the version of the data and, where it ends now, of the minute.
    """
    state: object = None
    if query.from_ and query.to and sample_filter.window.end < now:
        state = digest_samples(boards.engine, sample_filter)
    if state is None:
        minute = 0 if query.from_ and query.to else int(now.timestamp() // 60)
        state = minute, find_version(boards.engine)
    asked = f"{query.model_dump_json()} {chosen} {state}"
    return f'W/"{hashlib.blake2b(asked.encode(), digest_size=9).hexdigest()}"'


def _choose_format(accept: str) -> SampleFormat:
    """The one of our formats that an Accept header likes best; JSON where it likes none."""
    offered = {kind.partition(";")[0]: chosen for chosen, kind in MEDIA_TYPES.items()}
    return offered[choose_media_type(accept, list(offered))]


def describe_sample(sample: StoredSample) -> SampleRow:
    return {
        "room_id": sample.ping.room_id,
        "ping_event_id": sample.ping.event_id,
        "ping_server": sample.ping.server,
        "pong_server": sample.pong_server,
        "one_way_ms": sample.one_way_ms,
        "round_trip_ms": sample.round_trip_ms,
        "ping_seen_at": write_instant(from_ts(sample.ping.seen_ts)),
        "pong_seen_at": write_instant(from_ts(sample.pong_seen_ts)),
        "ping_origin_server_ts": sample.ping.origin_server_ts,
        "pong_origin_server_ts": sample.pong_origin_server_ts,
        "provenance": Provenance(sample.provenance).name.lower(),
    }


def _write_json(
    chunks: Iterator[list[SampleRow]], answer: AnswerHead, kept_from: int | None, cursor: str | None
) -> Iterator[str]:
    """One object, as if it were written at once: what precedes the samples, and they."""
    head = answer.model_dump(mode="json", by_alias=True)
    head["kept_from_at"] = None if kept_from is None else write_instant(from_ts(kept_from))
    head["next_cursor"] = cursor
    yield f'{_dump(head)[:-1]},"samples":['
    separator = ""
    for chunk in chunks:
        yield separator + ",".join(map(_dump, chunk))
        separator = ","
    yield "]}"


def _write_ndjson(chunks: Iterator[list[SampleRow]]) -> Iterator[str]:
    for chunk in chunks:
        yield "".join(_dump(row) + "\n" for row in chunk)


def _write_csv(chunks: Iterator[list[SampleRow]]) -> Iterator[str]:
    """RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe."""
    yield ",".join(RawSample.model_fields) + "\r\n"
    for chunk in chunks:
        text = io.StringIO()
        csv.writer(text).writerows([map(harmless, row.values()) for row in chunk])
        yield text.getvalue()


def _dump(row: SampleRow) -> str:
    return json.dumps(row, separators=(",", ":"))
