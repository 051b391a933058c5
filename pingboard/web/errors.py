"""What is wrong -> one answer: problem+json (RFC 9457), or a page where a person asked for one.

The kinds of problem are one table: what each `type` means and what helps.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Header
from fastapi.routing import APIRoute
from fastapi_problem.error import Problem, ServerProblem
from fastapi_problem.handler import (
    ExceptionHandler,
    Handler,
    add_exception_handler,
    new_exception_handler,
)
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pingboard.model import (
    WINDOWS,
    BoardName,
    DamagedHourError,
    StoreError,
    UnknownHomeserverError,
    UnknownRoomError,
)
from pingboard.web.pages.language import LANGUAGES, mark
from pingboard.web.pages.layout import TAG, render


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem; its address, `/problems/` and its name, is stable."""

    status: int
    title: str
    meaning: str
    """to be translated, with code in backticks"""
    retry_after_s: int | None = None


TYPES = {
    "bad-parameter": ProblemType(
        422,
        mark("A parameter is wrong"),
        mark(
            "`errors` names each parameter (`loc`) and says what would be right (`msg`). An "
            "unknown parameter of the API is an error too, so that a typo can’t pass silently. A "
            "missing parameter of the pingstat-compatible addresses has status 400, as in pingstat."
        ),
    ),
    "bad-host": ProblemType(
        400,
        mark("Wrong host"),
        mark(
            "A request needs exactly one `Host` header: a host name or an address, with or without "
            "a port."
        ),
    ),
    "not-found": ProblemType(
        404, mark("Not found"), mark("There is no such address; /docs lists them all.")
    ),
    "unknown-room": ProblemType(
        404,
        mark("Unknown room"),
        mark(
            "pingboard has not joined a room of that alias or ID and has no samples of one; "
            "`detail` lists the known rooms. In an address, percent-encode the `#` of an alias and "
            "the `!` of an ID."
        ),
    ),
    "unknown-homeserver": ProblemType(
        404,
        mark("Unknown homeserver"),
        mark(
            "No homeserver of that name was ever seen here. Names are case-sensitive and include "
            "any port. /api/v1/homeservers lists the known ones."
        ),
    ),
    "unknown-edition": ProblemType(
        404,
        mark("Unknown edition"),
        mark("No edition of that name was published; /editions lists them."),
    ),
    "method-not-allowed": ProblemType(
        405,
        mark("Method not allowed"),
        mark("Everything here is read-only: use `GET` or `HEAD`."),
    ),
    "not-acceptable": ProblemType(
        406,
        mark("Not acceptable"),
        mark("`Accept-Encoding` refuses every form of the answer, even the uncompressed one."),
    ),
    "address-too-long": ProblemType(
        414,
        mark("Address too long"),
        mark("Path and query are longer than all parameters together could need."),
    ),
    "embedding-off": ProblemType(
        403,
        mark("Embedding is off"),
        mark(
            "/embed shows the board inside other sites, if the operator has listed them in "
            "`PINGBOARD_EMBED_ORIGINS`."
        ),
    ),
    "too-many-requests": ProblemType(
        429,
        mark("Too many requests"),
        mark(
            "This client has asked for more work than it is allowed. `Retry-After` says after how "
            "many seconds to try again. Ask less often, keep the `ETag`, and take samples in one "
            "stream."
        ),
    ),
    "http-error": ProblemType(
        400,
        mark("Request refused"),
        mark("The request could not be understood; `detail` says why."),
    ),
    "unexpected-error": ProblemType(
        500,
        mark("Something went wrong in pingboard"),
        mark("Our fault. Details are in the server log."),
    ),
    "database-away": ProblemType(
        503,
        mark("The database does not answer"),
        mark(
            "The database is restarting, locked or out of reach. Please try again; `Retry-After` "
            "says when."
        ),
        retry_after_s=5,
    ),
    "too-busy": ProblemType(
        503,
        mark("Too busy"),
        mark(
            "A limit is reached, such as that of connections to /api/v1/live. Please try again; "
            "`Retry-After` says when."
        ),
        retry_after_s=30,
    ),
    "stopping": ProblemType(
        503,
        mark("The server is stopping"),
        mark(
            "The server is stopping, perhaps to start again. Please try again; `Retry-After` says "
            "when."
        ),
        retry_after_s=10,
    ),
    "not-ready": ProblemType(
        503,
        mark("Not ready"),
        mark("The database or the worker can’t do its work; `detail` says what is wrong."),
        retry_after_s=30,
    ),
}

log = structlog.get_logger()

