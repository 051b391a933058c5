"""/healthz: whether this process serves. It asks nobody else, not even the database."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from pingboard.web import problems
from pingboard.web.parameters import NoQuery

router = APIRouter(tags=["operations"], responses=problems.BAD_PARAMETER_RESPONSE)


class Health(BaseModel):
    """That it serves; there is no answer where it does not."""

    status: Literal["ok"] = "ok"


# A coroutine: it answers from the event loop, also while every thread of the pool is at work.
@router.get("/healthz", operation_id="get_health", summary="Is the process serving?")
async def get_health(_query: Annotated[NoQuery, Query()], response: Response) -> Health:
    """200 as long as the process serves; it does not look at the database or the worker."""
    response.headers["Cache-Control"] = "no-store"
    return Health()
