"""/docs: Swagger UI on our own OpenAPI description, from our own files.

FastAPI's page loads it from another site and starts it with an inline script; both are forbidden
here. The package fastapi-swagger brings the files, `static/docs.js` starts it.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from pingboard.web.pages import templates

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """The page that shows `/openapi.json`."""
    headers = {"Content-Security-Policy": _POLICY}
    return templates.TemplateResponse(request, "docs.html", headers=headers)


def mount(app: FastAPI) -> None:
    """Serve the page and Swagger UI's files."""
    app.include_router(router)
    files = StaticFiles(packages=[("fastapi_swagger", "resources")])
    app.mount("/static/swagger", files, name="swagger")
