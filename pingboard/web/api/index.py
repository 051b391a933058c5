"""/api/v1: what there is to ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from pingboard.web import errors
from pingboard.web.parameters import NoQuery

router = APIRouter(tags=["operations"], responses=errors.BAD_PARAMETER_RESPONSE)


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


@router.get("/api/v1", operation_id="get_index", summary="What there is to ask for")
async def get_index(request: Request, _query: Annotated[NoQuery, Query()]) -> Index:
    """Every path of the interface; `description_path` has their parameters and answers."""
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
