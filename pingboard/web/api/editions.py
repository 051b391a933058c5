"""/editions and /feed.atom: the boards of past weeks, frozen."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from pingboard.boards import Boards
from pingboard.model import BoardName, from_ts
from pingboard.store import editions
from pingboard.web import errors
from pingboard.web.api.paging import cut_page
from pingboard.web.api.rankings import MARKDOWN_CONTENT, MarkdownResponse, RankedHomeserver
from pingboard.web.dependencies import GivenBoards
from pingboard.web.pages.layout import render_text
from pingboard.web.parameters import NoQuery, PageQuery
from pingboard.web.schemas import Count, Instant, Interval, RoomName

FEED_ENTRIES = 26
LATEST = "latest"
"""Stands for the name of the last edition."""

IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}

Name = Annotated[
    str,
    Path(
        pattern=r"^\d{4}-W\d\d$", description="ISO week that it closed in.", examples=["2026-W41"]
    ),
]


_NOT_FOUND = errors.describe(
    "unknown-edition", "There is no edition 2026-W41; /editions lists them."
)

router = APIRouter(tags=["editions"], responses=errors.BAD_PARAMETER_RESPONSE)


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
    next_cursor: str | None = Field(description="For the next page; null on the last.")


@router.get("/api/v1/editions", operation_id="list_editions", summary="The editions")
def list_editions(
    response: Response, boards: GivenBoards, query: Annotated[PageQuery, Query()]
) -> EditionIndex:
    """Every edition that was published, the newest first."""
    names = [
        EditionName(edition=name, closed_at=from_ts(closed_ts))
        for name, closed_ts in editions.read_edition_names(boards.engine).items()
    ]
    page, cursor = cut_page(names, query, response, lambda name: name.edition)
    return EditionIndex(editions=page, next_cursor=cursor)


@router.get(
    "/editions/{name}.json",
    operation_id="get_edition",
    summary="An edition as JSON",
    response_class=JSONResponse,
    responses={200: {"model": EditionDocument}, **_NOT_FOUND},
)
def get_edition(name: Name, boards: GivenBoards, _query: Annotated[NoQuery, Query()]) -> Response:
    """The boards of a week in every room, with the ranks of the week before. It never changes."""
    document = find_edition(boards, name).json
    return Response(document, media_type="application/json", headers=IMMUTABLE)


@router.get(
    "/editions/{name}.md",
    operation_id="get_edition_markdown",
    summary="An edition as Markdown",
    response_class=MarkdownResponse,
    responses={200: {"content": MARKDOWN_CONTENT}, **_NOT_FOUND},
)
def get_edition_markdown(
    name: Name, boards: GivenBoards, _query: Annotated[NoQuery, Query()]
) -> Response:
    """The tables of a week, ten rows each. It never changes."""
    return MarkdownResponse(find_edition(boards, name).markdown, headers=IMMUTABLE)


@router.get(
    "/feed.atom",
    operation_id="get_feed",
    summary="The editions as a feed (Atom)",
    response_class=Response,
    responses={
        200: {
            "description": "The feed",
            "content": {"application/atom+xml": {"schema": {"type": "string"}}},
        }
    },
)
def get_feed(
    request: Request, boards: GivenBoards, _query: Annotated[NoQuery, Query()]
) -> Response:
    """The last half year of editions, an entry each (RFC 4287)."""
    latest = editions.read_latest_editions(boards.engine, FEED_ENTRIES)
    documents = [json.loads(edition.json) for edition in latest]
    context = {
        "base": str(request.base_url),
        "editions": documents,
        # A feed must say it, also before there is an entry.
        "updated": documents[0]["window"]["to_at"] if documents else "1970-01-01T00:00:00Z",
    }
    return Response(render_text("feed.atom", context), media_type="application/atom+xml")


def find_edition(boards: Boards, name: str) -> editions.Edition:
    """Return the edition of a name, or the `latest`; raise a problem where there is none."""
    if name == LATEST:
        latest = editions.read_latest_editions(boards.engine, 1)
        if latest:
            return latest[0]
        raise errors.problem("unknown-edition", "There is no edition yet.")
    edition = editions.read_edition(boards.engine, name)
    if edition is None:
        raise errors.problem(
            "unknown-edition", f"There is no edition {name}; /editions lists them."
        )
    return edition
