"""/healthz: whether this process serves. /readyz: whether there is something true to serve.
/metrics: what Prometheus asks for. /api/v1: what there is to ask for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi_problem.error import Problem
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from pingboard.model import RoomState, WorkerState, from_ts
from pingboard.store.engine import Engine
from pingboard.store.rooms import RoomStatus, read_room_states
from pingboard.store.status import Status, read_status
from pingboard.web import errors
from pingboard.web.dependencies import GivenAll
from pingboard.web.parameters import NoQuery
from pingboard.web.schemas import Instant, describe_text
from pingboard.web.worker import ROOM_OBSTACLES, STALE_AFTER, WORKER_OBSTACLES

router = APIRouter(tags=["operations"], responses=errors.BAD_PARAMETER_RESPONSE)


class Health(BaseModel):
    """That it serves; there is no answer where it does not."""

    state: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """That the database answers and the worker syncs."""

    state: Literal["ready"] = "ready"
    last_sync_at: Instant = Field(description="When the homeserver last answered a sync, UTC.")
    last_pong_at: Instant | None = Field(description="When a pong was last seen, UTC.")


# A coroutine: it answers from the event loop, also while every thread of the pool is at work.
@router.get("/healthz", summary="Is this process alive?")
async def get_health(_query: Annotated[NoQuery, Query()], response: Response) -> Health:
    """200 as long as it serves, whatever the state of database and worker."""
    response.headers["Cache-Control"] = "no-store"
    return Health()


@router.get(
    "/readyz",
    summary="Is the data up to date?",
    responses=errors.NOT_READY_RESPONSE,
)
async def get_readiness(
    given: GivenAll, _query: Annotated[NoQuery, Query()], response: Response
) -> Readiness:
    """200 if the database answers and a worker syncs, otherwise 503 with the reason.

    `reason` is one of `database`, `no-worker`, `starting`, `unreachable`, `joining`, `locked`,
    `auth`, `stopped`, `stale`, `room`. The boards are served either way.
    """
    response.headers["Cache-Control"] = "no-store"
    try:
        return await given.readiness()
    except TimeoutError:
        raise _not_ready("database", "The database does not answer.") from None


def read_readiness(engine: Engine, now: datetime) -> Readiness:
    """Return what is true to serve; raise the problem that /readyz answers with."""
    try:
        health, rooms = read_status(engine), read_room_states(engine)
    except Exception:  # noqa: BLE001 (whatever the driver says, it is not ready)
        raise _not_ready("database", "The database can't be read.") from None
    synced_at = _require_sync(health, now)
    _require_room(rooms.values())
    return Readiness(
        last_sync_at=synced_at,
        last_pong_at=None if health.last_pong_ts is None else from_ts(health.last_pong_ts),
    )


class PrometheusText(Response):
    media_type = CONTENT_TYPE_LATEST


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PrometheusText,
    responses=describe_text(
        CONTENT_TYPE_LATEST, "Prometheus's text format; every time is in seconds"
    ),
)
async def get_metrics(given: GivenAll, _query: Annotated[NoQuery, Query()]) -> PrometheusText:
    """Pings, pongs by verdict, round trips in seconds, gaps, sync lag, and requests."""
    return PrometheusText(await given.metrics.render(), headers={"Cache-Control": "no-store"})


def _not_ready(reason: str, detail: str) -> Problem:
    no_store = {"Cache-Control": "no-store"}
    return errors.problem("not-ready", detail, headers=no_store, reason=reason)


def _require_room(rooms: Iterable[RoomStatus]) -> None:
    """A problem where the worker can't measure in any of its rooms."""
    states = {RoomState(room.state) for room in rooms if room.state is not None}
    if RoomState.JOINED not in states and states & ROOM_OBSTACLES.keys():
        why = " and ".join(said for state, said in ROOM_OBSTACLES.items() if state in states)
        raise _not_ready("room", f"The worker can't ping in any room: {why}.")


def _require_sync(health: Status, now: datetime) -> datetime:
    """When the worker last synced; a problem where that is not good enough."""
    if not health.workers:
        raise _not_ready("no-worker", "No worker has used this database yet.")
    worker = health.workers[0]
    state, since, synced_ts = WorkerState(worker.state), from_ts(worker.since_ts), worker.synced_ts
    if state in WORKER_OBSTACLES:
        raise _not_ready(
            str(state), f"{WORKER_OBSTACLES[state]} Since {since.isoformat(timespec='seconds')}."
        )
    is_starting = state is WorkerState.STARTING
    if is_starting and now - since <= STALE_AFTER:
        raise _not_ready("starting", "The worker has started, but has not synced yet.")
    if synced_ts is None or is_starting or now - from_ts(synced_ts) > STALE_AFTER:
        raise _not_ready(
            "stale", f"The worker has not synced for {STALE_AFTER}; is it still running?"
        )
    return from_ts(synced_ts)


class Operation(BaseModel):
    """One thing to ask for."""

    operation_id: str
    path: str = Field(description="A template; what stands in braces is to be filled in.")
    summary: str


class Index(BaseModel):
    """What there is."""

    documentation_path: str = Field(description="A page for people.")
    description_path: str = Field(description="OpenAPI 3.1, for programs.")
    operations: list[Operation]


@router.get("/api/v1", summary="All paths of the API")
async def get_index(request: Request, _query: Annotated[NoQuery, Query()]) -> Index:
    """`description_path` leads to their parameters and answers."""
    root = request.scope.get("root_path", "")
    paths = request.app.openapi()["paths"]
    return Index(
        documentation_path=f"{root}/docs",
        description_path=f"{root}/openapi.json",
        operations=[
            Operation(
                operation_id=operations["get"]["operationId"],
                path=root + path,
                summary=operations["get"]["summary"],
            )
            for path, operations in paths.items()
        ],
    )
