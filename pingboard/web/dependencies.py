"""What `create_app` gives to every path: the boards and the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from pingboard.boards import Boards


@dataclass(frozen=True, slots=True)
class _Given:
    boards: Boards
    clock: Callable[[], datetime]


def provide(app: FastAPI, boards: Boards, clock: Callable[[], datetime]) -> None:
    """Let the app's paths depend on these."""
    app.state.given = _Given(boards, clock)


# Both are coroutines, because FastAPI would send a plain function through the thread pool.
async def _boards(request: Request) -> Boards:
    given: _Given = request.app.state.given
    return given.boards


async def _now(request: Request) -> datetime:
    given: _Given = request.app.state.given
    return given.clock()


GivenBoards = Annotated[Boards, Depends(_boards)]
Now = Annotated[datetime, Depends(_now)]
"""The time of the request, aware UTC: everything in one answer is as of then."""
