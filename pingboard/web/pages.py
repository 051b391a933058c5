"""The pages for people together, and their files."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pingboard.web import board_page, embed_page, join_page


class PageFiles(StaticFiles):
    """Our own files; an address that names their content (see frame) is good for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        response = await super().get_response(path, scope)
        if response.status_code == 200 and b"v=" in scope["query_string"]:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def mount(app: FastAPI) -> None:
    """Serve the pages and their files."""
    app.include_router(board_page.router)
    app.include_router(embed_page.router)
    app.include_router(join_page.router)
    app.mount("/static", PageFiles(packages=[("pingboard.web", "static")]), name="static")
