"""/method, /docs, /recipes and /problems: what is measured; the HTTP API, and what may go wrong.

/docs is Swagger UI on our own OpenAPI description, from our own files: FastAPI's page loads it from
another site and starts it with an inline script, and both are forbidden here. The package
fastapi-swagger brings the files, `static/docs.js` starts it (see static_files).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Query, Request
from markdown_it import MarkdownIt
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pingboard.web.errors import TYPES
from pingboard.web.pages.layout import TAG, PageQuery, render

EXAMPLE_SITE = "https://pingboard.example"
"""What stands in the recipes for this site's own address."""

router = APIRouter(tags=[TAG], include_in_schema=False)


@router.get("/method")
async def show_method(request: Request, _query: Annotated[PageQuery, Query()]) -> Response:
    return render(request, "method.html", {})


@router.get("/docs")
async def show_docs(request: Request, _query: Annotated[PageQuery, Query()]) -> Response:
    """The page that shows `/openapi.json`."""
    return render(request, "docs.html", {})


@router.get("/problems/{kind}")
async def show_problem_type(
    request: Request, kind: str, _query: Annotated[PageQuery, Query()]
) -> Response:
    if kind not in TYPES:
        raise HTTPException(404)
    return render(request, "problem_type.html", {"type": TYPES[kind]})


@router.get("/recipes")
async def show_recipes(request: Request, _query: Annotated[PageQuery, Query()]) -> Response:
    """Examples for several languages, with the address of this site."""
    site = str(request.base_url).rstrip("/")
    recipes = _render_recipes().replace(EXAMPLE_SITE, site)
    return render(request, "recipes.html", {"recipes": recipes})


@cache
def _render_recipes() -> str:
    """`recipes.md` as HTML, without its heading; each block of code can be scrolled by keyboard."""
    text = files("pingboard.web").joinpath("pages", "recipes.md").read_text(encoding="utf-8")
    _heading, _, rest = text.partition("\n")
    html: str = MarkdownIt().render(rest)
    return html.replace("<pre>", '<pre tabindex="0">')
