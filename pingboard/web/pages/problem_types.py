"""/problems/{kind}: what the `type` of a problem (RFC 9457) means, and what helps."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pingboard.web.pages.layout import TAG, PageQuery, render
from pingboard.web.problem_types import TYPES

router = APIRouter(tags=[TAG], include_in_schema=False)


@router.get("/problems/{kind}")
async def show_problem_type(
    request: Request, kind: Annotated[str, Path()], _query: Annotated[PageQuery, Query()]
) -> Response:
    """What a problem's `type` means."""
    if kind not in TYPES:
        raise HTTPException(404)
    return render(request, "problem_type.html", {"type": TYPES[kind]})
