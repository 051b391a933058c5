"""The HTTP interface as one ASGI app: boards and a clock -> answers.

It is read-only and needs no cookies; each group of paths is a module of its own in api/, each page
one in pages/.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from pingboard.boards import Boards
from pingboard.render.section import Wording
from pingboard.store.engine import open_engine
from pingboard.web import errors
from pingboard.web.api import (
    badges,
    editions,
    homeservers,
    live,
    matrix,
    operations,
    pingstat,
    rankings,
    rooms,
    samples,
)
from pingboard.web.cache import ByteCache
from pingboard.web.dependencies import Given, names_of, refuse_repeated, require_database
from pingboard.web.limits import Limits
from pingboard.web.live_updates import LiveUpdates
from pingboard.web.metrics import Metrics
from pingboard.web.middleware import (
    Abandonment,
    CommonHeaders,
    KnownParameters,
    Preflight,
    RequestHead,
)
from pingboard.web.pages import board, docs, join, static_files
from pingboard.web.pages import editions as edition_pages
from pingboard.web.pages import homeserver as homeserver_page
from pingboard.web.pages import matrix as matrix_page
from pingboard.web.pages.layout import TAG, Site
from pingboard.web.schemas import TAGS, install_description
from pingboard.web.shared_boards import Freshness, SharedQuestion
from pingboard.web.worker_health import read_readiness

_DESCRIPTION = """\
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
    "summary": "The leaderboard of Matrix homeservers by message latency",
    "description": _DESCRIPTION,
    "version": version("pingboard"),
    "license_info": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "openapi_tags": TAGS,
    "generate_unique_id_function": lambda route: route.name,
    "docs_url": None,
    "redoc_url": None,
    "responses": errors.LIMITED_RESPONSE,
}

_ROUTERS = (
    rankings.router,
    editions.section_router,
    editions.router,
    edition_pages.router,
    rooms.router,
    homeservers.router,
    badges.router,
    homeserver_page.router,
    matrix.router,
    matrix_page.router,
    samples.router,
    live.router,
    pingstat.router,
    operations.router,
    docs.router,
    board.router,
    join.router,
)
"""In the order in which the description lists them."""

_WITHOUT_DATA = (operations.router, docs.router)
"""What they say is true without a database too, or says that it is away."""


NEVER_KEPT = frozenset(["/healthz", "/readyz", "/metrics", "/api/v1/live"])
"""Paths whose answers are of the moment, and must not wait for the database."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def stop_streams(app: FastAPI) -> None:
    """End what would keep the server from stopping: streams and long work; from any thread."""
    given: Given = app.state.given
    given.is_stopping.set()
    given.live_updates.stop()


def create_app(
    boards: Boards,
    *,
    clock: Callable[[], datetime] = utc_now,
    wording: Wording = Wording(),  # noqa: B008 (frozen)
    configured: Sequence[str] = (),
    per_minute: int = 120,
    embed_origins: Sequence[str] = (),
    site: Site = Site(),  # noqa: B008 (frozen)
) -> FastAPI:
    """The app that answers from these boards; `clock` says the time of a request, aware UTC.

    `wording` is that of the section; `configured` are the rooms that were configured, aliases or
    IDs; `per_minute` limits each client's units of work, 0 for no limit; `embed_origins` are the
    sites that may show the board in a frame; `site` is what its pages say of it.
    """
    app = FastAPI(**_ABOUT, dependencies=[Depends(refuse_repeated)])
    live_updates = LiveUpdates(boards, clock)
    metrics = Metrics(boards, live_updates, clock)
    readiness = SharedQuestion(lambda: read_readiness(boards.engine, clock()))
    freshness = Freshness(boards, clock)
    app.state.given = given = Given(
        boards=boards,
        clock=clock,
        wording=wording,
        rooms=configured,
        freshness=freshness,
        live_updates=live_updates,
        metrics=metrics,
        readiness=readiness,
        embed_origins=embed_origins,
        site=site,
    )
    app.add_middleware(Abandonment, is_stopping=given.is_stopping.is_set)
    app.add_middleware(Limits, per_minute=per_minute)
    app.add_middleware(Preflight)
    app.add_middleware(CommonHeaders)
    errors.install(app)
    for router in _ROUTERS:
        needed = [] if router in _WITHOUT_DATA else [Depends(require_database)]
        app.include_router(router, dependencies=needed)
    static_files.mount(app)
    install_description(app)
    return app


def create_site(
    app: FastAPI,
    *,
    public_url: str = "",
    root_path: str = "",
    trusted_proxies: str = "127.0.0.1",
) -> ASGIApp:
    """The app as it is served: behind the cache of its answers, and behind what reads requests.

    `public_url` is the address that links name, without a path; "" for the host that was asked.
    `root_path` is the prefix below which a reverse proxy shows the site. `trusted_proxies` are
    those whose `X-Forwarded-For` is believed, as uvicorn takes them: addresses and networks,
    separated by commas, or `*`.
    """
    given: Given = app.state.given
    never_kept = {f"{prefix}{path}" for prefix in {"", root_path} for path in NEVER_KEPT}
    site: ASGIApp = ByteCache(
        app, given.freshness, requests=given.metrics.requests, never_kept=never_kept
    )
    site = KnownParameters(site, _list_queries())
    site = ProxyHeadersMiddleware(site, trusted_proxies)  # type: ignore[arg-type,assignment]
    return RequestHead(site, public_url=public_url, root_path=root_path)


def _list_queries() -> list[tuple[APIRoute, frozenset[str] | None]]:
    """Return the lenient routes: pages, `/rankings.md`, pingstat's; each with the names it knows.

    Before them, with None, those of the strict ones whose addresses a lenient one would match too.
    """
    routes = [
        route for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)
    ]
    lenient = [
        route
        for route in routes
        if {TAG, "pingstat"} & {*route.tags} or route.path == "/rankings.md"
    ]
    strict = [
        route
        for route in routes
        if route not in lenient and any(other.path_regex.match(route.path) for other in lenient)
    ]
    return [*((route, None) for route in strict), *((route, names_of(route)) for route in lenient)]


def describe() -> str:
    """The OpenAPI description of this version, as `openapi.json` in the repository has it."""
    boards = Boards(open_engine("sqlite:///never-opened.db", read_only=True))
    return json.dumps(create_app(boards).openapi(), indent=1, ensure_ascii=False) + "\n"
