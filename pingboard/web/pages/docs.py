"""/docs: Swagger UI on our own OpenAPI description, from our own files.

FastAPI's page loads it from another site and starts it with an inline script; both are forbidden
here. The package fastapi-swagger brings the files, `static/docs.js` starts it
(see files).
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from pingboard.web.pages.layout import render

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """The page that shows `/openapi.json`."""
    return render(request, "docs.html", {})
