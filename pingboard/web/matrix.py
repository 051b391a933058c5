"""/api/v1/matrix: how fast each ping server's pings reach each pong server."""

from __future__ import annotations

from bisect import bisect_right
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from pingboard import profiles
from pingboard.ranking.pairs import Pair
from pingboard.web import problems
from pingboard.web.answers import Answer, Milliseconds, describe
from pingboard.web.cursors import link_next, read_cursor, write_cursor
from pingboard.web.dependencies import GivenBoards, Now
from pingboard.web.detail_parameters import MatrixQuery
from pingboard.web.parameters import refusal

router = APIRouter(
    tags=["matrix"], responses=problems.UNKNOWN_ROOM_RESPONSE | problems.TOO_MANY_REQUESTS_RESPONSE
)


class PairSummary(BaseModel):
    """All samples of one ping server and one pong server."""

    model_config = ConfigDict(from_attributes=True)

    ping_server: str
    pong_server: str
    median_ms: Milliseconds = Field(description="Median one-way latency, milliseconds.")
    samples: int


EXAMPLE: JsonDict = {
    "generated_at": "2026-10-12T00:00:00Z",
    "room": {"id": "!ping:one.example", "alias": "#ping:one.example"},
    "unit": "ms",
    "window": {"from": "2026-10-05T00:00:00Z", "to": "2026-10-12T00:00:00Z"},
    "number": "one_way",
    "total": 2,
    "pairs": [
        {
            "ping_server": "ours.example",
            "pong_server": "one.example",
            "median_ms": 201,
            "samples": 5,
        },
        {
            "ping_server": "ours.example",
            "pong_server": "two.example",
            "median_ms": 256,
            "samples": 3,
        },
    ],
    "next_cursor": None,
}


class Matrix(Answer):
    """The pairs that have samples, by the names of ping and pong server."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    number: Literal["one_way"] = Field(
        "one_way", description="From the ping's send to its arrival at the pong server."
    )
    total: int = Field(description="How many pairs there are on all pages.")
    pairs: list[PairSummary]
    next_cursor: str | None = Field(description="For the next page; null on the last.")


@router.get("/api/v1/matrix", operation_id="get_matrix", summary="Ping server x pong server")
def get_matrix(
    boards: GivenBoards, now: Now, query: Annotated[MatrixQuery, Query()], response: Response
) -> Matrix:
    """Median one-way latency and count of each pair; pairs without samples are left out."""
    answer, window = describe(boards, query, now), query.window_at(now)
    pairs = [
        one
        for one in profiles.read_pairs(boards, answer.room.id, window)
        if one.samples >= query.min_samples
        and query.ping_server in (None, one.ping_server)
        and query.pong_server in (None, one.pong_server)
    ]
    binding = f"matrix {answer.room.id}"
    first = _find_first(pairs, query.cursor, binding)
    page = pairs[first : first + query.limit]
    cursor = None
    if first + query.limit < len(pairs):
        cursor = write_cursor([page[-1].ping_server, page[-1].pong_server], binding)
        link_next(response, query.next_page(window, cursor))
    return Matrix(
        **dict(answer),
        total=len(pairs),
        pairs=[PairSummary.model_validate(one) for one in page],
        next_cursor=cursor,
    )


def _find_first(pairs: list[Pair], cursor: str | None, binding: str) -> int:
    """Where the page begins: behind the cursor's pair, also if that is gone by now."""
    if cursor is None:
        return 0
    try:
        last = tuple(read_cursor(cursor, binding))
    except ValueError as error:
        raise refusal("cursor", str(error)) from None
    return bisect_right(pairs, last, key=lambda one: one[:2])
