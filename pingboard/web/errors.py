"""What is wrong -> one answer: problem+json (RFC 9457), or a page where a person asked for one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi_problem.error import NotFoundProblem, Problem, ServerProblem, StatusProblem
from fastapi_problem.handler import ExceptionHandler, add_exception_handler, new_exception_handler
from starlette.exceptions import HTTPException
from starlette.responses import Response

from pingboard.model import UnknownHomeserverError, UnknownRoomError
from pingboard.web.middleware import HEADERS
from pingboard.web.pages import layout
from pingboard.web.pages.language import mark

RETRY_AFTER_S = 30
"""When to come back after a 503."""


class UnknownRoomProblem(NotFoundProblem):
    """The room that was asked for is not known."""

    title = mark("Unknown room")
    type_ = "unknown-room"


class UnknownHomeserverProblem(NotFoundProblem):
    """The homeserver that was asked for was never heard."""

    title = mark("Unknown homeserver")
    type_ = "unknown-homeserver"


class TooBusyProblem(ServerProblem):
    """Everything that there is of something is in use; it passes."""

    title = mark("Too busy")
    type_ = "too-busy"
    status = 503

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": str(RETRY_AFTER_S)})


class AddressTooLongProblem(StatusProblem):
    """Path and query are longer than any that makes sense."""

    title = mark("Address too long")
    type_ = "address-too-long"
    status = 414


class EmbeddingOffProblem(StatusProblem):
    """The board may not be shown inside of other sites."""

    title = mark("Embedding is off")
    type_ = "embedding-off"
    status = 403


class TooManyRequestsProblem(StatusProblem):
    """A client asks faster than it may."""

    title = mark("Too many requests")
    type_ = "too-many-requests"
    status = 429

    def __init__(self, wait_s: int) -> None:
        super().__init__(
            f"Costly answers only so often for each client; please try again in {wait_s} s.",
            headers={"Retry-After": str(wait_s)},
        )


class NotReadyProblem(ServerProblem):
    """There is nothing true to serve, or soon there won't be."""

    title = mark("Not ready")
    type_ = "not-ready"
    status = 503

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(
            detail,
            reason=reason,
            headers={"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"},
        )


class UnexpectedProblem(ServerProblem):
    """A mistake of ours. What went wrong stands in the log, never in the answer."""

    title = mark("Something went wrong in pingboard")
    type_ = "unexpected-error"

    def __init__(self, *_: object) -> None:
        super().__init__(
            "The error is in the server's log; please try again later.",
            # uvicorn closes the connection after an error that the app did not expect.
            headers={"Connection": "close"},
        )


def _explain_room(_: ExceptionHandler, _request: Request, error: Exception) -> Problem:
    return UnknownRoomProblem(str(error))


def _explain_homeserver(_: ExceptionHandler, _request: Request, error: Exception) -> Problem:
    return UnknownHomeserverProblem(str(error))


