"""The pages for people together: their files, and what is wrong where one can't be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from pingboard.web import board_page
from pingboard.web.frame import render


class PageFiles(StaticFiles):
    """Our own files; an address that names their content (see frame) is good for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        response = await super().get_response(path, scope)
        if response.status_code == 200 and b"v=" in scope["query_string"]:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def render_problem(
    request: Request, problem: Mapping[str, Any], headers: Mapping[str, str]
) -> Response:
    """A problem (RFC 9457) as a page, with its status."""
    return render(
        request,
        "problem.html",
        {"problem": problem},
        status=problem["status"],
        headers=headers,
        keeps_choice=False,
    )


def mount(app: FastAPI) -> None:
    """Serve the pages and their files."""
    app.include_router(board_page.router)
    app.mount("/static", PageFiles(packages=[("pingboard.web", "static")]), name="static")
