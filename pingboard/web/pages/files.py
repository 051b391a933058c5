"""The files of the pages: styles, scripts, images, and those of Swagger UI."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class PageFiles(StaticFiles):
    """Our own files; an address that names their content (see layout) is good for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        response = await super().get_response(path, scope)
        if response.status_code == 200 and b"v=" in scope["query_string"]:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def mount(app: FastAPI) -> None:
    """Serve the files of the pages, and Swagger UI's from the package that brings them."""
    swagger = StaticFiles(packages=[("fastapi_swagger", "resources")])
    app.mount("/static/swagger", swagger, name="swagger")
    app.mount("/static", PageFiles(packages=[("pingboard.web", "static")]), name="static")
