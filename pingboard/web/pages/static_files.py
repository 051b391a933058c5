"""The files of the pages: styles, scripts, images, and those of Swagger UI."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parent.parent / "static"

ROBOTS = """\
User-agent: *
Disallow: /api/
Disallow: /_matrix/
"""
"""The pages are for everybody; what is computed for each address is not worth an index."""


class PageFiles(StaticFiles):
    """Our own files; an address that names their content (see layout) is good for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200 and b"v=" in scope["query_string"]:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


@router.get("/robots.txt")
async def get_robots() -> Response:
    return PlainTextResponse(ROBOTS)


@router.get("/favicon.ico")
async def get_icon() -> Response:
    return FileResponse(_STATIC / "icon.svg", media_type="image/svg+xml")


def mount(app: FastAPI) -> None:
    """Serve the files of the pages, and Swagger UI's from the package that brings them."""
    app.include_router(router)
    swagger = StaticFiles(packages=[("fastapi_swagger", "resources")])
    app.mount("/static/swagger", swagger, name="swagger")
    app.mount("/static", PageFiles(packages=[("pingboard.web", "static")]), name="static")
