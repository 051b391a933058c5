"""/docs: Swagger UI on our own OpenAPI description, from our own files.

FastAPI's page loads it from another site and starts it with an inline script; both are forbidden
here. The package fastapi-swagger brings the files, `static/docs.js` starts it.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from pingboard.web.frame import render

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """The page that shows `/openapi.json`."""
    return render(request, "docs.html", {})


def mount(app: FastAPI) -> None:
    """Serve the page and Swagger UI's files."""
    app.include_router(router)
    files = StaticFiles(packages=[("fastapi_swagger", "resources")])
    app.mount("/static/swagger", files, name="swagger")
