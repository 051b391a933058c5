"""What `create_app` gives to every path: the boards, the clock, and what was configured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from pingboard.boards import Boards
from pingboard.render.section import Wording
from pingboard.web.feed import Feed
from pingboard.web.gauges import Metrics


@dataclass(frozen=True, slots=True)
class Given:
    """What a path may depend on."""

    boards: Boards
    clock: Callable[[], datetime]
    wording: Wording
    """of the section"""
    rooms: Sequence[str]
    """those configured, aliases or IDs"""
    feed: Feed
    """what is new in the database"""
    metrics: Metrics
    embed_origins: Sequence[str] = ()
    """sites that may show the board in a frame"""


def provide(app: FastAPI, given: Given) -> None:
    """Let the app's paths depend on these."""
    app.state.given = given


# All are coroutines, because FastAPI would send a plain function through the thread pool.
async def _boards(request: Request) -> Boards:
    given: Given = request.app.state.given
    return given.boards


async def _now(request: Request) -> datetime:
    given: Given = request.app.state.given
    return given.clock()


async def _given(request: Request) -> Given:
    given: Given = request.app.state.given
    return given


async def _feed(request: Request) -> Feed:
    given: Given = request.app.state.given
    return given.feed


GivenAll = Annotated[Given, Depends(_given)]
GivenFeed = Annotated[Feed, Depends(_feed)]
GivenBoards = Annotated[Boards, Depends(_boards)]
Now = Annotated[datetime, Depends(_now)]
"""The time of the request, aware UTC: everything in one answer is as of then."""
