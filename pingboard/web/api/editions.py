"""/section.md, /editions and /feed.atom: what a week has to say, now or frozen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from pingboard.boards import Boards
from pingboard.editions import read_boards
from pingboard.model import Board, BoardName, from_ts
from pingboard.render.section import section
from pingboard.store.editions import (
    Edition,
    read_edition,
    read_edition_names,
    read_latest_editions,
)
from pingboard.store.rooms import read_lineage_ids
from pingboard.web import errors
from pingboard.web.api.paging import cut_page
from pingboard.web.api.rankings import MARKDOWN_CONTENT, MarkdownResponse, RankedHomeserver
from pingboard.web.dependencies import Given, GivenAll, GivenBoards, Now
from pingboard.web.pages.layout import render_text
from pingboard.web.parameters import LATEST, ListQuery, NoQuery, SectionQuery, WeekName
from pingboard.web.schemas import Count, Instant, Interval, NextCursor, RoomName, describe_text

FEED_ENTRIES = 26
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}

Name = Annotated[WeekName, Path(description="ISO week that it closed in.", examples=["2026-W41"])]


_NOT_FOUND = errors.describe(
    "unknown-edition", "There is no edition 2026-W41; /editions lists them."
)

router = APIRouter(tags=["editions"], responses=errors.BAD_PARAMETER_RESPONSE)
section_router = APIRouter(tags=["rankings"], responses=errors.UNKNOWN_ROOM_RESPONSE)


class EditionBoard(BaseModel):
    """A board as it was when the week closed."""

    sample_count: Count
    standings: list[RankedHomeserver]


class EditionRoom(BaseModel):
    """The boards of a room that have samples, by name."""

    room: RoomName
    boards: dict[BoardName, EditionBoard]


class EditionDocument(BaseModel):
    """The boards of a week in every room. It never changes."""

    edition: str = Field(description="The ISO week that it closed in, `2026-W41`.")
    id: str = Field(description="A URN, the same for ever.")
    window: Interval
    unit: Literal["ms"]
    rooms: list[EditionRoom]


class EditionName(BaseModel):
    """An edition that there is; `/editions/{edition}.json` and `.md` have it."""

    edition: str
    closed_at: Instant


class EditionIndex(BaseModel):
    """A page of the editions, the newest first."""

    editions: list[EditionName]
    next_cursor: NextCursor


@router.get("/api/v1/editions", summary="The published editions")
def list_editions(
    response: Response, boards: GivenBoards, query: Annotated[ListQuery, Query()]
) -> EditionIndex:
    """The newest first; each is named after its week, such as `2026-W41`."""
    names = [
        EditionName(edition=name, closed_at=from_ts(closed_ts))
        for name, closed_ts in read_edition_names(boards.engine).items()
    ]
    page, cursor = cut_page(names, query, response, lambda name: name.edition)
    return EditionIndex(editions=page, next_cursor=cursor)


@router.get(
    "/editions/{name}.json",
    summary="An edition as JSON",
    response_class=JSONResponse,
    responses={200: {"model": EditionDocument}, **_NOT_FOUND},
)
def get_edition(name: Name, boards: GivenBoards, _query: Annotated[NoQuery, Query()]) -> Response:
    """All boards of every room, with the ranks of the week before. It never changes."""
    document = find_edition(boards, name).json
    return Response(document, media_type="application/json", headers=IMMUTABLE)


@router.get(
    "/editions/{name}.md",
    summary="An edition as Markdown",
    response_class=MarkdownResponse,
    responses={200: {"content": MARKDOWN_CONTENT}, **_NOT_FOUND},
)
def get_edition_markdown(
    name: Name, boards: GivenBoards, _query: Annotated[NoQuery, Query()]
) -> Response:
    """A table of ten rows for each board and room. It never changes."""
    return MarkdownResponse(find_edition(boards, name).markdown, headers=IMMUTABLE)


@router.get(
    "/feed.atom",
    summary="The editions as an Atom feed",
    response_class=Response,
    responses=describe_text("application/atom+xml", "The feed"),
)
def get_feed(
    request: Request, boards: GivenBoards, _query: Annotated[NoQuery, Query()]
) -> Response:
    """The last half year, one entry per week (RFC 4287)."""
    latest = read_latest_editions(boards.engine, FEED_ENTRIES)
    documents = [json.loads(edition.json) for edition in latest]
    context = {
        "base": str(request.base_url),
        "editions": documents,
        # A feed must say it, also before there is an entry.
        "updated": documents[0]["window"]["to_at"] if documents else "1970-01-01T00:00:00Z",
    }
    return Response(render_text("feed.atom", context), media_type="application/atom+xml")


def find_edition(boards: Boards, name: str) -> Edition:
    """Return the edition of a name, or the `latest`; raise a problem where there is none."""
    if name == LATEST:
        latest = read_latest_editions(boards.engine, 1)
        if latest:
            return latest[0]
        raise errors.problem("unknown-edition", "There is no edition yet.")
    edition = read_edition(boards.engine, name)
    if edition is None:
        raise errors.problem(
            "unknown-edition", f"There is no edition {name}; /editions lists them."
        )
    return edition


@section_router.get(
    "/section.md",
    summary="The section for This Week in Matrix",
    response_class=MarkdownResponse,
    responses={200: {"description": "The section", "content": MARKDOWN_CONTENT}},
)
def get_section(
    given: GivenAll, now: Now, query: Annotated[SectionQuery, Query()]
) -> MarkdownResponse:
    """A heading, an intro, and for each room an invitation and a table, worded by the operator.

    Ranked by `delivery` unless another board is asked for. `edition=latest` gives the last frozen
    week, which reads the same tomorrow; it can't be combined with a window or `min_samples`.
    """
    if query.edition:
        query.refuse_beside_edition()
        return MarkdownResponse(
            write_section(given, find_edition(given.boards, query.edition), query)
        )
    question = query.question(now)
    ranked = [
        given.boards.ask_first(question._replace(room=room), query.board_names)
        for room in given.boards.section_rooms(given.rooms, query.room)
    ]
    return MarkdownResponse(section(ranked, query.style, given.wording))


def write_section(given: Given, edition: Edition, query: SectionQuery) -> str:
    """The section of a frozen week, of the rooms that are asked for, else of those configured."""
    boards = read_boards(edition, query.board_names)
    known: dict[str | None, Board] = {
        room_id: board
        for board in boards
        for room_id in read_lineage_ids(given.boards.engine, board.room_id)
    }
    # That week may have had two rooms of what has become one lineage.
    known |= {name: board for board in boards for name in (board.room_id, board.room_alias)}
    unknown = next((room for room in query.room if room not in known), None)
    if unknown:
        others = ", ".join(board.room_alias or board.room_id for board in boards) or "none"
        raise errors.problem(
            "unknown-room",
            f"{edition.name} has no such board for {unknown!r}; these rooms have one: {others}",
        )
    named = [known[room] for room in query.room or given.rooms if room in known]
    # Rooms may have been configured after that week.
    chosen = {board.room_id: board for board in named or boards}.values()
    limited = [replace(board, standings=board.standings[: query.limit]) for board in chosen]
    return section(limited, query.style, given.wording)
