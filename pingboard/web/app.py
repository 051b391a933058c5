"""The HTTP interface as one ASGI app: boards and a clock -> answers.

It is read-only and needs no cookies; each group of paths is a module of its own beside this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from pingboard.boards import Boards
from pingboard.render.section import Wording
from pingboard.store.engine import open_engine
from pingboard.web import dependencies, description, errors
from pingboard.web.api import (
    badges,
    editions,
    health,
    history,
    history_image,
    homeservers,
    live,
    matrix,
    metrics,
    pingstat,
    rankings,
    rooms,
    samples,
    section,
)
from pingboard.web.cache import ByteCache
from pingboard.web.dependencies import Given, refuse_repeated
from pingboard.web.freshness import Freshness
from pingboard.web.gauges import Metrics, instrument
from pingboard.web.limits import Limits
from pingboard.web.live_updates import Feed
from pingboard.web.middleware import CacheHeaders, CommonHeaders, HeadAsGet, Preflight
from pingboard.web.pages import board, docs, embed, files, join, problem_types
from pingboard.web.pages import editions as edition_pages
from pingboard.web.pages import homeserver as homeserver_page
from pingboard.web.pages import matrix as matrix_page

_DESCRIPTION = """\
The leaderboard of Matrix homeservers by message latency.

Everything is read-only: `GET` and `HEAD`, from any origin, without cookies. Latencies are JSON
numbers in **milliseconds**, times are RFC 3339 in UTC. Errors are `application/problem+json`
(RFC 9457) and name the parameter; an unknown query parameter is an error too, so that a typo
can't pass silently.

* **ping server** / **pong server**: the homeserver of a ping's sender / of the echo bot that
  answered.
* **round trip**: from our send of a ping to its pong's arrival, by our own clock.
* **one-way**: from a ping's send to its arrival at the pong server, as the echo bot claims it.
"""


_ABOUT: dict[str, Any] = {
    "title": "pingboard",
    "summary": "Matrix homeservers by message latency",
    "description": _DESCRIPTION,
    "version": version("pingboard"),
    "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "docs_url": None,
    "redoc_url": None,
    "redirect_slashes": False,
    "responses": errors.ADDRESS_TOO_LONG_RESPONSE,
}

_ROUTERS = (
    rankings.router,
    section.router,
    editions.router,
    edition_pages.router,
    rooms.router,
    homeservers.router,
    history.router,
    history_image.router,
    homeserver_page.router,
    matrix.router,
    matrix_page.router,
    samples.router,
    live.router,
    pingstat.router,
    badges.router,
    health.router,
    metrics.router,
    problem_types.router,
    docs.router,
    board.router,
    embed.router,
    join.router,
)
"""In the order in which the description lists them."""


def utc_now() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


def stop_streams(app: FastAPI) -> None:
    """End the streams that would have no end, so that the server can stop; from any thread."""
    given: Given = app.state.given
    given.feed.stop()


def create_app(
    boards: Boards,
    *,
    clock: Callable[[], datetime] = utc_now,
    wording: Wording = Wording(),  # noqa: B008 (frozen)
    configured: Sequence[str] = (),
    per_minute: int = 120,
    embed_origins: Sequence[str] = (),
) -> FastAPI:
    """The app that answers from these boards; `clock` says the time of a request, aware UTC.

    `wording` is that of the section; `configured` are the rooms that were configured, aliases or
    IDs; `per_minute` limits each client's costly requests, 0 for no limit; `embed_origins` are the
    sites that may show the board in a frame.
    """
    app = FastAPI(**_ABOUT, dependencies=[Depends(refuse_repeated)])
    feed = Feed(boards, clock)
    gauges = Metrics(boards, feed)
    given = Given(boards, clock, wording, configured, feed, gauges, embed_origins)
    dependencies.provide(app, given)
    instrument(app, gauges)
    _add_layers(app, clock, per_minute)
    errors.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.state.paths = [
        route.path for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)
    ]
    files.mount(app)
    description.install(app)
    return app


def _add_layers(app: FastAPI, clock: Callable[[], datetime], per_minute: int) -> None:
    """What every request goes through, the innermost first."""
    app.add_middleware(CacheHeaders, clock=clock)
    app.add_middleware(Limits, per_minute=per_minute)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Preflight)
    app.add_middleware(CommonHeaders)


def cache_answers(
    app: FastAPI, boards: Boards, *, clock: Callable[[], datetime] = utc_now
) -> ByteCache:
    """The app behind a memory of its answers, as it is served."""
    given: Given = app.state.given
    return ByteCache(app, Freshness(boards, clock), tally=given.metrics.tally)


def describe() -> str:
    """The OpenAPI description of this version, as `openapi.json` in the repository has it."""
    boards = Boards(open_engine("sqlite:///never-opened.db", read_only=True))
    return json.dumps(create_app(boards).openapi(), indent=1, ensure_ascii=False) + "\n"
