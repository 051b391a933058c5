"""/section.md: "Dept of Ping" of This Week in Matrix, ready to paste."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query

from pingboard import editions
from pingboard.render.section import section
from pingboard.store.editions import Edition
from pingboard.web import errors
from pingboard.web.api.editions import find_edition
from pingboard.web.api.rankings import MARKDOWN_CONTENT, MarkdownResponse
from pingboard.web.dependencies import Given, GivenAll, Now
from pingboard.web.parameters import SectionQuery

router = APIRouter(tags=["rankings"], responses=errors.UNKNOWN_ROOM_RESPONSE)


@router.get(
    "/section.md",
    operation_id="get_section",
    summary="The section for This Week in Matrix",
    response_class=MarkdownResponse,
    responses={200: {"description": "The section", "content": MARKDOWN_CONTENT}},
)
def get_section(
    given: GivenAll, now: Now, query: Annotated[SectionQuery, Query()]
) -> MarkdownResponse:
    """Heading, intro, and an invitation and a table for each room; the sentences are settings.

    Of `delivery` unless another board is asked for. `edition=latest` is the last frozen week, the
    same tomorrow as today.
    """
    if query.edition:
        return MarkdownResponse(
            write_section(given, find_edition(given.boards, query.edition), query)
        )
    named = query.room or given.boards.section_rooms(given.rooms)
    rooms = dict.fromkeys(given.boards.find_room(room)[0] for room in named)
    question = query.question(now)
    ranked = [
        given.boards.ask_first(question._replace(room=room), query.board_names) for room in rooms
    ]
    return MarkdownResponse(section(ranked, query.style, given.wording))


def write_section(given: Given, edition: Edition, query: SectionQuery) -> str:
    """The section of a frozen week, of the rooms that are asked for, else of those configured."""
    boards = editions.read_boards(edition, query.board_names, query.room or given.rooms)
    # Rooms may have been configured after that week.
    boards = boards or editions.read_boards(edition, query.board_names, query.room)
    limited = [replace(board, standings=board.standings[: query.limit]) for board in boards]
    return section(limited, query.style, given.wording)