def _explain_status(_: ExceptionHandler, request: Request, error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    detail = error.detail
    if error.status_code == 404:
        hint = f"{_find_close(request)}/docs lists what there is."
        detail = f"There is nothing at {request.url.path}; {hint}"
    elif error.status_code == 405:
        # FastAPI does not know that its GET paths answer HEAD too (see middleware).
        headers["Allow"] = "GET, HEAD, OPTIONS"
        detail = "Everything here is read-only: use GET or HEAD."
    title, kind = {
        404: (mark("Not found"), "not-found"),
        405: (mark("Method not allowed"), "method-not-allowed"),
    }.get(error.status_code, (mark("Request refused"), "http-error"))
    return Problem(title, type_=kind, detail=detail, status=error.status_code, headers=headers)


def _find_close(request: Request) -> str:
    """A path much like the one that was asked for, where there is one."""
    paths: list[str] = request.app.state.paths
    close = difflib.get_close_matches(request.url.path[:100], paths, n=1, cutoff=0.8)
    return f"did you mean {close[0]}? " if close else ""


def _explain_parameters(
    _: ExceptionHandler, request: Request, error: RequestValidationError
) -> Problem:
    errors = [
        {
            "type": one["type"],
            "loc": one["loc"][:2],  # behind it stand pydantic's own names for a type's parts
            "msg": _explain_parameter(request, one),
        }
        for one in error.errors()
    ]
    return Problem(
        mark("A parameter is wrong"),
        type_="bad-parameter",
        detail="; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in errors),
        status=422,
        errors=errors,
    )


def _explain_parameter(request: Request, error: Mapping[str, Any]) -> str:
    if error["type"] != "extra_forbidden":
        return str(error["msg"]).removeprefix("Value error, ")
    known = _parameters(request)
    if not known:
        return "unknown parameter; this path takes none"
    close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"unknown parameter; {hint}known: {', '.join(known)}"


def _parameters(request: Request) -> list[str]:
    route = request.scope["route"]
    return [field.alias for field in get_flat_params(route.dependant)]


_KEPT = ("Allow", "Connection", "Retry-After")


def _finish(
    content: dict[str, Any], request: Request, response: Response
) -> tuple[dict[str, Any], Response]:
    """Make it a page for a person, and give it the headers that every answer has."""
    if _wants_page(request):
        kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
        response = layout.render_problem(request, content, headers=kept)
    # The middleware does it too, but an unexpected error is answered outside of it.
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return content, response


def _wants_page(request: Request) -> bool:
    """A page's errors are pages; of a path that does not exist, a browser gets one."""
    route = request.scope.get("route")
    if isinstance(route, APIRoute):
        return layout.TAG in route.tags
    return "text/html" in request.headers.get("accept", "")


_handler = new_exception_handler(
    unhandled_wrappers={"default": UnexpectedProblem},
    handlers={UnknownRoomError: _explain_room, UnknownHomeserverError: _explain_homeserver},
    http_exception_handler=_explain_status,
    request_validation_handler=_explain_parameters,
    post_hooks=[_finish],
    documentation_uri_template="/problems/{type}",
)


def respond(request: Request, problem: Problem) -> Response:
    """The answer for a request that no path gets to see."""
    return _handler(request, problem)


BAD_PARAMETER_RESPONSE: dict[int | str, dict[str, Any]] = {
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
                            "type": "extra_forbidden",
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
"""For the OpenAPI description of a path without parameters, where an unknown one is an error too.
To the others FastAPI adds it itself."""

UNKNOWN_ROOM_RESPONSE: dict[int | str, dict[str, Any]] = {
    404: _handler.generate_swagger_response(
        UnknownRoomProblem("no room '#pong:one.example' is known here; known: #ping:one.example")
    )
}
"""For the description of a path that takes a room."""

UNKNOWN_HOMESERVER_RESPONSE: dict[int | str, dict[str, Any]] = {
    404: _handler.generate_swagger_response(
        UnknownHomeserverProblem(
            "nothing was heard of a homeserver 'tow.example'; /api/v1/homeservers lists those heard"
        )
    )
}
"""For the description of a path that takes a homeserver (and a room: that is a 404 too)."""
TOO_MANY_REQUESTS_RESPONSE: dict[int | str, dict[str, Any]] = {
    429: _handler.generate_swagger_response(TooManyRequestsProblem(1))
}
"""For the description of a costly path (see limits)."""

ADDRESS_TOO_LONG_RESPONSE: dict[int | str, dict[str, Any]] = {
    414: _handler.generate_swagger_response(AddressTooLongProblem("16000 bytes are the most."))
}
"""For the description of every path."""

NOT_READY_RESPONSE: dict[int | str, dict[str, Any]] = {
    503: _handler.generate_swagger_response(
        NotReadyProblem("stale", "The worker has not synced for 0:03:00; is it still running?")
    )
}
"""For the description of /readyz."""

TOO_BUSY_RESPONSE: dict[int | str, dict[str, Any]] = {
    503: _handler.generate_swagger_response(
        TooBusyProblem("Too many listeners; please come back later.")
    )
}
"""For the description of a path that there is only so much of."""


def install(app: FastAPI) -> None:
    """Answer every error of the app so."""
    add_exception_handler(app, _handler, generic_swagger_defaults=False)
    app.add_exception_handler(UnknownRoomError, _handler)
    app.add_exception_handler(UnknownHomeserverError, _handler)
