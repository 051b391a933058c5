"""/api/v1/rankings, /rankings.md, /rankings.csv: one board as JSON, Markdown table and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from pingboard.model import Board, BoardName, Standing
from pingboard.ranking.boards import Latency, get_rule
from pingboard.render import csv, markdown
from pingboard.web import errors
from pingboard.web.api.paging import cut_page
from pingboard.web.dependencies import GivenAll, GivenBoards, Now
from pingboard.web.negotiation import choose_media_type
from pingboard.web.parameters import BoardQuery, RankingsQuery, TableQuery
from pingboard.web.schemas import (
    AnswerHead,
    Count,
    Interval,
    Milliseconds,
    NextCursor,
    Ratio,
    RoomName,
)

JSON = "application/json"

router = APIRouter(tags=["rankings"], responses=errors.UNKNOWN_ROOM_RESPONSE)


class Filters(BaseModel):
    """What shortened the list of standings."""

    min_samples: int
    limit: int | None = Field(description="null: no limit.")


class RankedHomeserver(BaseModel):
    """One row of a board. Percentiles interpolate linearly between ranks."""

    model_config = ConfigDict(from_attributes=True)

    rank: int = Field(description="From 1; by median, then by more samples, then by name.")
    homeserver: str = Field(description="Matrix server name; a port belongs to it.")
    median_ms: Milliseconds = Field(description="Median latency, milliseconds.")
    mean_ms: Milliseconds = Field(description="Arithmetic mean, milliseconds.")
    p5_ms: Milliseconds = Field(description="5th percentile, milliseconds.")
    p25_ms: Milliseconds = Field(description="25th percentile, milliseconds.")
    p75_ms: Milliseconds = Field(description="75th percentile, milliseconds.")
    p95_ms: Milliseconds = Field(description="95th percentile, milliseconds.")
    sample_count: Count = Field(
        validation_alias="samples", description="Samples that these numbers are of."
    )
    ci95_ms: tuple[Milliseconds, Milliseconds] | None = Field(
        description="95 % interval of the median, from order statistics (exact, no distribution "
        "assumed); null below 6 samples."
    )
    tied_with_previous: bool = Field(
        description="Its interval overlaps that of the row before: their order may be chance."
    )
    sent_count: Count | None = Field(
        validation_alias="sent",
        description="Our own pings that it answered, or was expected to and did not (`response`).",
    )
    lost_count: Count | None = Field(
        validation_alias="lost", description="Of those, not answered within 10 minutes."
    )
    loss: Ratio | None = Field(
        description="lost_count / sent_count, to four digits; null where nothing was sent."
    )
    clock_offset_ms: Milliseconds | None = Field(
        description="How far its clock is ahead of ours, as NTP estimates it; null if unknown."
    )
    clock_uncertainty_ms: Milliseconds | None = Field(
        description="Half the round trip it was estimated from; a larger offset is a wrong clock."
    )
    previous_rank: int | None = Field(
        description="Its rank in the last edition before the window's end; null where it had none."
    )


class Rankings(AnswerHead):
    """The ordered standings of one room and one window."""

    vantage: str = Field(description="The name of the place that our own pings are sent from.")
    board: BoardName
    number: Latency = Field(
        description="What is ranked: `round_trip`, from our send to the pong's arrival, by our own "
        "clock (`response`); or `one_way`, from the ping's send to its arrival at the pong server, "
        "as the echo bot claims it (`delivery`, `reception`)."
    )
    filters: Filters
    sample_count: Count = Field(
        description="Of all homeservers, also those that the filters left out."
    )
    standings: list[RankedHomeserver]
    next_cursor: NextCursor

    @classmethod
    def of(
        cls,
        board: Board,
        query: BoardQuery,
        page: Sequence[Standing],
        cursor: str | None,
        vantage: str,
    ) -> Rankings:
        return cls(
            generated_at=board.generated_at,
            room=RoomName(id=board.room_id, alias=board.room_alias),
            vantage=vantage,
            board=board.name,
            number=get_rule(board.name).latency,
            window=Interval.of(board.window),
            filters=Filters(min_samples=query.min_samples, limit=query.limit),
            sample_count=board.samples,
            standings=[RankedHomeserver.model_validate(row) for row in page],
            next_cursor=cursor,
        )


class MarkdownResponse(Response):
    """Markdown; Starlette adds the charset, UTF-8, to every text."""

    media_type = "text/markdown"


class CsvResponse(Response):
    media_type = "text/csv"


TABLE_EXAMPLE = (
    "|Rank|Hostname|Median MS|\n|:---:|:---:|:---:|\n|1|one.example|403|\n|2|two.example|512|\n"
)
MARKDOWN_CONTENT: dict[str, Any] = {
    "text/markdown": {"schema": {"type": "string"}, "example": TABLE_EXAMPLE}
}
CSV_CONTENT: dict[str, Any] = {
    "text/csv": {
        "schema": {"type": "string"},
        "example": "rank,homeserver,median_ms,...\r\n1,one.example,403,...\r\n",
    }
}


@router.get(
    "/api/v1/rankings",
    summary="The ranking of a room",
    response_model=Rankings,
    responses={200: {"content": MARKDOWN_CONTENT | CSV_CONTENT}},
)
def get_rankings(
    request: Request,
    response: Response,
    given: GivenAll,
    now: Now,
    query: Annotated[RankingsQuery, Query()],
) -> Rankings | Response:
    """Its homeservers by median latency in a window, the fastest first.

    `Accept: text/markdown` and `Accept: text/csv` give the tables of `/rankings.md` and
    `/rankings.csv`, in pages of `limit` rows.
    """
    form = choose_media_type(
        request.headers.get("accept", ""), [JSON, *MARKDOWN_CONTENT, *CSV_CONTENT]
    )
    board = query.model_copy(update={"limit": None}).ask(given.boards, now)
    response.headers["Vary"] = "Accept"
    page, cursor = cut_page(
        board.standings,
        query,
        response,
        lambda row: row.homeserver,
        binding=f"rankings {board.room_id} {board.name} {query.min_samples}",
        parameters=query.keep(board.window),
    )
    if form in MARKDOWN_CONTENT:
        return MarkdownResponse(markdown.table(page), headers=dict(response.headers))
    if form in CSV_CONTENT:
        return CsvResponse(csv.rankings(page), headers=dict(response.headers))
    return Rankings.of(board, query, page, cursor, given.site.vantage)


@router.get(
    "/rankings.md",
    summary="The ranking as a Markdown table",
    response_class=MarkdownResponse,
    responses={200: {"description": "The table", "content": MARKDOWN_CONTENT}},
)
def get_rankings_markdown(
    boards: GivenBoards, now: Now, query: Annotated[TableQuery, Query()]
) -> MarkdownResponse:
    """Ready for This Week in Matrix: rank, name, and median in ms without trailing zeros."""
    return MarkdownResponse(markdown.table(query.ask(boards, now).standings))


@router.get(
    "/rankings.csv",
    summary="The ranking as CSV",
    response_class=CsvResponse,
    responses={200: {"description": "A row a homeserver", "content": CSV_CONTENT}},
)
def get_rankings_csv(
    boards: GivenBoards, now: Now, query: Annotated[BoardQuery, Query()]
) -> CsvResponse:
    """One row per homeserver, with every field of the JSON.

    A name that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    return CsvResponse(csv.rankings(query.ask(boards, now).standings))
