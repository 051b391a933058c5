"""What `create_app` gives to every path: the boards, the clock, and what was configured."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, get_origin

from fastapi import Depends, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute

from pingboard.boards import Boards
from pingboard.render.section import Wording
from pingboard.web.api.streaming import OneThread
from pingboard.web.live_updates import LiveUpdates
from pingboard.web.metrics import Metrics
from pingboard.web.pages.layout import Site
from pingboard.web.parameters import refusal
from pingboard.web.shared_boards import Freshness, SharedQuestion
from pingboard.web.worker_health import Readiness


@dataclass(frozen=True, slots=True)
class Given:
    """What a path may depend on."""

    boards: Boards
    clock: Callable[[], datetime]
    wording: Wording
    """of the section"""
    rooms: Sequence[str]
    """those configured, aliases or IDs"""
    freshness: Freshness
    """as of when an answer is"""
    live_updates: LiveUpdates
    """what is new in the database"""
    metrics: Metrics
    readiness: SharedQuestion[Readiness]
    embed_origins: Sequence[str]
    """sites that may show the board in a frame"""
    site: Site
    """what the pages say of the site itself"""
    listeners: Counter[str | None] = field(default_factory=Counter)
    """how many streams each client follows"""
    pingstat: OneThread = field(default_factory=lambda: OneThread("pingboard-pingstat"))
    """what makes pingstat's lists"""
    is_stopping: threading.Event = field(default_factory=threading.Event)


# All are coroutines, because FastAPI would send a plain function through the thread pool.
async def _given(request: Request) -> Given:
    given: Given = request.app.state.given
    return given


GivenAll = Annotated[Given, Depends(_given)]


async def _boards(given: GivenAll) -> Boards:
    return given.boards


async def _now(given: GivenAll) -> datetime:
    return given.clock()


GivenBoards = Annotated[Boards, Depends(_boards)]
Now = Annotated[datetime, Depends(_now)]
"""The time of the request, aware UTC: everything in one answer is as of then."""


async def require_database(given: GivenAll) -> None:
    """Raise StoreError at once where the database is known to be away: waiting takes a thread."""
    await given.freshness()
    given.freshness.raise_if_away()


def names_of(route: APIRoute) -> frozenset[str]:
    """Return the query parameters that a path knows, those in its description alone too."""
    described = (route.openapi_extra or {}).get("parameters", [])
    return frozenset(
        [field.alias for field in get_flat_params(route.dependant)]
        + [parameter["name"] for parameter in described]
    ).difference(field.alias for field in route.dependant.path_params)


async def refuse_repeated(request: Request) -> None:
    """Raise a 422 where a parameter is given twice that can only be one: which would count?

    pingstat's own addresses take the first, as pingstat does.
    """
    if "&" not in request.url.query:
        return
    route = request.scope["route"]
    several = {
        field.alias
        for field in get_flat_params(route.dependant)
        if get_origin(field.field_info.annotation) is list
    }
    counts = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in counts.items():
        if count > 1 and name not in several and "pingstat" not in route.tags:
            raise refusal(name, f"should be given once, not {count} times", "given_repeatedly")
