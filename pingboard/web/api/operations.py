"""/healthz: whether this process serves. /readyz: whether the database answers and a worker syncs.
/metrics: what Prometheus asks for. /api/v1: what there is to ask for.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from pingboard.web import errors
from pingboard.web.dependencies import GivenAll
from pingboard.web.parameters import NoQuery
from pingboard.web.schemas import describe_text
from pingboard.web.worker_health import Readiness, not_ready

router = APIRouter(tags=["operations"], responses=errors.BAD_PARAMETER_RESPONSE)


class Health(BaseModel):
    """That it serves; there is no answer where it does not."""

    state: Literal["ok"] = "ok"


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
        raise not_ready("database", "The database does not answer.") from None


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
