"""/api/v1/matrix: how fast each ping server's pings reach each pong server."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pingboard import homeservers
from pingboard.ranking.pairs import Pairs
from pingboard.web import errors
from pingboard.web.api.paging import link_next, read_cursor, write_cursor
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.parameters import MatrixQuery
from pingboard.web.schemas import (
    AnswerHead,
    Count,
    Milliseconds,
    NextCursor,
    make_answer_head,
    shorten,
)

router = APIRouter(tags=["matrix"], responses=errors.UNKNOWN_ROOM_RESPONSE)


class PairSummary(BaseModel):
    """All samples of one ping server and one pong server."""

    model_config = ConfigDict(from_attributes=True)

    ping_server: str
    pong_server: str
    median_ms: Milliseconds = Field(description="Median one-way latency, milliseconds.")
    sample_count: Count


class Matrix(AnswerHead):
    """The pairs that have samples, by the names of ping and pong server."""

    number: Literal["one_way"] = Field(
        "one_way", description="From the ping's send to its arrival at the pong server."
    )
    pair_count: Count = Field(description="How many pairs there are on all pages.")
    pairs: list[PairSummary]
    next_cursor: NextCursor


@router.get(
    "/api/v1/matrix",
    summary="The latency of each pair of homeservers",
    response_model=Matrix,
)
def get_matrix(boards: GivenBoards, now: Now, query: Annotated[MatrixQuery, Query()]) -> Response:
    """Median one-way times from ping server to pong server. Pairs without samples are left out."""
    answer, window = make_answer_head(boards, query, now), query.window_at(now)
    pairs = homeservers.read_matrix(boards, answer.room.id, window).select(
        ping_server=query.ping_server,
        pong_server=query.pong_server,
        min_samples=query.min_samples,
    )
    binding = " ".join(
        map(
            str, ["matrix", answer.room.id, query.ping_server, query.pong_server, query.min_samples]
        )
    )
    first = _find_first(pairs, query.cursor, binding)
    page = pairs.cut(first, first + query.limit)
    cursor = None
    if first + query.limit < len(pairs):
        [last] = page.cut(len(page) - 1, len(page))
        cursor = write_cursor([last.ping_server, last.pong_server], binding)
    document = {
        **answer.model_dump(mode="json", by_alias=True),
        "number": "one_way",
        "pair_count": len(pairs),
        # A model of each would take ten times as long, and a page has up to 100,000.
        "pairs": [
            {
                "ping_server": pair.ping_server,
                "pong_server": pair.pong_server,
                "median_ms": shorten(pair.median_ms),
                "sample_count": pair.samples,
            }
            for pair in page
        ],
        "next_cursor": cursor,
    }
    response = JSONResponse(document)
    if cursor is not None:
        link_next(response, {**query.keep(window), "cursor": cursor})
    return response


def _find_first(pairs: Pairs, cursor: str | None, binding: str) -> int:
    """Where the page begins: behind the cursor's pair, also if that is gone by now."""
    if cursor is None:
        return 0
    ping_server, pong_server = read_cursor(cursor, binding, str, 2)
    return pairs.place_after(ping_server, pong_server)
