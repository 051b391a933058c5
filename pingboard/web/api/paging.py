"""Pages of a list, and where the next one begins: an opaque text, made of a key and a digest that
tells a changed one.

The digest needs no secret: a cursor gives access to nothing, so it only has to catch mistakes, such
as a text cut short, or a cursor that is taken over to another query. A key may be made up.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, TypeVar
from urllib.parse import urlencode

from starlette.responses import Response

from pingboard.web.parameters import ListQuery, refusal

CursorKey = list[int] | list[str]
Item = TypeVar("Item")
KeyPart = TypeVar("KeyPart", int, str)

_DIGEST_BYTES = 6
_MAX_NUMBER = 2**63 - 1
"""The largest integer of a database."""


def cut_page(
    items: Sequence[Item],
    query: ListQuery,
    response: Response,
    name: Callable[[Item], str],
    *,
    binding: str = "",
    parameters: Mapping[str, str] | None = None,
) -> tuple[Sequence[Item], str | None]:
    """Return the page that is asked for of a list, and the cursor of the next; link that too.

    `name` tells an item by a name that no other has; a cursor is the name of the last item of its
    page, so that a page begins right also where items came or went before it. Without that item
    the cursor is refused. `binding` and `parameters` are of the rest of the query.
    """
    start = 0
    if query.cursor is not None:
        [last] = read_cursor(query.cursor, binding, str, 1)
        places = (place for place, item in enumerate(items, 1) if name(item) == last)
        start = next(places, 0)
        if not start:
            raise refusal("cursor", "is of a list that has changed; start again without it")
    page = items[start : start + query.limit]
    if start + query.limit >= len(items):
        return page, None
    cursor = write_cursor([name(page[-1])], binding)
    kept = parameters if parameters is not None else {"limit": str(query.limit)}
    link_next(response, {**kept, "cursor": cursor})
    return page, cursor


def write_cursor(key: CursorKey, query: str) -> str:
    """The cursor of a key in a query; `query` is what has to stay the same from page to page."""
    payload = json.dumps(key).encode()
    return base64.urlsafe_b64encode(payload + _digest(payload, query)).decode().rstrip("=")


def read_cursor(cursor: str, query: str, kind: type[KeyPart], length: int) -> list[KeyPart]:
    """Return the key of a cursor, a list of so many names or numbers.

    Raise a 422 where we did not give the cursor for this query.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        payload, digest = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
        key = json.loads(payload) if digest == _digest(payload, query) else None
    except (ValueError, RecursionError):
        key = None
    # Anybody can make the digest of what is no key. A text can have spare bits that decoding drops;
    # only what we would write ourselves counts.
    if _is_key(key, kind, length) and write_cursor(key, query) == cursor:
        return key
    raise refusal(
        "cursor",
        "should be left out, or be the cursor that the page before gave for the same query",
    )


def link_next(response: Response, parameters: Mapping[str, str]) -> None:
    """Add the `Link` to the next page (RFC 8288).

    A relative reference, so that it holds under any host name and below any path prefix.
    """
    response.headers["Link"] = f'<?{urlencode(parameters)}>; rel="next"'


def _is_key(key: object, kind: type[KeyPart], length: int) -> TypeGuard[list[KeyPart]]:
    if not isinstance(key, list) or len(key) != length:
        return False
    if not all(type(part) is kind for part in key):
        return False
    return kind is not int or all(0 <= part <= _MAX_NUMBER for part in key)


def _digest(payload: bytes, query: str) -> bytes:
    return hashlib.sha256(payload + b"\0" + query.encode()).digest()[:_DIGEST_BYTES]
