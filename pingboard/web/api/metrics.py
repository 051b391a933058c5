"""/metrics: what Prometheus asks for (see gauges)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from pingboard.web import errors
from pingboard.web.dependencies import GivenAll
from pingboard.web.parameters import NoQuery

router = APIRouter(tags=["operations"], responses=errors.BAD_PARAMETER_RESPONSE)


class PrometheusText(Response):
    """Prometheus's text format."""

    media_type = CONTENT_TYPE_LATEST


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Metrics for Prometheus",
    response_class=PrometheusText,
    responses={
        200: {
            "description": "Prometheus's text format; every time is in seconds",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def get_metrics(given: GivenAll, _query: Annotated[NoQuery, Query()]) -> PrometheusText:
    """Pongs by verdict, pings, round trips in seconds, gaps, last sync, and this API itself."""
    return PrometheusText(given.metrics.render(), headers={"Cache-Control": "no-store"})
