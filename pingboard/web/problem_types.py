"""The kinds of problem (RFC 9457), in one table: what each `type` means and what helps."""

from __future__ import annotations

from dataclasses import dataclass

from pingboard.web.pages.language import mark


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem; its address, `/problems/` and its name, is stable."""

    status: int
    title: str
    meaning: str
    """of the catalogue, with code in backticks"""
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
            "No room of that alias or ID was joined or has samples; `detail` lists the known ones. "
            "In an address, percent-encode the `#` of an alias and the `!` of an ID."
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
