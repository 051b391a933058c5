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
    retry_after_s: int | None = None


TYPES = {
    "bad-parameter": ProblemType(
        422,
        mark("A parameter is wrong"),
        "`errors` names each parameter (`loc`) and says what would be right (`msg`). An unknown "
        "parameter is an error too, so that a typo can't pass silently. A missing one of the "
        "pingstat-compatible addresses has status 400, as in pingstat.",
    ),
    "bad-host": ProblemType(
        400,
        mark("Which site?"),
        "A request names the host that it is for in one `Host` header, which is a host name or an "
        "address, with or without a port.",
    ),
    "not-found": ProblemType(
        404, mark("Not found"), "No path of that name; /docs lists what there is."
    ),
    "unknown-room": ProblemType(
        404,
        mark("Unknown room"),
        "No room of that alias or ID has been joined or has samples; `detail` lists those known. "
        "In an address the `#` of an alias is written %23, the `!` of an ID %21.",
    ),
    "unknown-homeserver": ProblemType(
        404,
        mark("Unknown homeserver"),
        "Nothing was ever heard of a homeserver of that name. The name is case-sensitive, and a "
        "port belongs to it. /api/v1/homeservers lists those heard.",
    ),
    "unknown-edition": ProblemType(
        404, mark("Unknown edition"), "No edition of that name was published; /editions lists them."
    ),
    "method-not-allowed": ProblemType(
        405, mark("Method not allowed"), "Everything here is read-only: use GET or HEAD."
    ),
    "not-acceptable": ProblemType(
        406,
        mark("Not acceptable"),
        "`Accept-Encoding` refuses every form of the answer, also the one that is not compressed.",
    ),
    "address-too-long": ProblemType(
        414,
        mark("Address too long"),
        "Path and query together have more bytes than all parameters need.",
    ),
    "embedding-off": ProblemType(
        403,
        mark("Embedding is off"),
        "/embed shows the board inside of other sites, if the operator has named them in "
        "PINGBOARD_EMBED_ORIGINS.",
    ),
    "too-many-requests": ProblemType(
        429,
        mark("Too many requests"),
        "This client has asked for more work than it may. `Retry-After` says in how many seconds "
        "the next answer will do. Repeat less, keep the `ETag`, take samples in one stream.",
    ),
    "http-error": ProblemType(
        400, mark("Request refused"), "The request could not be understood; `detail` says why."
    ),
    "unexpected-error": ProblemType(
        500,
        mark("Something went wrong in pingboard"),
        "A mistake of ours. What went wrong stands in the server's log.",
    ),
    "database-away": ProblemType(
        503,
        mark("The database does not answer"),
        "The database is restarting, locked or out of reach. It passes: `Retry-After` says when to "
        "ask again.",
        retry_after_s=5,
    ),
    "too-busy": ProblemType(
        503,
        mark("Too busy"),
        "All there is of something is in use, such as listeners of /api/v1/live. It passes: "
        "`Retry-After` says when to come back.",
        retry_after_s=30,
    ),
    "not-ready": ProblemType(
        503,
        mark("Not ready"),
        "/readyz: the database or the worker can't do its work; `detail` says what is wrong.",
        retry_after_s=30,
    ),
}
