"""The kinds of problem (RFC 9457): what each `type` means and what helps, for `/problems/...`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pingboard.web.pages.layout import TAG, PageQuery, render

router = APIRouter(tags=[TAG], include_in_schema=False)


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem; its address is stable."""

    status: int
    title: str
    meaning: str


TYPES = {
    "bad-parameter": ProblemType(
        422,
        "A parameter is wrong",
        "`errors` names each parameter (`loc`) and says what would be right (`msg`). An unknown "
        "parameter is an error too, so that a typo can't pass silently. A missing one of the "
        "pingstat-compatible addresses has status 400, as in pingstat.",
    ),
    "not-found": ProblemType(404, "Not found", "No path of that name; /docs lists what there is."),
    "unknown-room": ProblemType(
        404,
        "Unknown room",
        "No room of that alias or ID has been joined or has samples; `detail` lists those known. "
        "In an address the `#` of an alias is written %23, the `!` of an ID %21.",
    ),
    "unknown-homeserver": ProblemType(
        404,
        "Unknown homeserver",
        "Nothing was ever heard of a homeserver of that name. The name is case-sensitive, and a "
        "port belongs to it. /api/v1/homeservers lists those heard.",
    ),
    "unknown-edition": ProblemType(
        404, "Unknown edition", "No edition of that name was published; /editions lists them."
    ),
    "method-not-allowed": ProblemType(
        405, "Method not allowed", "Everything here is read-only: use GET or HEAD."
    ),
    "address-too-long": ProblemType(
        414, "Address too long", "Path and query together have more bytes than all parameters need."
    ),
    "embedding-off": ProblemType(
        403,
        "Embedding is off",
        "/embed shows the board inside of other sites, if the operator has named them in "
        "PINGBOARD_EMBED_ORIGINS.",
    ),
    "too-many-requests": ProblemType(
        429,
        "Too many requests",
        "This client asks for costly answers faster than it may. `Retry-After` says in how many "
        "seconds the next will do. Repeat less, keep the `ETag`, take samples in one stream.",
    ),
    "http-error": ProblemType(
        400, "Request refused", "The request could not be understood; `detail` says why."
    ),
    "unexpected-error": ProblemType(
        500,
        "Something went wrong in pingboard",
        "A mistake of ours. What went wrong stands in the server's log.",
    ),
    "too-busy": ProblemType(
        503,
        "Too busy",
        "All there is of something is in use, such as listeners of /api/v1/live. It passes: "
        "`Retry-After` says when to come back.",
    ),
    "not-ready": ProblemType(
        503,
        "Not ready",
        "/readyz: the database or the worker can't do its work; `detail` says what is wrong.",
    ),
}


@router.get("/problems/{kind}")
async def show_problem_type(
    request: Request, kind: Annotated[str, Path()], _query: Annotated[PageQuery, Query()]
) -> Response:
    """What a problem's `type` means."""
    if kind not in TYPES:
        raise HTTPException(404)
    return render(request, "problem_type.html", {"type": TYPES[kind]})
