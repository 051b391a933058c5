"""/section.md: "Dept of Ping" of This Week in Matrix, ready to paste."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from pingboard.render.section import section
from pingboard.web import errors
from pingboard.web.api.rankings import MARKDOWN_CONTENT, MarkdownResponse
from pingboard.web.dependencies import GivenAll, Now
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
    """Heading, intro, and an invitation and a table for each room; the sentences are settings."""
    rooms = query.room or given.boards.section_rooms(given.rooms)
    question = query.question(now)
    found = [
        given.boards.ask_first(question._replace(room=room), query.board_names) for room in rooms
    ]
    return MarkdownResponse(section(found, query.style, given.wording))