HEADERS = {
    # Also where the request names no origin: a shared cache may give the answer to a browser.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Link, RateLimit, RateLimit-Policy, Retry-After",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer, except where a path has set its own."""

MAX_ERRORS = 10
"""Of a request with more wrong parameters the first are explained."""

MAX_NAME_CHARACTERS = 100
"""Of a parameter's name that is given back."""

MAX_SHOWN_CHARACTERS = 200
"""Of what a page gives back."""

MAX_ROOMS = 20

_NOT_KNOWN = "extra_forbidden"


def problem(
    kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Problem:
    """Return a problem of a kind in `TYPES`; raise it, or let `refuse` answer with it."""
    described = TYPES[kind]
    headers = dict(headers or {})
    if described.retry_after_s is not None:
        headers.setdefault("Retry-After", str(described.retry_after_s))
    return Problem(
        described.title,
        type_=kind,
        detail=detail,
        status=described.status,
        headers=headers,
        **members,
    )


class _UnexpectedProblem(ServerProblem):
    """Our fault. What went wrong is in the log, never in the answer."""

    title = TYPES["unexpected-error"].title
    type_ = "unexpected-error"

    def __init__(self, *_: object) -> None:
        super().__init__(
            "Our fault. Details are in the server log; please try again later.",
            # uvicorn closes the connection after an error that the app did not expect.
            headers={"Connection": "close"},
        )


def _explain_damage(_: ExceptionHandler, _request: Request, error: Exception) -> Problem:
    log.error("the database is damaged", error=str(error))
    return _UnexpectedProblem()


def _explain_status(_: ExceptionHandler, request: Request, error: HTTPException) -> Problem:
    if error.status_code == 404:
        root = request.scope.get("root_path", "")
        shown = request.url.path[:MAX_NAME_CHARACTERS]
        detail = f"There is nothing at {shown}. {root}/docs lists what there is."
        return problem("not-found", detail)
    if error.status_code == 405:
        # FastAPI does not know that its GET paths answer HEAD too (see middleware).
        allowed = {"Allow": "GET, HEAD, OPTIONS"}
        detail = "Everything here is read-only: use GET or HEAD."
        return problem("method-not-allowed", detail, headers=allowed)
    refused = problem("http-error", error.detail, headers=error.headers)
    refused.status = error.status_code
    return refused


def _explain_parameters(
    _: ExceptionHandler, request: Request, error: RequestValidationError
) -> Problem:
    """Explain the first of them: an address has room for thousands."""
    faults = error.errors()
    dependant = request.scope["route"].dependant
    in_path = [field.alias for field in dependant.path_params]
    known = [
        field.alias
        for field in get_flat_params(dependant)
        if field.alias not in in_path and not isinstance(field.field_info, Header)
    ]
    errors = [
        {
            "type": fault["type"],
            # Behind the name stand pydantic's own names for a type's parts.
            "loc": [str(part)[:MAX_NAME_CHARACTERS] for part in fault["loc"][:2]],
            "msg": _explain_parameter(request, fault, known),
        }
        for fault in faults[:MAX_ERRORS]
    ]
    details = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in errors]
    if len(faults) > MAX_ERRORS:
        details.append(f"and {len(faults) - MAX_ERRORS} more")
    return problem("bad-parameter", "; ".join(details), errors=errors)


def _explain_parameter(request: Request, fault: Mapping[str, Any], known: list[str]) -> str:
    name = str(fault["loc"][-1])
    if fault["type"] == _NOT_KNOWN:
        if not known:
            return "unknown parameter; this path takes none"
        close = difflib.get_close_matches(name[:MAX_NAME_CHARACTERS], known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"unknown parameter; {hint}known: {', '.join(known)}"
    if fault["type"] == "string_too_short" and "room" in fault["loc"]:
        return f"is empty; in an address the # of an alias is written %23: {_correct_room(request)}"
    return str(fault["msg"]).removeprefix("Value error, ")[:1000]


def _correct_room(request: Request) -> str:
    """Return the address with a room in it; what stood behind a `#` never reached us."""
    aliases = [room for room in request.app.state.given.rooms if room.startswith("#")]
    alias = quote(aliases[0] if aliases else "#ping:maunium.net", safe=":")
    return str(request.url.include_query_params(room="ROOM").replace(scheme="", netloc="")).replace(
        "room=ROOM", f"room={alias}"
    )


_KEPT = ("Allow", "Connection", "Retry-After")


def _finish(
    content: dict[str, Any], request: Request, response: Response
) -> tuple[dict[str, Any], Response]:
    """Make it a page for a person, and give it the headers that every answer has."""
    # Below a mount, such as that of the files, `root_path` names the mount too.
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    content["type"] = root + content["type"]
    if _wants_page(request):
        kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
        response = _render_page(request, content, kept)
    else:
        response.body = response.render(content)
    response.headers.setdefault("Cache-Control", "no-store")
    # The middleware does it too, but some errors are answered outside of it.
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return content, response


def _render_page(
    request: Request, problem: Mapping[str, Any], headers: Mapping[str, str]
) -> Response:
    """A problem as a page, with its status; its links leave out what may be wrong."""
    kind = str(problem["type"]).rpartition("/")[2]
    rooms = request.app.state.given.boards.rooms() if kind == "unknown-room" else []
    context = {
        "problem": problem,
        "kind": kind,
        "meaning": TYPES[kind].meaning,
        "boards": ", ".join(BoardName),
        "windows": ", ".join(WINDOWS),
        "codes": ", ".join(LANGUAGES),
        "path": request.url.path[:MAX_SHOWN_CHARACTERS],
        "room_asked": request.query_params.get("room", "")[:MAX_SHOWN_CHARACTERS],
        "rooms_known": [room.alias or room.room_id for room in rooms[:MAX_ROOMS]],
    }
    return render(
        request,
        "problem.html",
        context,
        status=problem["status"],
        headers=headers,
        keeps_choice=False,
    )


def _wants_page(request: Request) -> bool:
    """A page's errors are pages; of a path that does not exist, a browser gets one."""
    route = request.scope.get("route")
    if isinstance(route, APIRoute):
        return TAG in route.tags
    return "text/html" in request.headers.get("accept", "")


def _write_sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."


_OURS: dict[type[Exception], Handler[Any, Any]] = {
    UnknownRoomError: lambda _, __, error: problem("unknown-room", _write_sentence(error)),
    UnknownHomeserverError: lambda _, __, error: problem(
        "unknown-homeserver", _write_sentence(error)
    ),
    DamagedHourError: _explain_damage,
    # No more than that it passes: what the driver says names the database (see shared_boards).
    StoreError: lambda *_: problem(
        "database-away", "The database does not answer; please ask again in a moment."
    ),
}

_handler = new_exception_handler(
    unhandled_wrappers={"default": _UnexpectedProblem},
    handlers=_OURS,
    http_exception_handler=_explain_status,
    request_validation_handler=_explain_parameters,
    post_hooks=[_finish],
    documentation_uri_template="/problems/{type}",
)


async def refuse(refused: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that no path gets to see."""
    await _handler(Request(scope), refused)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every error of the app so."""
    add_exception_handler(app, _handler, generic_swagger_defaults=False)
    for kind in _OURS:
        app.add_exception_handler(kind, _handler)


Responses = dict[int | str, dict[str, Any]]
"""For the OpenAPI description."""


def describe(kind: str, detail: str, **members: Any) -> Responses:
    """Return the description of an answer with a problem of this kind."""
    described = TYPES[kind]
    response = _handler.generate_swagger_response(problem(kind, detail, **members))
    # Named by us: Python's own names of a status differ from version to version.
    return {described.status: {**response, "description": described.title}}


BAD_PARAMETER_RESPONSE: Responses = {
    422: {
        "description": "A parameter is wrong; `loc` names it and `msg` says what would be right",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/HTTPValidationError"},
                "example": {
                    "type": "/problems/bad-parameter",
                    "title": "A parameter is wrong",
                    "status": 422,
                    "errors": [
                        {
                            "type": _NOT_KNOWN,
                            "loc": ["query", "room"],
                            "msg": "unknown parameter; this path takes none",
                        }
                    ],
                    "detail": "room: unknown parameter; this path takes none",
                },
            }
        },
    }
}
"""Of a path without parameters, where an unknown one is an error too. To the others FastAPI adds
it itself."""

UNKNOWN_ROOM_RESPONSE = describe(
    "unknown-room", "no room '#pong:one.example' is known here; known: #ping:one.example"
)
UNKNOWN_HOMESERVER_RESPONSE = describe(
    "unknown-homeserver",
    "no homeserver 'tow.example' was ever seen here; /api/v1/homeservers lists the known ones",
)
"""A path that takes a homeserver takes a room too: that is a 404 as well."""

LIMITED_RESPONSE = {
    **describe("address-too-long", "16000 bytes are the most."),
    **describe("too-many-requests", "Please try again in 1 s."),
}
"""Of every path."""

NOT_READY_RESPONSE = describe(
    "not-ready", "The worker has not synced for 0:03:00; is it still running?", reason="stale"
)
TOO_BUSY_RESPONSE = describe("too-busy", "Too many listeners; please try again later.")
