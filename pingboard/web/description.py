"""The OpenAPI description: FastAPI's, with examples, and with what all paths have in common.

FastAPI leaves out everything that is null from the description, so it must not see the examples. It
knows nothing of what stands around the paths: the cache, which answers conditional requests, HEAD,
and the limits.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from pingboard.web.schemas import EXAMPLES

_HEADERS: dict[str, Any] = {
    "ETag": {
        "description": "Stays the same as long as the data does; send it as `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "How long the answer is fresh.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimit": {
        "description": "What is left: `r` units now, and in `t` seconds enough for a request "
        "(draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"units";r=0;t=1',
    },
    "RateLimit-Policy": {
        "description": "`q` units at once, which come back within `w` seconds.",
        "schema": {"type": "string"},
        "example": '"units";q=60;w=30',
    },
}
_PARAMETERS: dict[str, Any] = {
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` of an answer that the client has.",
        "schema": {"type": "string"},
    }
}

TAGS = [
    {"name": "rankings", "description": "The boards: as JSON, as a table to paste, as CSV."},
    {"name": "editions", "description": "The boards of past weeks, frozen."},
    {"name": "rooms", "description": "The rooms that can be asked for."},
    {"name": "homeservers", "description": "One homeserver in detail: is it me or them?"},
    {"name": "matrix", "description": "How fast each ping server's pings reach each pong server."},
    {"name": "samples", "description": "The samples themselves, in pages or in one stream."},
    {"name": "live", "description": "Server-sent events, as they come."},
    {"name": "badges", "description": "Images for a web page or a README."},
    {"name": "pingstat", "description": "maubot/pingstat's own interface, for its clients."},
    {"name": "operations", "description": "Whether it runs, and how well."},
]


def install(app: FastAPI) -> None:
    """Let the app describe itself so; call it when all paths are there."""
    describe = app.openapi

    def describe_whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = describe()
            description.setdefault("servers", [{"url": "/", "description": "This server"}])
            for operations in description["paths"].values():
                _complete(operations)
            components = description["components"]
            components |= {"headers": _HEADERS, "parameters": _PARAMETERS}
            schemas = components["schemas"]
            refusal = schemas["HTTPValidationError"]
            refusal["properties"]["detail"] = {"type": "string"}
            refusal["required"].append("detail")
            for name, example in EXAMPLES.items():
                schemas[name]["examples"] = [example]
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = describe_whole  # type: ignore[method-assign]


def _complete(operations: dict[str, Any]) -> None:
    """Add to the operations of a path what the layers around it do."""
    get = operations["get"]
    for status, response in get["responses"].items():
        if status in ("429", "503"):
            response.setdefault("headers", {}).update(_refer("Retry-After"))
        if status == "429":
            response["headers"].update(_refer("RateLimit", "RateLimit-Policy"))
    success = get["responses"].get("200")
    if success is None or get["tags"][0] in ("live", "operations"):
        return
    success.setdefault("headers", {}).update(_refer("ETag", "Cache-Control"))
    get["responses"]["304"] = {
        "description": "The client has this answer already",
        "headers": _refer("ETag"),
    }
    get.setdefault("parameters", []).append({"$ref": "#/components/parameters/If-None-Match"})
    operations["head"] = {
        **{name: get[name] for name in ("tags", "parameters")},
        "summary": f"{get['summary']}: its headers",
        "operationId": f"head_{get['operationId']}",
        "responses": {
            status: {name: text for name, text in response.items() if name != "content"}
            for status, response in get["responses"].items()
        },
    }


def _refer(*headers: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
